"""What the dashboard says: totals, shares, the last day's uploads, and what needs a person.

Reads only. Every query costs the same at a thousand and at a hundred million records: where an
exact count would not, a sample is taken and the answer says so.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db import connection
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import TruncHour
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.registry.models import (
    ElementStatus,
    FileRecord,
    FileStatus,
    Mode,
    StorageElement,
    SyncKind,
    SyncRun,
    SyncStatus,
    WorkerHeartbeat,
)

# Above this the shares are estimated from as many rows, give or take a page of the table.
EXACT_UP_TO_ROWS = 50_000
NEARLY_FULL_PERCENT = 90
PROBE_OVERDUE = dt.timedelta(minutes=3)
WORKER_SILENT = dt.timedelta(minutes=2)
UPLOAD_HOURS = 24

# Where files of each retention go, and what to say when no element is there for them, or none can.
_TAKERS = (
    (
        Mode.EDIT,
        _("No element is in mode edit, so temporary files cannot be uploaded. Register one."),
        _("No element takes temporary files now: each one in mode edit is away or full."),
    ),
    (
        Mode.RW,
        _("No element is in mode rw, so permanent files cannot be uploaded. Register one."),
        _("No element takes permanent files now: each one in mode rw is away or full."),
    ),
)

# Whether it is urgent, and why.
Reason = tuple[bool, str | Promise]


@dataclass(frozen=True, slots=True)
class ElementLine:
    """One element with the run that last tried to sync it, and the one that waits for a word."""

    element: StorageElement
    last_run: SyncRun | None
    waiting_run: SyncRun | None


@dataclass(frozen=True, slots=True)
class Share:
    """So many files of one status and retention."""

    status: str
    retention: str
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Shares:
    """Files by status and retention; `estimated` when read from a sample."""

    parts: tuple[Share, ...]
    estimated: bool

    def files(self, *statuses: str) -> int:
        return sum(part.files for part in self.parts if part.status in statuses)

    @property
    def active_files(self) -> int:
        return self.files(FileStatus.ACTIVE)

    @property
    def active_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts if part.status == FileStatus.ACTIVE)


@dataclass(frozen=True, slots=True)
class Hour:
    """Uploads that became visible within the hour that starts then."""

    starts_at: dt.datetime
    files: int


@dataclass(frozen=True, slots=True)
class Concern:
    """Something a person should look at, and why.

    `element` is None when it is no element's; then `title` says what it is about. `run` is the sync
    run that waits for a person's word.
    """

    element: StorageElement | None
    urgent: bool
    reasons: tuple[str | Promise, ...]
    title: str | Promise = ""
    run: SyncRun | None = None


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Everything the page shows, read at `now`."""

    now: dt.datetime
    lines: tuple[ElementLine, ...]
    shares: Shares
    hours: tuple[Hour, ...]
    concerns: tuple[Concern, ...]

    @property
    def capacity_bytes(self) -> int:
        return sum(line.element.capacity_bytes for line in self.lines)

    @property
    def used_bytes(self) -> int:
        return sum(line.element.used_bytes for line in self.lines)

    @property
    def available_bytes(self) -> int:
        return sum(line.element.available_bytes for line in self.lines)


def survey(now: dt.datetime) -> Dashboard:
    """Read everything the dashboard shows."""
    lines = tuple(_element_lines())
    concerns = [
        *_background_concerns(now),
        *_upload_concerns(lines),
        *_element_concerns(lines, now),
    ]
    concerns.sort(key=lambda concern: not concern.urgent)
    return Dashboard(now, lines, shares(), tuple(uploads_by_hour(now)), tuple(concerns))


def _element_lines() -> Iterator[ElementLine]:
    runs = _latest_of_each(SyncRun.objects.all())
    # A full sync that succeeds settles what an earlier one asked; one that fails, or reads changes
    # only, does not.
    settled = Q(status=SyncStatus.SUCCEEDED, kind=SyncKind.FULL)
    asked = Q(status=SyncStatus.NEEDS_CONFIRMATION)
    verdicts = _latest_of_each(SyncRun.objects.filter(settled | asked))
    for element in StorageElement.objects.order_by("name", "id"):
        verdict = verdicts.get(element.pk)
        waits = verdict is not None and verdict.status == SyncStatus.NEEDS_CONFIRMATION
        yield ElementLine(element, runs.get(element.pk), verdict if waits else None)


def _latest_of_each(runs: "QuerySet[SyncRun]") -> dict[uuid.UUID | None, SyncRun]:
    """The newest of these runs by the id of its element."""
    of_elements = runs.filter(storage_element__isnull=False)
    newest = of_elements.order_by("storage_element_id", "-started_at", "id")
    return {run.storage_element_id: run for run in newest.distinct("storage_element_id")}


