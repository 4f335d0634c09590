"""The parts of one running element, handed to whoever changes it. Only a bundle: what the parts do is their own."""

from dataclasses import dataclass

from storage_node.capacity import Capacity
from storage_node.directory import StoreOptions
from storage_node.disk import Disk
from storage_node.headroom import Headroom
from storage_node.health import Health
from storage_node.index import Index
from storage_node.index_reading import Reading
from storage_node.modes import ModeState
from storage_node.wal import Log


@dataclass
class Element:
    """`mode` and `index` are changed by the committer's thread alone."""

    options: StoreOptions
    disk: Disk
    log: Log
    index: Index
    reading: Reading
    capacity: Capacity
    health: Health
    headroom: Headroom
    mode: ModeState
