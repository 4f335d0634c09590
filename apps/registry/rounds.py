"""What has to be started now: periodic syncs that are due, runs nobody picked up, runs whose worker
died. Opens and closes rows; the doors enqueue what comes back.
"""

import datetime as dt
import hashlib
import uuid
from dataclasses import dataclass

from django.conf import settings
from django.db.models.functions import Now

from apps.registry import sync
from apps.registry.errors import SyncInProgress
from apps.registry.models import (
    ElementStatus,
    StorageElement,
    SyncRun,
    SyncStatus,
    SyncTrigger,
    WorkerHeartbeat,
)

# An element that asks for a full sync gets one soon, but not at every tick while it fails.
_FULL_RETRY = dt.timedelta(minutes=5)
_FORGOTTEN = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Due:
    """Runs to enqueue, and how many lost ones were closed."""

    runs: tuple[uuid.UUID, ...]
    abandoned: int


def open_due(now: dt.datetime) -> Due:
    """Close lost runs, claim a run for every element whose time has come, find unclaimed ones."""
    abandoned = SyncRun.abandon_lost()
    WorkerHeartbeat.forget_silent(_FORGOTTEN)
    waiting = _waiting_again()
    claimed = [run for element in _elements() if (run := _claim_if_due(element, now)) is not None]
    return Due((*waiting, *claimed), abandoned)


def _elements() -> list[StorageElement]:
    return list(StorageElement.objects.exclude(status=ElementStatus.MAINTENANCE))


def _waiting_again() -> list[uuid.UUID]:
    """Open runs that no worker took: their message was lost or is late. Doubling it is harmless."""
    late = SyncRun.objects.filter(
        status=SyncStatus.RUNNING, lease_id__isnull=True, lease_expires_at__lte=Now()
    )
    found = list(late.values_list("pk", flat=True))
    lease = dt.timedelta(seconds=settings.ARTSTORE_SYNC_LEASE_SECONDS)
    late.filter(pk__in=found).update(lease_expires_at=Now() + lease)
    return found


def _claim_if_due(element: StorageElement, now: dt.datetime) -> uuid.UUID | None:
    last = SyncRun.objects.filter(storage_element=element).order_by("-started_at", "id").first()
    if last is not None and not _is_due(element, last, now):
        return None
    try:
        return sync.claim(element, sync.Request(SyncTrigger.PERIODIC)).pk
    except SyncInProgress:
        return None


def _is_due(element: StorageElement, last: SyncRun, now: dt.datetime) -> bool:
    if last.status == SyncStatus.RUNNING:
        return False
    if element.full_sync_reason and last.started_at <= now - _FULL_RETRY:
        return True
    period = dt.timedelta(seconds=settings.ARTSTORE_SYNC_PERIOD_SECONDS)
    return last.started_at + period + _jitter(last) <= now


def _jitter(last: SyncRun) -> dt.timedelta:
    """The same for every process that looks at this run, different for every run."""
    share = int.from_bytes(hashlib.sha256(last.pk.bytes).digest()[:4]) / 2**32
    return dt.timedelta(seconds=settings.ARTSTORE_SYNC_JITTER_SECONDS * (share - 0.5))
