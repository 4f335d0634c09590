"""The engine's numbers as Prometheus gauges, read when they are asked for."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from storage_node import reconcile
from storage_node.call import Node
from storage_node.store import Store
from storage_node.wal import SYNC_BOUNDS_SECONDS


class Readings(Collector):
    """Gauges of the moment; of a node whose index is being rebuilt only that it is not ready."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        """Called by the registry for each exposition."""
        store, age_seconds = self._node.opened, self._node.check.ring.age_seconds()
        yield GaugeMetricFamily(
            "artstore_node_ready", "1 when files can be served.", float(store is not None)
        )
        if age_seconds is not None:
            yield GaugeMetricFamily(
                "artstore_node_keys_age_seconds",
                "Since the signing keys were last seen at their source.",
                age_seconds,
            )
        if store is not None:
            yield from self._of_the_store()
            yield from _of_the_log(store)
            yield from _of_garbage(store)
            yield from _of_the_watch(store, self._node.clock().timestamp())

    def _of_the_store(self) -> Iterator[Metric]:
        info = self._node.store.info(self._node.clock())
        files = GaugeMetricFamily("artstore_node_files", "Files by status.", labels=["status"])
        size = GaugeMetricFamily(
            "artstore_node_file_bytes", "Bytes of files by status.", labels=["status"]
        )
        for status, counted in info.counts.items():
            files.add_metric([status], counted["files"])
            size.add_metric([status], counted["bytes"])
        yield files
        yield size
        yield GaugeMetricFamily(
            "artstore_node_capacity_bytes",
            "What the element may hold.",
            info.room.capacity_bytes,
        )
        yield GaugeMetricFamily(
            "artstore_node_used_bytes", "What the element holds.", info.room.used_bytes
        )
        yield GaugeMetricFamily(
            "artstore_node_reserved_bytes",
            "Room set aside for uploads under way.",
            info.room.reserved_bytes,
        )
        yield GaugeMetricFamily(
            "artstore_node_available_bytes", "Room for more.", info.room.available_bytes
        )
        yield GaugeMetricFamily(
            "artstore_node_writable", "1 when changes are taken.", float(not info.status_reasons)
        )
        yield GaugeMetricFamily(
            "artstore_node_clock_trusted",
            "1 when bytes may be freed on the word of the clock.",
            float(info.clock_trusted),
        )


def _of_the_log(store: Store) -> Iterator[Metric]:
    log = store.element.log
    yield GaugeMetricFamily("artstore_node_log_bytes", "Size of the redo log.", log.size_bytes)
    bounds = [*(str(float(bound)) for bound in SYNC_BOUNDS_SECONDS), "+Inf"]
    yield HistogramMetricFamily(
        "artstore_node_log_sync_seconds",
        "Time of each sync of the redo log.",
        buckets=list(zip(bounds, accumulate(log.syncs.counts), strict=True)),
        sum_value=log.syncs.total_seconds,
    )


def _of_garbage(store: Store) -> Iterator[Metric]:
    done = store.garbage
    runs = CounterMetricFamily(
        "artstore_node_garbage_runs_total", "Garbage collections.", labels=["outcome"]
    )
    for outcome, count in done.runs.items():
        runs.add_metric([outcome], count)
    yield runs
    yield CounterMetricFamily(
        "artstore_node_garbage_freed_files_total", "Files freed.", done.freed_files
    )
    yield CounterMetricFamily(
        "artstore_node_garbage_freed_bytes_total", "Bytes freed.", done.freed_bytes
    )


def _of_the_watch(store: Store, now_seconds: float) -> Iterator[Metric]:
    report = reconcile.last_report(store)
    findings = GaugeMetricFamily(
        "artstore_node_reconcile_findings", "Findings of the last reconcile.", labels=["finding"]
    )
    for name, count in report["findings"].items():
        findings.add_metric([name], count)
    yield findings
    since = store.element.reading.unverified_since()
    yield GaugeMetricFamily(
        "artstore_node_scrub_age_seconds",
        "Since the file longest unread was verified or uploaded.",
        0.0 if since is None else max(0.0, now_seconds - since),
    )
