"""Records and elements this process has read lately, for downloads and metadata.

Short-lived and bounded. Holds what a file is, never what a caller may. The element has the last
word on every download, so an old entry can at worst cost a call that ends in 410.
"""

import datetime as dt
import threading
import uuid
from collections import OrderedDict
from dataclasses import dataclass

from django.conf import settings

from apps.query import metrics
from apps.registry.models import FileRecord


@dataclass(frozen=True, slots=True)
class _Entry:
    record: FileRecord
    until: dt.datetime


class RecordCache:
    """Least recently used goes first. Records come with their element and must not be changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[uuid.UUID, _Entry] = OrderedDict()

    def get(self, file_id: uuid.UUID, now: dt.datetime) -> FileRecord | None:
        """The record as it was at most a cache's life ago; `None` when there is none."""
        with self._lock:
            entry = self._entries.get(file_id)
            if entry is not None and now < entry.until:
                self._entries.move_to_end(file_id)
                metrics.CACHE_LOOKUPS.labels("hit").inc()
                return entry.record
        metrics.CACHE_LOOKUPS.labels("miss").inc()
        record = _read(file_id)
        if record is not None:
            self._put(record, now)
        return record

    def drop(self, file_id: uuid.UUID) -> None:
        """Forget a record that was just changed."""
        with self._lock:
            self._entries.pop(file_id, None)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def _put(self, record: FileRecord, now: dt.datetime) -> None:
        until = now + dt.timedelta(seconds=settings.ARTSTORE_QUERY_CACHE_SECONDS)
        with self._lock:
            self._entries[record.file_id] = _Entry(record, until)
            self._entries.move_to_end(record.file_id)
            while len(self._entries) > settings.ARTSTORE_QUERY_CACHE_FILES:
                self._entries.popitem(last=False)


def _read(file_id: uuid.UUID) -> FileRecord | None:
    visible = FileRecord.objects.visible().select_related("storage_element")
    return visible.defer("search_vector").filter(pk=file_id).first()


records = RecordCache()
