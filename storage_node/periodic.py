"""The loop around what is done once per interval: garbage collection, reconcile, a look whether the directory is still
there, and whether there is memory to give back.

Each step is run once by its own module; here is only when. The one loop of the engine that must survive anything.
"""

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from storage_node import garbage, memory, reconcile
from storage_node.errors import ReconcileInProgress
from storage_node.store import Store
from storage_node.survival import Surviving

_LOOK_SECONDS = 5.0
log = logging.getLogger(__name__)


def run(store: Store, stop: threading.Event, now: Callable[[], datetime]) -> None:
    """Blocks until `stop` is set."""
    options = store.element.options
    monotonic = options.monotonic
    garbage_at = monotonic() + options.gc_interval_seconds
    reconcile_at = monotonic() + options.reconcile_interval_seconds
    look_seconds = min(
        _LOOK_SECONDS, options.gc_interval_seconds, options.reconcile_interval_seconds
    )
    returning = memory.Returning()
    while not stop.wait(look_seconds):
        returning.look()
        store.check_directory()
        if monotonic() >= garbage_at:
            garbage_at = monotonic() + options.gc_interval_seconds
            _survive("collecting garbage", lambda: _collect(store, now))
        if monotonic() >= reconcile_at:
            reconcile_at = monotonic() + options.reconcile_interval_seconds
            _survive("reconcile", lambda: _reconcile(store, now, stop))


def _survive(what: str, step: Callable[[], None]) -> None:
    with Surviving(log, f"{what} failed", {"event": "periodic_failed"}):
        step()


def _collect(store: Store, now: Callable[[], datetime]) -> None:
    if store.element.health.failure is not None:
        return
    report = garbage.collect(store, now())
    facts = {name: value for name, value in report.to_wire().items() if name != "items"}
    log.info("garbage collected", extra={"event": "garbage", **facts})


def _reconcile(store: Store, now: Callable[[], datetime], stop: threading.Event) -> None:
    if store.element.health.failure is not None:
        return
    try:
        report = reconcile.run(store, now(), "interval", stop.wait)
    except ReconcileInProgress:
        return
    facts = {name: value for name, value in report.items() if name != "items"}
    log.info("reconciled", extra={"event": "reconcile", **facts})
