"""Reconcile: attributes, index and bytes compared, oddities quarantined or made visible. One run at a time.

Run once is the primitive: `begin` claims the run, `finish` does it, `run` is both. Repair of files is never done here.
"""

import sqlite3
from collections.abc import Callable
from datetime import datetime
from typing import Any

from storage_node.errors import NodeError, ReconcileInProgress
from storage_node.findings import Findings, never
from storage_node.pace import Pace, never_stopped
from storage_node.records import Kind
from storage_node.scrub import Scrub
from storage_node.store import Store
from storage_node.survey import Survey
from storage_node.upkeep import Note

Wait = Callable[[float], bool]


class Run:
    """A claimed run. `finish` must follow, from any thread, or no other run can begin."""

    def __init__(self, store: Store, now: datetime, trigger: str) -> None:
        self._store = store
        self._now = now
        self._findings = Findings(trigger, now)

    def report(self) -> dict[str, Any]:
        """The report as of now."""
        return self._findings.report()

    def finish(self, clock: Callable[[], datetime], wait: Wait = never_stopped) -> dict[str, Any]:
        """Does the run; `wait(seconds)` pauses for the rate limit and is true when the run should end early."""
        try:
            error = self._work(wait)
            self._findings.end(clock(), error)
            if error is None or self._store.element.health.failure is None:
                self._keep(clock())
            return self.report()
        finally:
            self._store.reconcile_run = None
            self._store.reconcile_lock.release()

    def _work(self, wait: Wait) -> str | None:
        store = self._store
        pace = Pace(
            store.element.options.scrub_rate_bytes_per_second, store.element.options.monotonic, wait
        )
        try:
            # Only what is in a checkpoint is looked at, so first let there be one.
            store.checkpoint()
            Survey(store, self._findings, self._now, pace).walk()
            Scrub(store, self._findings, self._now, pace).run()
        except (NodeError, OSError, sqlite3.Error) as error:
            return str(error)
        return "stopped before its end" if pace.is_stopped else None

    def _keep(self, now: datetime) -> None:
        change = self._store.submit(Note(Kind.REPORT, {"report": self.report()}, now))
        error = change.exception()
        if error is not None and not isinstance(error, NodeError):
            raise error


def begin(store: Store, now: datetime, trigger: str) -> Run:
    """Claims a run; `ReconcileInProgress` when there is one."""
    if not store.reconcile_lock.acquire(blocking=False):
        raise ReconcileInProgress("Reconcile was not started: one is running. Ask for its report.")
    run_ = Run(store, now, trigger)
    store.reconcile_run = run_
    return run_


def run(store: Store, now: datetime, trigger: str, wait: Wait = never_stopped) -> dict[str, Any]:
    """One whole run; returns its report."""
    return begin(store, now, trigger).finish(store.element.options.clock, wait)


def last_report(store: Store) -> dict[str, Any]:
    """The run under way, else the last one, else a report that says never."""
    under_way = store.reconcile_run
    if under_way is not None:
        return under_way.report()
    return store.element.reading.overview().report or never()
