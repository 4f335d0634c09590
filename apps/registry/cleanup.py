"""Lazy cleanup: a download met a node that has no such file. Is the record wrong?

Only the node's own word counts, from the instance and epoch the registry knows, and it is asked
once more before the record is touched. An element that loses many records this way in an hour is
not believed any further: a full sync decides.
"""

import datetime as dt
import enum

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from apps.admin import audit
from apps.registry import credentials, metrics, sync, written
from apps.registry.errors import NodeFailure, NodeFileGone, NodeFileNotFound
from apps.registry.models import DeletionReason, FileRecord, FileStatus, StorageElement
from artstore import database

_WINDOW = dt.timedelta(hours=1)


class Verdict(enum.Enum):
    """What became of the record."""

    GONE = "gone"
    KEPT = "kept"
    DOUBTED = "doubted"


def settle_missing(record: FileRecord, now: dt.datetime) -> Verdict:
    """A node answered `NOT_FOUND` or `FILE_GONE` for this active record: confirm and write it down.

    GONE: the record says so now (by us or by somebody faster), answer 410. KEPT: the node has the
    file after all, or cannot be asked, or is another; answer 502. DOUBTED: too many at once, 502.
    """
    element = record.storage_element
    if element is None:
        return Verdict.KEPT
    status = _confirmed_status(record, element)
    if status is None:
        return _count(Verdict.KEPT)
    if not _within_limit(element, now):
        sync.ask_for_full(element.pk, "downloads found too many files missing")
        return _count(Verdict.DOUBTED)
    return _count(_write(record, element, status, now))


def _confirmed_status(record: FileRecord, element: StorageElement) -> str | None:
    """The status a fresh question gives the file; None when it is no proof that it is gone."""
    caller = credentials.for_system("files:read")
    client = credentials.client(element, caller)
    database.release()
    try:
        client.get_file(record.file_id)
    except (NodeFileGone, NodeFileNotFound) as refused:
        # A node that rebuilt its index since the last sync answers for another listing.
        if not element.epoch or refused.epoch != element.epoch:
            return None
        gone = isinstance(refused, NodeFileGone) and refused.file_status == "expired"
        return FileStatus.EXPIRED if gone else FileStatus.DELETED
    except NodeFailure:
        return None
    return None


def _within_limit(element: StorageElement, now: dt.datetime) -> bool:
    """Count one cleanup against the element's hour; false when the hour is used up."""
    rows = StorageElement.objects.filter(pk=element.pk)
    old = Q(lazy_window_started_at__isnull=True) | Q(lazy_window_started_at__lte=now - _WINDOW)
    if rows.filter(old).update(lazy_window_started_at=now, lazy_cleanups=1):
        return bool(settings.ARTSTORE_LAZY_CLEANUPS_PER_HOUR > 0)
    open_ones = rows.filter(lazy_cleanups__lt=settings.ARTSTORE_LAZY_CLEANUPS_PER_HOUR)
    return bool(open_ones.update(lazy_cleanups=F("lazy_cleanups") + 1))


def _write(record: FileRecord, element: StorageElement, status: str, now: dt.datetime) -> Verdict:
    expired = status == FileStatus.EXPIRED
    reason = DeletionReason.EXPIRED if expired else DeletionReason.MISSING_ON_ELEMENT
    with transaction.atomic():
        changed = record.mark_gone(status, reason)
        if changed:
            written.changes.note(record.file_id)
            details = {"element": element.storage_id, "status": status}
            audit.record(None, "file.lazy_cleanup", f"file:{record.file_id}", details, now)
    if changed:
        return Verdict.GONE
    current = FileRecord.objects.filter(pk=record.pk).values_list("status", flat=True).first()
    return Verdict.KEPT if current == FileStatus.ACTIVE else Verdict.GONE


def _count(verdict: Verdict) -> Verdict:
    metrics.LAZY_CLEANUPS.labels(verdict.value).inc()
    return verdict