def shares() -> Shares:
    """Counts by status and retention, from a sample of the table's pages when it is large."""
    table = connection.ops.quote_name(FileRecord._meta.db_table)
    with connection.cursor() as cursor:
        # The planner's figure can be old, so whether the table is large is counted, up to a bound.
        cursor.execute(
            f"select reltuples, (select count(*) from (select from {table} limit %s) bounded) "  # noqa: S608 - a quoted table name of our own
            "from pg_class where oid = %s::regclass",
            [EXACT_UP_TO_ROWS + 1, table],
        )
        planned, counted = cursor.fetchone()
        is_small = counted <= EXACT_UP_TO_ROWS
        percent = 100.0 if is_small else 100.0 * EXACT_UP_TO_ROWS / max(planned, counted)
        # With 100 per cent the clause reads everything: one statement serves both.
        cursor.execute(
            f"select status, retention_policy, count(*), coalesce(sum(size), 0) from {table} "  # noqa: S608 - a quoted table name of our own
            "tablesample system (%s) where status <> %s group by 1, 2 order by 1, 2",
            [percent, FileStatus.UPLOADING],
        )
        found = cursor.fetchall()
    factor = 100.0 / percent
    parts = (
        Share(status, retention, round(files * factor), round(float(size) * factor))
        for status, retention, files, size in found
    )
    return Shares(tuple(parts), estimated=percent < 100.0)


def uploads_by_hour(now: dt.datetime) -> list[Hour]:
    """The last day by the hour, the hours without an upload included, oldest first."""
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    since = this_hour - dt.timedelta(hours=UPLOAD_HOURS - 1)
    counted = (
        FileRecord.objects.visible()
        .filter(uploaded_at__gte=since)
        .annotate(hour=TruncHour("uploaded_at", tzinfo=dt.UTC))
        .values_list("hour")
        .annotate(files=Count("pk"))
        .order_by("hour")
    )
    files = dict(counted)
    starts = (since + dt.timedelta(hours=step) for step in range(UPLOAD_HOURS))
    return [Hour(start, files.get(start, 0)) for start in starts]


def _background_concerns(now: dt.datetime) -> Iterator[Concern]:
    if not WorkerHeartbeat.objects.filter(seen_at__gt=now - WORKER_SILENT).exists():
        why = _("No background worker is alive: nothing is probed, synced or settled. Start one.")
        yield Concern(None, True, (why,), _("Background work"))


def _upload_concerns(lines: Iterable[ElementLine]) -> Iterator[Concern]:
    """Kinds of files that no element takes. Urgent where one is there for them but cannot."""
    elements = [line.element for line in lines]
    for mode, nowhere, no_longer in _TAKERS if elements else ():
        takers = [element for element in elements if element.mode == mode]
        if not any(_takes_files(element) for element in takers):
            why = no_longer if takers else nowhere
            yield Concern(None, bool(takers), (why,), _("Uploads"))


def _takes_files(element: StorageElement) -> bool:
    return element.status == ElementStatus.ONLINE and element.available_bytes > 0


def _element_concerns(lines: Iterable[ElementLine], now: dt.datetime) -> Iterator[Concern]:
    for line in lines:
        found = [*_health_reasons(line.element, now), *_sync_reasons(line)]
        if found:
            urgent = any(urgent for urgent, _why in found)
            reasons = dict.fromkeys(why for _urgent, why in found)
            yield Concern(line.element, urgent, tuple(reasons), run=line.waiting_run)


def _health_reasons(element: StorageElement, now: dt.datetime) -> Iterator[Reason]:
    said = element.status_reason
    if element.status == ElementStatus.OFFLINE:
        yield True, said or _("It does not answer.")
    elif element.status == ElementStatus.DEGRADED:
        yield False, said or _("It answers, but not in full health.")
    elif element.status == ElementStatus.MAINTENANCE:
        yield False, said or _("An operator put it into maintenance.")
    elif element.last_probe_at is None or element.last_probe_at < now - PROBE_OVERDUE:
        yield False, _("It was not probed lately; the figures may be old.")
    if element.offered_instance_id:
        yield True, _("Another instance answers at its address and waits for your word.")
    used, capacity = element.used_bytes, element.capacity_bytes
    if capacity and used * 100 >= capacity * NEARLY_FULL_PERCENT:
        yield used >= capacity, _("It is nearly full.")


def _sync_reasons(line: ElementLine) -> Iterator[Reason]:
    run = line.last_run
    if line.waiting_run is not None:
        yield True, _("A sync would delete many records and waits for your word.")
    if run is None:
        yield False, _("Its files were never synced.")
    elif run.status in {SyncStatus.FAILED, SyncStatus.ABANDONED}:
        yield False, run.error or _("Its last sync failed.")
