"""What the ingester counts. Names are described in docs/metrics.md."""

import contextlib
from collections.abc import Iterator

from prometheus_client import Counter, Gauge

from artstore.errors import ArtStoreError

UPLOADS = Counter(
    "artstore_uploads_total",
    "Uploads by how they ended: created, replayed, or the code of the failure.",
    ["outcome"],
)
UPLOADED_BYTES = Counter("artstore_uploaded_bytes_total", "Bytes of files that were stored.")
UPLOADS_RUNNING = Gauge("artstore_uploads_running", "Uploads under way in this process.")
PLACEMENT_REFUSALS = Counter(
    "artstore_placement_refusals_total", "Elements that did not take a file.", ["reason"]
)
UPLOADS_SETTLED = Counter(
    "artstore_uploads_settled_total",
    "Uploads whose sender was lost, by what became of them: adopted, dropped or waiting.",
    ["outcome"],
)


@contextlib.contextmanager
def in_flight() -> Iterator[None]:
    with UPLOADS_RUNNING.track_inprogress():
        yield


def count_stored(created: bool, size_bytes: int) -> None:
    UPLOADS.labels("created" if created else "replayed").inc()
    if created:
        UPLOADED_BYTES.inc(size_bytes)


def count_failure(failure: ArtStoreError) -> None:
    UPLOADS.labels(failure.code).inc()


def count_refusal(reason: str) -> None:
    PLACEMENT_REFUSALS.labels(reason).inc()
