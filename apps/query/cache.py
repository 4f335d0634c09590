"""Records and elements this process has read lately, for downloads and metadata.

Short-lived and bounded. Holds what a file is, never what a caller may. What this process changes it
sees at once; what another changed, within the life of an entry (`ARTSTORE_QUERY_CACHE_SECONDS`). The
element has the last word on every download, so an old entry can at worst cost a call that ends in 410.
"""

import datetime as dt
import threading
import uuid
from collections import OrderedDict
from dataclasses import dataclass

from django.conf import settings

from apps.query import metrics
from apps.registry.models import FileRecord
from apps.registry.written import changes


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
    visible = FileRecord.objects.visible().select_related("storage_element")
    return visible.defer("search_vector").filter(pk=file_id).first()


records = RecordCache()
