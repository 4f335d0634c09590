"""The engine's numbers as Prometheus gauges, read when they are asked for."""

from collections.abc import Iterator

from storage_node.call import Node
from storage_node.metrics import Reading


def readings(node: Node) -> Iterator[Reading]:
    """Gauges of the moment; of a node whose index is being rebuilt only that it is not ready."""
    store = node.opened
    yield Reading("ready", "1 when files can be served.", float(store is not None))
    age = node.check.ring.age_seconds()
    if age is not None:
        yield Reading(
            "keys_age_seconds", "Since the signing keys were last seen at their source.", age
        )
    if store is None:
        return
    info = store.info(node.clock())
    yield Reading("writable", "1 when changes are taken.", float(not info.status_reasons))
    for status, counted in info.counts.items():
        labels = (("status", status),)
        yield Reading("files", "Files by status.", counted["files"], labels)
        yield Reading("file_bytes", "Bytes of files by status.", counted["bytes"], labels)
    for name, size_bytes in info.capacity.items():
        yield Reading(name, "Room of the element, see docs/metrics.md.", size_bytes)
