"""Makes the records of one element match its files: claim a run, then run it.

A run reads the element's change feed, from its cursor (changes) or from 0 (full), and applies it
page by page. Each page is one transaction that locks the run's row and checks that the run is still
open under this worker's lease, so a run declared dead that wakes up changes nothing.
What may be written to which row is decided in `applying`; who calls this, in the doors.
"""

import contextlib
import datetime as dt
import functools
import logging
import time
import uuid
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.registry import applying, credentials, feed, indexes, metrics, probing
from apps.registry.applying import Applied, Scope
from apps.registry.credentials import Clock
from apps.registry.errors import (
    ElementUrlRefused,
    NodeFailure,
    NodeFileGone,
    NodeFileNotFound,
    NodeResyncRequired,
    SyncInProgress,
    SyncNeedsConfirmation,
    SyncRunNotFound,
    SyncStopped,
)
from apps.registry.feed import Page, Totals
from apps.registry.loading import ParallelLoad
from apps.registry.models import (
    FileRecord,
    StorageElement,
    SyncKind,
    SyncRun,
    SyncStatus,
    SyncTrigger,
    columns_of,
)
from apps.registry.node_client import NodeClient
from apps.registry.uploading import Lease

logger = logging.getLogger(__name__)

REJECTED_SHOWN = 200
# A difference in totals may be an upload under way: look again before believing it.
TOTALS_LOOKS = 3
DISAGREEMENTS_BEFORE_FULL = 2


@dataclass(frozen=True, slots=True)
class Request:
    """Why a sync is wanted, and how thorough it has to be."""

    trigger: SyncTrigger
    full: bool = False
    allow_mass_delete: bool = False
    requested_by: str = ""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What became of a run, as log line, page, command and API tell it."""

    run: SyncRun
    seconds: float

    @property
    def succeeded(self) -> bool:
        return self.run.status == SyncStatus.SUCCEEDED


class RunLost(Exception):
    """The run is not this worker's any more; whatever it was about to write is not written."""


def claim(element: StorageElement, request: Request) -> SyncRun:
    """Open a run for the element; `SyncInProgress` while one is open.

    The caller enqueues the task that runs it once its transaction has committed.
    """
    kind = SyncKind.FULL if request.full or needs_full(element) else SyncKind.CHANGES
    try:
        with transaction.atomic():
            run = SyncRun.objects.create(
                storage_element=element,
                trigger=request.trigger,
                kind=kind,
                allow_mass_delete=request.allow_mass_delete,
                requested_by=request.requested_by,
                lease_expires_at=Now() + _lease().duration,
            )
    except IntegrityError as failure:
        raise SyncInProgress(
            _("A sync of %(name)s is running. Wait for it to end.") % {"name": element.name}
        ) from failure
    run.refresh_from_db()
    return run


def needs_full(element: StorageElement) -> bool:
    """Whether changes alone would not be enough, or the last full sync is too long ago."""
    if not element.epoch or element.full_sync_reason or element.last_full_sync_at is None:
        return True
    oldest = timezone.now() - dt.timedelta(days=settings.ARTSTORE_FULL_SYNC_PERIOD_DAYS)
    if element.last_full_sync_at < oldest:
        return True
    return element.cursor > 0 and not FileRecord.objects.filter(storage_element=element).exists()


def ask_for_full(element_id: uuid.UUID, reason: str) -> None:
    """The next sync of this element, whatever starts it, reads everything."""
    StorageElement.objects.filter(pk=element_id).update(full_sync_reason=reason[:200])


def get(run_id: uuid.UUID) -> SyncRun:
    """The run, or `SyncRunNotFound`."""
    found = SyncRun.objects.filter(pk=run_id).first()
    if found is None:
        raise SyncRunNotFound(_("There is no sync run %(id)s.") % {"id": run_id})
    return found


def run(run_id: uuid.UUID, clock: Clock = timezone.now) -> SyncReport | None:
    """Run a claimed sync to its end. None when another worker has it or it is closed."""
    lease = _lease()
    if not SyncRun.take(run_id, lease):
        return None
    started = time.monotonic()
    row = SyncRun.objects.select_related("storage_element").get(pk=run_id)
    if row.storage_element is None:
        SyncRun.finish(run_id, lease, SyncStatus.FAILED, _("The element was removed."))
    else:
        _guarded(_Run(row, row.storage_element, lease, clock))
        indexes.build_due()
    row.refresh_from_db()
    report = SyncReport(row, time.monotonic() - started)
    _tell(report)
    return report


def _lease() -> Lease:
    return Lease.for_seconds(settings.ARTSTORE_SYNC_LEASE_SECONDS)


