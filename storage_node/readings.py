"""The engine's numbers as Prometheus gauges, read when they are asked for."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from storage_node.call import Node


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
        yield GaugeMetricFamily("artstore_node_log_bytes", "Size of the redo log.", info.log_bytes)
        yield GaugeMetricFamily(
            "artstore_node_writable", "1 when changes are taken.", float(not info.status_reasons)
        )
        yield GaugeMetricFamily(
            "artstore_node_clock_trusted",
            "1 when bytes may be freed on the word of the clock.",
            float(info.clock_trusted),
        )
