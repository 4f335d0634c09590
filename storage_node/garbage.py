"""Garbage collection: active past its time becomes expired; what expired long enough ago or was deleted gives its bytes back.

Run once is the primitive; `periodic.py` is the loop around it. Nothing is freed, and nothing marked, on a clock that can
not be believed: a clock a year ahead would end files for good.
"""

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from storage_node.attributes import FileAttributes, stamp
from storage_node.errors import FileGone, NotFound
from storage_node.index_schema import Row
from storage_node.modes import FREES_BYTES
from storage_node.names import content_path
from storage_node.records import Kind
from storage_node.store import Store
from storage_node.upkeep import ExpireFile, Note, PurgeFile

_CHUNK = 256
ITEMS_LIMIT = 1000


@dataclass
class GarbageReport:
    """What one run did, or with `dry_run` what it would do. `items` are the first thousand."""

    dry_run: bool
    started_at: datetime
    finished_at: datetime
    expired_files: int = 0
    freed_files: int = 0
    freed_bytes: int = 0
    forgotten_tombstones: int = 0
    postponed_reason: str | None = None
    items: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: Row, freed_bytes: int) -> None:
        """One file freed, or to be freed."""
        self.freed_files += 1
        self.freed_bytes += freed_bytes
        if len(self.items) < ITEMS_LIMIT:
            status = "expired" if row.status == "active" else row.status
            reason = "expired" if status == "expired" else "deleted"
            self.items.append(
                {
                    "file_id": str(row.file_id),
                    "status": status,
                    "reason": reason,
                    "bytes": freed_bytes,
                }
            )

    def to_wire(self) -> dict[str, Any]:
        """As the wire and the shell show it."""
        return {
            "dry_run": self.dry_run,
            "started_at": stamp(self.started_at),
            "finished_at": stamp(self.finished_at),
            "expired_files": self.expired_files,
            "freed_files": self.freed_files,
            "freed_bytes": self.freed_bytes,
            "forgotten_tombstones": self.forgotten_tombstones,
            "postponed_reason": self.postponed_reason,
            "items": self.items,
        }


def collect(
    store: Store, now: datetime, dry_run: bool = False, trust_clock: bool = False
) -> GarbageReport:
    """Frees what is over, as of `now`; says why when it does not."""
    report = GarbageReport(dry_run, now, now)
    report.postponed_reason = _why_not(store, now, trust_clock)
    grace_over = now - timedelta(seconds=store.element.options.expired_grace_seconds)
    if dry_run:
        _list_what_would_go(store, report, grace_over)
    elif report.postponed_reason is None or report.postponed_reason.startswith(_MODE_KEEPS):
        _expire(store, report)
        if report.postponed_reason is None:
            _free(store, report, grace_over)
            _forget(store, report)
    report.finished_at = store.element.options.clock()
    if not dry_run:
        store.garbage.add(
            report.postponed_reason is not None, report.freed_files, report.freed_bytes
        )
    return report


_MODE_KEEPS = "mode"


def _why_not(store: Store, now: datetime, trust_clock: bool) -> str | None:
    element = store.element
    doubt = None if trust_clock else store.clock.doubt(now, element.reading.overview().newest_at)
    if doubt is not None:
        return doubt
    if element.mode.mode not in FREES_BYTES:
        return f"{_MODE_KEEPS} {element.mode.mode} keeps every byte"
    return None


def _expire(store: Store, report: GarbageReport) -> None:
    now = report.started_at
    while rows := store.element.reading.overdue(now, _CHUNK):
        changes = [store.submit(ExpireFile(row.file_id, now)) for row in rows]
        done = sum(1 for change in changes if _happened(change))
        report.expired_files += done
        if done == 0:
            return


def _happened(change: Future[FileAttributes]) -> bool:
    try:
        change.result()
    except (FileGone, NotFound):
        # Deleted, edited or purged since it was listed: nothing left to do here.
        return False
    return True


def _free(store: Store, report: GarbageReport, grace_over: datetime) -> None:
    for rows in _freeable(store, grace_over):
        freed = [(row, store.submit(PurgeFile(row, grace_over, report.started_at))) for row in rows]
        for row, change in freed:
            freed_bytes = change.result()
            if freed_bytes is not None:
                report.add(row, freed_bytes)


def _freeable(store: Store, grace_over: datetime) -> Iterator[list[Row]]:
    after = -(2**63)
    while rows := store.element.reading.freeable(grace_over, after, _CHUNK):
        yield rows
        after = rows[-1].seq


def _list_what_would_go(store: Store, report: GarbageReport, grace_over: datetime) -> None:
    """The same questions as a real run, answered without changing anything."""
    element = store.element
    report.expired_files = element.reading.count_overdue(report.started_at)
    if element.mode.mode not in FREES_BYTES:
        return
    for rows in _freeable(store, grace_over):
        for row in rows:
            report.add(row, _bytes_on_disk(store, row))
    for row in element.reading.overdue(grace_over, ITEMS_LIMIT):
        report.add(row, _bytes_on_disk(store, row))


def _bytes_on_disk(store: Store, row: Row) -> int:
    if row.stored_name is None:
        return 0
    return store.element.disk.medium.size(content_path(row.file_id, row.stored_name)) or 0


def _forget(store: Store, report: GarbageReport) -> None:
    """Tombstones older than the operator wants them kept go, oldest first; the feed then begins behind them."""
    now = report.started_at
    limit = stamp(now - timedelta(seconds=store.element.options.tombstone_keep_seconds))
    while True:
        old = store.element.reading.oldest_tombstones(_CHUNK)
        through = None
        for change, at in old:
            if at >= limit:
                break
            through = change
            report.forgotten_tombstones += 1
        if through is None:
            return
        store.submit(Note(Kind.FORGET, {"through": through}, now)).result()
