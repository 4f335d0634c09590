"""The result of a search as CSV: lines while they are read, so many and no more. No response.

Files come newest first by the search's own order, except that an order by relevance, which ranks
only some, becomes the order of upload. Text that a spreadsheet would run is made text it shows.
"""

import csv
import dataclasses
import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from apps.admin.permissions import Act, may
from apps.admin.principals import Principal
from apps.query import search
from apps.query.asking import SearchQuery, SortBy
from apps.registry.models import FileRecord
from artstore.moments import rfc3339
from artstore.pages import CsvLine

# Spreadsheets take UTF-8 for a national code page without it.
_BYTE_ORDER_MARK = "\ufeff"


def _time(value: dt.datetime | None) -> str:
    return rfc3339(value) if value else ""


def _tags(record: FileRecord) -> str:
    # As JSON: a tag may hold any separator.
    return json.dumps(record.tags, ensure_ascii=False) if record.tags else ""


def _metadata(record: FileRecord) -> str:
    return json.dumps(record.metadata, ensure_ascii=False) if record.metadata else ""


_COLUMNS: dict[str, Callable[[FileRecord, dt.datetime], Any]] = {
    "file_id": lambda record, _now: record.file_id,
    "original_filename": lambda record, _now: record.original_filename,
    "content_type": lambda record, _now: record.content_type,
    "size": lambda record, _now: record.size,
    "checksum": lambda record, _now: record.checksum,
    "uploaded_by": lambda record, _now: record.uploaded_by,
    "uploaded_at": lambda record, _now: _time(record.uploaded_at),
    "updated_at": lambda record, _now: _time(record.updated_at),
    "description": lambda record, _now: record.description or "",
    "tags": lambda record, _now: _tags(record),
    "metadata": lambda record, _now: _metadata(record),
    "status": lambda record, now: record.status_at(now),
    "retention_policy": lambda record, _now: record.retention_policy,
    "ttl_days": lambda record, _now: record.ttl_days,
    "expires_at": lambda record, _now: _time(record.expires_at),
    "storage_element_id": lambda record, _now: record.storage_element_id,
}


@dataclass(frozen=True, slots=True)
class Export:
    """A CSV to send. `is_cut`: more files match than `lines` will list; the name says so too."""

    filename: str
    lines: Iterator[str]
    is_cut: bool


def export(query: SearchQuery, principal: Principal, now: dt.datetime) -> Export:
    """All files `query` is about, up to `ARTSTORE_EXPORT_FILES`, from the first page on.

    A query that makes no sense is refused here, before the first line.
    """
    search.check_order(query)
    most = settings.ARTSTORE_EXPORT_FILES
    whole = _in_pages(query)
    is_cut = search.has_more_than(whole, most, now)
    cut = f"-first-{most}" if is_cut else ""
    name = f"artstore-files-{now:%Y%m%d-%H%M%S}{cut}.csv"
    return Export(name, _lines(search.walk(whole, most, now), principal, now), is_cut)


def _in_pages(query: SearchQuery) -> SearchQuery:
    by = SortBy.UPLOADED_AT if query.sort is SortBy.RELEVANCE else query.sort
    return dataclasses.replace(query, sort_by=by, offset=0, cursor=None)


def _lines(records: Iterator[FileRecord], principal: Principal, now: dt.datetime) -> Iterator[str]:
    names = [name for name in _COLUMNS if name != "storage_element_id"]
    if may(principal, Act.SEE_ELEMENT_ID):
        names.append("storage_element_id")
    writer = csv.writer(CsvLine())
    yield _BYTE_ORDER_MARK + writer.writerow(names)
    for record in records:
        yield writer.writerow(_cells(record, names, now))


def _cells(record: FileRecord, names: Sequence[str], now: dt.datetime) -> list[Any]:
    cells = [_COLUMNS[name](record, now) for name in names]
    return [CsvLine.tame(cell) if isinstance(cell, str) else cell for cell in cells]
