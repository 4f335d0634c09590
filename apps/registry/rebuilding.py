"""Syncs of several elements at once in this process: for the shell, and to rebuild a lost registry.

The records are an index over the elements: with the elements still registered (or registered
again), a full sync of each brings every record back.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from apps.registry import sync
from apps.registry.models import StorageElement, SyncStatus, SyncTrigger
from apps.registry.sync import Request
from artstore import database
from artstore.errors import ArtStoreError

# Two cores' worth of database work; more elements at once only wait for each other.
PARALLEL_ELEMENTS = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """One element's sync in one sentence."""

    sentence: str
    succeeded: bool
    files: int


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """All elements' syncs, and how fast it went."""

    outcomes: tuple[Outcome, ...]
    seconds: float

    @property
    def files(self) -> int:
        return sum(outcome.files for outcome in self.outcomes)

    @property
    def files_per_second(self) -> float:
        return self.files / self.seconds if self.seconds else 0.0

    @property
    def succeeded(self) -> bool:
        return all(outcome.succeeded for outcome in self.outcomes)


def rebuild() -> RebuildReport:
    """A full sync of every element."""
    started = time.monotonic()
    request = Request(SyncTrigger.RECOVERY, full=True, requested_by="shell")
    outcomes = sync_all(list(StorageElement.objects.order_by("name", "id")), request)
    return RebuildReport(tuple(outcomes), time.monotonic() - started)


def sync_all(elements: Sequence[StorageElement], request: Request) -> list[Outcome]:
    """Sync each element, several at a time; one that fails stops no other."""
    with ThreadPoolExecutor(PARALLEL_ELEMENTS, "sync") as pool:
        return list(pool.map(lambda element: _sync_in_thread(element, request), elements))


def _sync_in_thread(element: StorageElement, request: Request) -> Outcome:
    try:
        return _sync(element, request)
    except ArtStoreError as failure:
        return Outcome(f"{element.storage_id}: {failure}", succeeded=False, files=0)
    finally:
        database.release()


def _sync(element: StorageElement, request: Request) -> Outcome:
    report = sync.run(sync.claim(element, request).pk)
    if report is None:
        text = f"{element.storage_id}: another worker took the run"
        return Outcome(text, succeeded=False, files=0)
    row = report.run
    counts = (
        f"{row.files_seen} seen, {row.files_added} added, {row.files_updated} updated, "
        f"{row.files_unchanged} unchanged, {row.files_marked_deleted} deleted, "
        f"{row.files_rejected} rejected"
    )
    text = f"{element.storage_id}: {row.kind} sync {row.status}: {counts} ({report.seconds:.1f} s)"
    if row.error:
        text = f"{text}: {row.error}"
    return Outcome(text, row.status == SyncStatus.SUCCEEDED, row.files_seen)
