"""Pages of an element's feed as lines for PostgreSQL's COPY. Text only: no database, no decisions.

What the line of one file says is `listed`'s.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from apps.registry.attributes import RECORD_COLUMNS, STATUSES
from apps.registry.feed import Page
from apps.registry.listed import NULL, status_of
from apps.registry.models import reason_of

COLUMNS = ("kind", *RECORD_COLUMNS)
# A record as an element brings it that had none: what is said of the file, and what the registry adds.
RECORD = (*RECORD_COLUMNS, "storage_element_id", "deletion_reason", "activated_at", "body_sent")
FILE, TOMBSTONE, REJECTED = "f", "t", "x"


def lines(files: Iterable[str], page: Page | None) -> bytes:
    """The rows `files`, and what else `page` holds, a line each."""
    rest = () if page is None else _rest(page)
    return "".join([*(f"{FILE}\t{row}\n" for row in files), *rest]).encode()


def records(files: Iterable[str], element: uuid.UUID, since: dt.datetime) -> bytes:
    """The rows `files` as new records of `element`, active since then."""
    tails = {
        status: f"\t{element}\t{reason_of(status)}\t{since.isoformat()}\tf\n" for status in STATUSES
    }
    # In the order of their ids, like every page: two elements that list the same files must not wait in a ring.
    return "".join([row + tails[status_of(row)] for row in sorted(files)]).encode()


def _rest(page: Page) -> Iterator[str]:
    for tombstone in page.tombstones.values():
        known = {"updated_at": tombstone.at.isoformat(), "status": tombstone.status}
        yield _bare(TOMBSTONE, tombstone.file_id, known)
    for rejected in page.rejected:
        if rejected.file_id is not None:
            yield _bare(REJECTED, rejected.file_id, {})


def _bare(kind: str, file_id: uuid.UUID, known: dict[str, Any]) -> str:
    values = {"kind": kind, "file_id": str(file_id), **known}
    return "\t".join(values.get(name, NULL) for name in COLUMNS) + "\n"
