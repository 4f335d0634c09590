"""The registry's Prometheus metrics. Gauges about elements are read from the rows at scrape time."""

from collections.abc import Iterator

from django.db import DatabaseError
from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from apps.registry.models import ElementStatus, StorageElement, WorkerHeartbeat

PROBES = Counter("artstore_probes_total", "Probes of storage elements")
SYNC_RUNS = Counter("artstore_sync_runs_total", "Sync runs that ended", ["kind", "status"])
SYNC_FILES = Counter("artstore_sync_files_total", "What syncs did with files", ["outcome"])
SYNC_SECONDS = Histogram(
    "artstore_sync_duration_seconds",
    "Time of a sync run",
    ["kind"],
    buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200),
)
LAZY_CLEANUPS = Counter(
    "artstore_lazy_cleanups_total",
    "Records corrected because a download found no file",
    ["outcome"],
)


class ElementCollector(Collector):
    """Every element's figures as the rows have them, whichever process is scraped."""

    def describe(self) -> Iterator[Metric]:
        """Nothing: asking the database while the process starts would be too early."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        capacity = GaugeMetricFamily(
            "artstore_element_bytes", "Bytes of a storage element", labels=["element", "kind"]
        )
        files = GaugeMetricFamily(
            "artstore_element_files", "Active files the element counts", labels=["element"]
        )
        status = GaugeMetricFamily(
            "artstore_element_status", "1 for the status it has", labels=["element", "status"]
        )
        synced = GaugeMetricFamily(
            "artstore_element_last_sync_timestamp_seconds",
            "When its last successful sync ended",
            labels=["element"],
        )
        for row in _elements():
            for kind in ("capacity", "used", "available"):
                capacity.add_metric([row.storage_id, kind], getattr(row, f"{kind}_bytes"))
            files.add_metric([row.storage_id], row.file_count)
            for value in ElementStatus.values:
                status.add_metric([row.storage_id, value], float(row.status == value))
            if row.last_file_sync_at is not None:
                synced.add_metric([row.storage_id], row.last_file_sync_at.timestamp())
        yield from (capacity, files, status, synced, _workers())


def _elements() -> list[StorageElement]:
    try:
        return list(StorageElement.objects.all())
    except DatabaseError:
        return []  # the metrics that need no database are wanted all the more


def _workers() -> GaugeMetricFamily:
    seen = GaugeMetricFamily(
        "artstore_worker_last_seen_timestamp_seconds",
        "Last sign of life of a background worker",
        labels=["worker"],
    )
    try:
        for worker in WorkerHeartbeat.objects.all():
            seen.add_metric([worker.name], worker.seen_at.timestamp())
    except DatabaseError:
        return seen
    return seen


def register() -> None:
    """Called once, when the app is ready."""
    REGISTRY.register(ElementCollector())