def _guarded(work: "_Run") -> None:
    """Whatever stops a run is written on its row."""
    try:
        work.go()
    except RunLost:
        logger.warning("sync run %s was taken from this worker", work.run.pk)
    except (NodeFailure, ElementUrlRefused) as failure:
        if isinstance(failure, NodeFailure):
            probing.note_failed_call(work.element, failure)
        work.finish(SyncStatus.FAILED, str(failure))
    except SyncNeedsConfirmation as stopped:
        SyncRun.leased(work.run.pk, work.lease).update(files_missing=stopped.missing)
        work.finish(SyncStatus.NEEDS_CONFIRMATION, str(stopped))
    except SyncStopped as stopped:
        work.finish(SyncStatus.FAILED, str(stopped))
    except BaseException:
        work.finish(SyncStatus.FAILED, _("The worker failed; its log says why."))
        raise
    finally:
        applying.forget_seen(work.run.pk)


def _tell(report: SyncReport) -> None:
    row = report.run
    metrics.SYNC_RUNS.labels(row.kind, row.status).inc()
    metrics.SYNC_SECONDS.labels(row.kind).observe(report.seconds)
    outcomes = ("added", "updated", "unchanged", "marked_deleted", "rejected")
    counts = {name: getattr(row, f"files_{name}") for name in outcomes}
    for name, count in counts.items():
        metrics.SYNC_FILES.labels(name).inc(count)
    element = row.storage_element.storage_id if row.storage_element else "removed"
    logger.info(
        "sync %s of %s ended: %s",
        row.kind,
        element,
        row.status,
        extra={"run": str(row.pk), "seconds": round(report.seconds, 3), **counts},
    )


