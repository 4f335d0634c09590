"""Pages of an element's feed as lines for PostgreSQL's COPY. Text only: no database, no decisions.

Written by hand: a listing is mostly this, and adapters that know every type take thrice as long.
"""

import datetime as dt
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from apps.registry.attributes import RECORD_COLUMNS, STATUSES, FileAttributes, json_text
from apps.registry.feed import Page
from apps.registry.models import reason_of

COLUMNS = ("kind", *RECORD_COLUMNS)
# A record as an element brings it that had none: what is said of the file, and what the registry adds.
RECORD = (*RECORD_COLUMNS, "storage_element_id", "deletion_reason", "activated_at", "body_sent")
FILE, TOMBSTONE, REJECTED = "f", "t", "x"
_NULL = r"\N"
_SPECIAL = re.compile(r"[\\\t\n\r]")
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def lines(files: Iterable[FileAttributes], page: Page | None) -> bytes:
    """`files`, and what else `page` holds, a line each."""
    rest = () if page is None else _rest(page)
    return _ended([*(f"{FILE}\t{_file(one)}" for one in files), *rest])


def records(files: Iterable[FileAttributes], element: uuid.UUID, since: dt.datetime) -> bytes:
    """`files` as new records of `element`, active since then."""
    tails = {
        status: f"\t{element}\t{reason_of(status)}\t{since.isoformat()}\tf" for status in STATUSES
    }
    # In the order of their ids, like every page: two elements that list the same files must not wait in a ring.
    ordered = sorted(files, key=lambda one: one.file_id.int)
    return _ended(_file(one) + tails[one.status] for one in ordered)


def _ended(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _file(one: FileAttributes) -> str:
    """In the order of the columns, which is that of the attributes."""
    return "\t".join(
        (
            str(one.file_id),
            _text(one.original_filename),
            _text(one.content_type),
            str(one.size),
            one.checksum,
            _text(one.uploaded_by),
            one.uploaded_at.isoformat(),
            one.updated_at.isoformat(),
            str(one.revision),
            _NULL if one.description is None else _text(one.description),
            _text(_array(one.tags)),
            _text(json_text(one.metadata)),
            one.status,
            one.retention_policy,
            _NULL if one.ttl_days is None else str(one.ttl_days),
            _NULL if one.expires_at is None else one.expires_at.isoformat(),
        )
    )


def _text(text: str) -> str:
    return text.translate(_ESCAPES) if _SPECIAL.search(text) else text


def _array(texts: Sequence[str]) -> str:
    """An array literal."""
    if not texts:
        return "{}"
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return '{"' + '","'.join(quoted) + '"}'


def _rest(page: Page) -> Iterator[str]:
    for tombstone in page.tombstones.values():
        known = {"updated_at": tombstone.at.isoformat(), "status": tombstone.status}
        yield _bare(TOMBSTONE, tombstone.file_id, known)
    for rejected in page.rejected:
        if rejected.file_id is not None:
            yield _bare(REJECTED, rejected.file_id, {})


def _bare(kind: str, file_id: uuid.UUID, known: dict[str, Any]) -> str:
    values = {"kind": kind, "file_id": str(file_id), **known}
    return "\t".join(values.get(name, _NULL) for name in COLUMNS)
