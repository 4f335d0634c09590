"""What the query app counts. Names are described in docs/metrics.md."""

import contextlib
from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram

SEARCH_SECONDS = Histogram("artstore_search_seconds", "Time of a search, by mode.", ["mode"])
DOWNLOADS = Counter(
    "artstore_downloads_total",
    "Downloads by how they ended: complete, unchanged, handed_over, cut, or a failure's code.",
    ["outcome"],
)
DOWNLOADED_BYTES = Counter(
    "artstore_downloaded_bytes_total", "Bytes that were handed to clients, cut transfers included."
)
DOWNLOADS_RUNNING = Gauge("artstore_downloads_running", "Downloads under way in this process.")
CACHE_LOOKUPS = Counter(
    "artstore_query_cache_lookups_total",
    "Lookups of a record by outcome: hit or miss.",
    ["outcome"],
)


@contextlib.contextmanager
def timed_search(mode: str) -> Iterator[None]:
    with SEARCH_SECONDS.labels(mode).time():
        yield