class _Run:
    """One run under way in this worker."""

    def __init__(self, run: SyncRun, element: StorageElement, lease: Lease, clock: Clock) -> None:
        self.run = run
        self.element = element
        self.lease = lease
        caller = credentials.for_system("files:read", "storage:read")
        self.client: NodeClient = credentials.client(element, caller, clock)
        self.scope = self._scope(new_epoch=False)
        self.first_load = False
        self.held_back: set[uuid.UUID] = set()

    def go(self) -> None:
        info = self.client.get_info()
        epoch = info.identity.epoch
        if not epoch:
            raise SyncStopped(_("The element is starting and cannot list its files yet."))
        new_epoch = epoch != self.element.epoch
        last_change = info.body.get("last_change")
        # A cursor ahead of the element: it was set back without a word.
        set_back = isinstance(last_change, int) and self.element.cursor > last_change
        if new_epoch or set_back:
            self.run.kind = SyncKind.FULL
        self.scope = self._scope(new_epoch=new_epoch)
        self._note_start(epoch)
        if self.run.kind == SyncKind.FULL:
            self._prepare_for(probing.listed_files(info.body))
            self._full(epoch)
            return
        try:
            self._changes(epoch)
        except NodeResyncRequired:
            self.run.kind = SyncKind.FULL
            self.scope = self._scope(new_epoch=False)
            self._note_start(epoch)
            self._full(epoch)

    def finish(self, status: SyncStatus, error: str = "") -> None:
        SyncRun.finish(self.run.pk, self.lease, status, error)

    def _scope(self, *, new_epoch: bool) -> Scope:
        full = self.run.kind == SyncKind.FULL
        fresh = full and not FileRecord.objects.filter(storage_element=self.element).exists()
        return Scope(self.run.pk, self.element.pk, self.run.started_at, new_epoch, full, fresh)

    def _note_start(self, epoch: str) -> None:
        updated = SyncRun.leased(self.run.pk, self.lease).update(
            kind=self.run.kind,
            epoch=epoch,
            instance_id=self.element.instance_id,
            new_epoch=self.scope.new_epoch,
        )
        if not updated:
            raise RunLost
        StorageElement.objects.filter(pk=self.element.pk).update(last_sync_at=Now())

    def _prepare_for(self, files: int) -> None:
        """A first load of many files leaves out what is cheaper built at its end, and uses two connections."""
        least = settings.ARTSTORE_FIRST_LOAD_FILES
        self.first_load = self.scope.fresh and bool(least) and files >= least
        if self.first_load:
            with transaction.atomic():
                self._hold()
                indexes.leave_out()

    # --- changes ---

    def _changes(self, epoch: str) -> None:
        last = self._apply_pages(self.element.cursor, epoch)
        gap = self._gap(last.totals)
        for _look in range(TOTALS_LOOKS - 1):
            if gap == self.element.known_gap:
                break
            last = self._apply_pages(last.next_since, epoch)
            gap = self._gap(last.totals)
        disagreed = 0 if gap == self.element.known_gap else self.element.totals_disagreed + 1
        columns: dict[str, Any] = {"totals_disagreed": disagreed}
        if disagreed >= DISAGREEMENTS_BEFORE_FULL:
            columns["full_sync_reason"] = "totals disagreed twice running"
        self._succeed(columns)

    def _gap(self, totals: Totals | None) -> list[int]:
        assert totals is not None
        ours = applying.active_sums(self.element.pk)
        return [theirs - our for theirs, our in zip(totals.active, ours, strict=True)]

    # --- full ---

    def _full(self, epoch: str) -> None:
        last = self._apply_pages(0, epoch)
        self._ask_singly()
        assert last.totals is not None
        with transaction.atomic():
            self._hold()
            seen = applying.count_seen(self.scope)
            if seen != last.totals.listed_files:
                raise SyncStopped(
                    _(
                        "The element counts %(total)s files and listed %(seen)s: what was listed "
                        "is applied, and nothing was marked as missing."
                    )
                    % {"total": last.totals.listed_files, "seen": seen}
                )
            # A first load met no record that is older than itself.
            if not self.scope.fresh:
                self._mark_missing()
        self._succeed(
            {
                "epoch": epoch,
                "cursor": last.next_since,
                "last_full_sync_at": self.run.started_at,
                "full_sync_reason": "",
                "totals_disagreed": 0,
                "known_gap": self._gap(last.totals),
            }
        )

    def _mark_missing(self) -> None:
        missing = applying.count_missing(self.scope)
        if not missing:
            return
        active, *_rest = applying.active_sums(self.element.pk)
        percent = settings.ARTSTORE_SYNC_MISSING_PERCENT
        most = max(settings.ARTSTORE_SYNC_MISSING_FILES, active * percent / 100)
        if missing > most and not self.run.allow_mass_delete:
            raise SyncNeedsConfirmation(
                _(
                    "%(missing)s of %(active)s active files are not on the element any more. "
                    "Nothing was marked. Look at the element; if they are really gone, start a "
                    "full sync that may delete them."
                )
                % {"missing": missing, "active": active},
                missing=missing,
            )
        marked = applying.mark_missing(self.scope)
        SyncRun.objects.filter(pk=self.run.pk).update(
            files_missing=missing, files_marked_deleted=F("files_marked_deleted") + marked
        )

    def _ask_singly(self) -> None:
        """Rows that were written while a listing of a new epoch was read: ask for each again."""
        for file_id in sorted(self.held_back):
            row = FileRecord.objects.filter(pk=file_id).first()
            try:
                attributes = self.client.get_file(file_id).attributes
            except (NodeFileNotFound, NodeFileGone):
                continue  # the feed brings its tombstone, or the next full sync misses it
            with transaction.atomic():
                self._hold()
                same = FileRecord.objects.filter(
                    pk=file_id,
                    storage_element_id=self.element.pk,
                    written_at=row.written_at if row else None,
                )
                updated = same.update(**columns_of(attributes))
                SyncRun.objects.filter(pk=self.run.pk).update(
                    files_updated=F("files_updated") + updated
                )

    # --- pages ---

    def _apply_pages(self, since: int, epoch: str) -> Page:
        last: Page | None = None
        written_out = functools.partial(applying.write_out, scope=self.scope)
        with contextlib.ExitStack() as stack:
            give = self._apply_page
            if self.first_load:
                give = stack.enter_context(ParallelLoad(self._put_in, self._apply_page)).give
            for page in feed.pages(self.client, since, epoch, written_out):
                if page.epoch != epoch:
                    raise SyncStopped(_("The element's index was rebuilt during the sync."))
                give(page)
                last = page
        assert last is not None
        return last

    def _put_in(self, page: Page) -> bool:
        """One of two pages at a time: the run's row is locked last, or they would wait for each other."""
        with transaction.atomic():
            if not applying.put_in(page):
                return False
            self._hold()
            self._count(page, Applied(added=len(page.files)))
        return True

    def _apply_page(self, page: Page) -> None:
        with transaction.atomic():
            self._hold()
            applied = applying.apply_page(page, self.scope)
            self._count(page, applied)
            if self.run.kind == SyncKind.CHANGES:
                StorageElement.objects.filter(pk=self.element.pk).update(cursor=page.next_since)
        self.held_back |= set(applied.held_back)

    def _hold(self) -> None:
        """Lock the run's row for this transaction and renew the lease, if it is still ours."""
        if not SyncRun.renew_lease(self.run.pk, self.lease):
            raise RunLost

    def _count(self, page: Page, applied: Applied) -> None:
        touched = applied.added + applied.updated + len(applied.held_back)
        duplicates = sum(one.reason == applying.DUPLICATE for one in applied.rejected)
        row = SyncRun.objects.get(pk=self.run.pk)
        row.cursor = page.next_since
        row.changes_applied += page.items
        row.files_seen += len(page.files)
        row.files_added += applied.added
        row.files_updated += applied.updated
        row.files_unchanged += max(0, len(page.files) - touched - duplicates)
        row.files_marked_deleted += applied.marked_deleted
        row.files_rejected += len(applied.rejected)
        shown = max(0, REJECTED_SHOWN - len(row.rejected_items))
        row.rejected_items += [
            {"file_id": str(one.file_id) if one.file_id else None, "reason": one.reason}
            for one in applied.rejected[:shown]
        ]
        row.save()

    def _succeed(self, columns: dict[str, Any]) -> None:
        with transaction.atomic():
            self._hold()
            StorageElement.objects.filter(pk=self.element.pk).update(
                **columns, last_file_sync_at=Now()
            )
            self.finish(SyncStatus.SUCCEEDED)
