"""One of everything that can be asked of a search: every mode, filter and order, common and rare.

Each is a function of a number, so that a bench asks for other words every time. The words are those
of `made_records`; the plans' test and the search bench go through all of them.
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from apps.query.asking import SearchMode, SearchQuery, SortBy, SortOrder
from apps.query.tests.made_records import EXTENSIONS, RUSSIAN_WORDS, WORDS
from apps.registry.models import element_id_of

FULL, EXACT = SearchMode.FULLTEXT, SearchMode.EXACT
# The storage_ids of the elements that hold the made records; the first holds most.
ELEMENTS = tuple(f"bench-{number}" for number in range(20))
NEWEST = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def word(number: int) -> str:
    return WORDS[number % len(WORDS)]


def russian(number: int) -> str:
    return RUSSIAN_WORDS[number % len(RUSSIAN_WORDS)]


def name(number: int) -> str:
    """The name of a made record."""
    row = 4 * number
    extension = EXTENSIONS[row % len(EXTENSIONS)]
    return f"{word(row * 7).capitalize()}_{word(row // 3)}-{2000 + row % 27}.{extension}"


def _hours(number: int) -> dt.timedelta:
    return dt.timedelta(hours=1 + number % 48)


def _element(number: int) -> Any:
    return element_id_of(ELEMENTS[number % len(ELEMENTS)])


ASKED: Mapping[str, Callable[[int], dict[str, Any]]] = {
    "nothing": lambda _n: {},
    "exact": lambda n: {"query": name(n).upper(), "mode": EXACT},
    "exact, absent": lambda n: {"query": f"no such {n}.pdf", "mode": EXACT},
    "partial": lambda n: {"query": word(n)[:5] + "_"},
    "partial, russian": lambda n: {"query": russian(n)[:5]},
    "partial, a common word": lambda n: {"query": word(n)},
    "partial, three letters": lambda n: {"query": word(n)[:3]},
    "partial, three letters, russian": lambda n: {"query": russian(n)[:3]},
    "partial, a part number": lambda n: {"query": f"AB-{1000 + n * 37 % 9000}_"},
    "partial, absent": lambda n: {"query": f"qqzz{n}xx"},
    "partial, two letters": lambda n: {"query": word(n)[:2]},
    "partial, two letters, absent": lambda _n: {"query": "qq"},
    "partial, one letter": lambda n: {"query": russian(n)[:1]},
    "partial, by name": lambda n: {"query": word(n), "sort_by": SortBy.ORIGINAL_FILENAME},
    "fulltext, a part number": lambda n: {"query": f"AB-{1000 + n * 37 % 9000}", "mode": FULL},
    "fulltext, a common word": lambda n: {"query": word(n), "mode": FULL},
    "fulltext, two words": lambda n: {"query": f"{word(n * 7)} {word(n // 3)}", "mode": FULL},
    "fulltext, a phrase": lambda n: {"query": f'"{word(n)} of the"', "mode": FULL},
    "fulltext, without a word": lambda n: {"query": f"{word(n)} -{word(n + 1)}", "mode": FULL},
    "fulltext, either word": lambda n: {"query": f"{word(n)} or {word(n + 1)}", "mode": FULL},
    "fulltext, russian": lambda n: {"query": f"{russian(n)} {russian(n + 3)}", "mode": FULL},
    "fulltext, newest first": lambda n: {
        "query": word(n),
        "mode": FULL,
        "sort_by": SortBy.UPLOADED_AT,
    },
    "fulltext, absent": lambda n: {"query": f"unheardof{n}", "mode": FULL},
    "filename": lambda n: {"filename": russian(n)},
    "file_extension": lambda n: {"file_extension": EXTENSIONS[n % len(EXTENSIONS)]},
    "file_extension, absent": lambda _n: {"file_extension": "nope"},
    "tags": lambda _n: {"tags": ("common",)},
    "tags, rare": lambda n: {"tags": (f"AB-{4 + n * 35}",)},
    "tags, two": lambda n: {"tags": ("common", f"batch-{n % 10}")},
    "tags, absent": lambda _n: {"tags": ("nope",)},
    "metadata": lambda n: {"metadata": {"project": f"p{1 + n * 2 % 500}"}},
    "metadata, nested": lambda _n: {"metadata": {"nested": {"ok": True}}},
    "metadata, absent": lambda _n: {"metadata": {"project": "nope"}},
    "uploaded_by": lambda n: {"uploaded_by": f"sa_{n % 5}"},
    "uploaded_by, rare": lambda n: {"uploaded_by": f"sa_{9 + n % 100 * 10}"},
    "uploaded_by, absent": lambda _n: {"uploaded_by": "sa_nope"},
    "retention_policy": lambda _n: {"retention_policy": "permanent"},
    "status expired": lambda _n: {"status": "expired"},
    "status expired, by name": lambda _n: {
        "status": "expired",
        "sort_by": SortBy.ORIGINAL_FILENAME,
    },
    "status expired, a common word": lambda n: {
        "status": "expired",
        "query": word(n),
        "mode": FULL,
    },
    "status deleted": lambda _n: {"status": "deleted"},
    "size": lambda n: {"min_size": 1000 * n, "max_size": 1000 * n + 100_000},
    "size, open": lambda n: {"min_size": 999_000_000 + n},
    "uploaded_after": lambda n: {"uploaded_after": NEWEST - _hours(n)},
    "uploaded_before": lambda n: {"uploaded_before": NEWEST - _hours(n)},
    "uploaded_before, long ago": lambda _n: {
        "uploaded_before": dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    },
    "content_type": lambda _n: {"content_type": "image/png"},
    "content_type, absent": lambda _n: {"content_type": "image/none"},
    "checksum": lambda n: {"checksum": hashlib.sha256(str(n + 2).encode()).hexdigest()},
    "element": lambda n: {"element_id": _element(n)},
    "element, a common word": lambda n: {"element_id": _element(n), "query": word(n)},
    "by name": lambda _n: {"sort_by": SortBy.ORIGINAL_FILENAME},
    "by name, backwards": lambda _n: {
        "sort_by": SortBy.ORIGINAL_FILENAME,
        "sort_order": SortOrder.DESC,
    },
    "by size": lambda _n: {"sort_by": SortBy.SIZE, "sort_order": SortOrder.ASC},
    "offset 10 000": lambda _n: {"offset": 10_000},
    "filters that exclude each other": lambda _n: {
        "file_extension": "pdf",
        "uploaded_by": "sa_1",
        "min_size": 1,
    },
    "several": lambda n: {
        "query": russian(n),
        "mode": FULL,
        "tags": ("common",),
        "content_type": "image/png",
        "min_size": 1000,
    },
}


def query(kind: str, number: int) -> SearchQuery:
    """Ask for that kind of thing, as a page of 50."""
    return SearchQuery(**ASKED[kind](number), limit=50)
