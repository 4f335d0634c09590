"""Records and elements this process has read lately, for downloads and metadata.

Short-lived and bounded. Holds what a file is, never what a caller may. What this process changes it
sees at once; what another changed, within the life of an entry (`ARTSTORE_QUERY_CACHE_SECONDS`). The
element has the last word on every download, so an old entry can at worst cost a call that ends in 410.
"""

import datetime as dt
import threading
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection

from apps.query import metrics
from apps.registry.models import FileRecord, FileStatus, StorageElement
from apps.registry.written import changes

# What only searches need is not read.
_RECORD_FIELDS = tuple(
    field
    for field in FileRecord._meta.concrete_fields
    if field.name not in {"search_vector", "name_key"}
)
_ELEMENT_FIELDS = tuple(StorageElement._meta.concrete_fields)
_COLUMNS = ", ".join(
    [f"r.{field.column}" for field in _RECORD_FIELDS]
    + [f"e.{field.column}" for field in _ELEMENT_FIELDS]
)
_STATEMENT = (
    f"SELECT {_COLUMNS} FROM {FileRecord._meta.db_table} r"  # noqa: S608 - names of our own models
    f" LEFT JOIN {StorageElement._meta.db_table} e ON e.id = r.storage_element_id"
    " WHERE r.file_id = %s AND r.status <> %s"
)


@dataclass(frozen=True, slots=True)
class _Entry:
    record: FileRecord
    until: dt.datetime
    # How many changes this process had made when the record was read.
    changes: int


class RecordCache:
    """Least recently used goes first. Records come with their element and must not be changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[uuid.UUID, _Entry] = OrderedDict()

    def get(self, file_id: uuid.UUID, now: dt.datetime) -> FileRecord | None:
        """The record as it was at most a cache's life ago; `None` when there is none."""
        with self._lock:
            entry = self._entries.get(file_id)
            if entry is not None and now < entry.until and not _is_old(entry):
                self._entries.move_to_end(file_id)
                metrics.CACHE_LOOKUPS.labels("hit").inc()
                return entry.record
        metrics.CACHE_LOOKUPS.labels("miss").inc()
        count = changes.count
        record = _read(file_id)
        if record is not None:
            self._put(record, now, count)
        return record

    def drop(self, file_id: uuid.UUID) -> None:
        """Forget a record that its element contradicts."""
        with self._lock:
            self._entries.pop(file_id, None)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def _put(self, record: FileRecord, now: dt.datetime, count: int) -> None:
        until = now + dt.timedelta(seconds=settings.ARTSTORE_QUERY_CACHE_SECONDS)
        with self._lock:
            self._entries[record.file_id] = _Entry(record, until, count)
            self._entries.move_to_end(record.file_id)
            while len(self._entries) > settings.ARTSTORE_QUERY_CACHE_FILES:
                self._entries.popitem(last=False)


def _is_old(entry: _Entry) -> bool:
    return changes.changed_since(entry.record.file_id, entry.changes)


def _read(file_id: uuid.UUID) -> FileRecord | None:
    # Nearly every download of a small file begins here: one plain statement, since a query set takes
    # several times as long to write it as the database to answer it.
    with connection.cursor() as cursor:
        cursor.execute(_STATEMENT, [file_id, FileStatus.UPLOADING.value])
        row = cursor.fetchone()
    if row is None:
        return None
    record: FileRecord = _made(FileRecord, _RECORD_FIELDS, row[: len(_RECORD_FIELDS)])
    element = row[len(_RECORD_FIELDS) :]
    has_element = record.storage_element_id is not None
    record.storage_element = (
        _made(StorageElement, _ELEMENT_FIELDS, element) if has_element else None
    )
    return record


def _made(model: type[Any], fields: Sequence[Any], row: Sequence[Any]) -> Any:
    """A row as a query set makes it of its columns; the fields that are missing are deferred."""
    values = [
        field.from_db_value(value, None, connection) if hasattr(field, "from_db_value") else value
        for field, value in zip(fields, row, strict=True)
    ]
    return model.from_db(connection.alias, [field.attname for field in fields], values)


records = RecordCache()
