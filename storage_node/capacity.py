"""Room: what the element holds, what uploads under way have reserved, and whether more fits.

Used is every byte the element holds: files of any status, parts, quarantine. A body that travels in the log counts once,
as the file it becomes. Nothing here touches the disk but the question how much of it is free.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from time import monotonic

from storage_node.errors import StorageFull

# An upload that did not declare its size reserves this much beyond what it has written.
UNDECLARED_STEP_BYTES = 256 * 1024
# No disk loses so much in so short a time that a small file would not fit any more: then it need not be asked for each.
PLENTY_BYTES = 1024 * 2**20
SEEN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Room:
    """Capacity in bytes at one moment."""

    capacity_bytes: int
    used_bytes: int
    reserved_bytes: int
    available_bytes: int


class Capacity:
    """The ledger. `held` follows the files, `reserved` the uploads under way; both change under one lock."""

    def __init__(
        self, capacity_bytes: int, min_free_bytes: int, free_bytes: Callable[[], int]
    ) -> None:
        self._capacity_bytes = capacity_bytes
        self._min_free_bytes = min_free_bytes
        self._free_bytes = free_bytes
        self._lock = threading.Lock()
        self._held_bytes = 0
        self._quarantine_bytes = 0
        self._reserved_bytes = 0
        # What the disk had free at some moment of the monotonic clock.
        self._seen_bytes = 0
        self._seen_at = -inf
        # The part of the reservations that is on the disk already, and so missing from its free room.
        self._written_bytes = 0

    def begin(self, held_bytes: int, quarantine_bytes: int) -> None:
        """What the element holds at start."""
        with self._lock:
            self._held_bytes = held_bytes
            self._quarantine_bytes = quarantine_bytes

    def set_held(self, held_bytes: int) -> None:
        """Files changed: what they hold now."""
        with self._lock:
            self._held_bytes = held_bytes

    def add_quarantine(self, size_bytes: int) -> None:
        """Bytes went into quarantine."""
        with self._lock:
            self._quarantine_bytes += size_bytes

    def room(self) -> Room:
        """The ledger as a reader sees it."""
        with self._lock:
            used = self._held_bytes + self._quarantine_bytes
            return Room(self._capacity_bytes, used, self._reserved_bytes, max(0, self._available()))

    def _available(self) -> int:
        used = self._held_bytes + self._quarantine_bytes
        by_limit = self._capacity_bytes - used - self._reserved_bytes
        still_to_come = self._reserved_bytes - self._written_bytes
        by_disk = self._free_bytes() - self._min_free_bytes - still_to_come
        return min(by_limit, by_disk)

    def _fits(self, size_bytes: int) -> bool:
        """Whether so much is available; the disk is asked only when what it had a moment ago leaves a doubt."""
        used = self._held_bytes + self._quarantine_bytes
        if size_bytes > self._capacity_bytes - used - self._reserved_bytes:
            return False
        still_to_come = self._reserved_bytes - self._written_bytes
        return self._disk_has(size_bytes + self._min_free_bytes + still_to_come)

    def _disk_has(self, size_bytes: int) -> bool:
        """Whether so much is free on the disk: by far, a moment ago, or else now."""
        moment = monotonic()
        if moment - self._seen_at > SEEN_SECONDS:
            self._seen_bytes, self._seen_at = self._free_bytes(), moment
        return size_bytes + PLENTY_BYTES <= self._seen_bytes or size_bytes <= self._free_bytes()

    def reserve(self, size_bytes: int) -> "Reservation":
        """Sets room aside before anything is written; `StorageFull` when there is none."""
        reservation = Reservation(self)
        reservation.grow(size_bytes)
        return reservation

    def _take(self, size_bytes: int) -> None:
        with self._lock:
            if not self._fits(size_bytes):
                available = max(0, self._available())
                raise StorageFull(
                    f"There is no room for {size_bytes} more bytes: {available} are available. "
                    "Delete files and collect garbage, or raise SE_MAX_CAPACITY."
                )
            self._reserved_bytes += size_bytes

    def _settle(self, reserved_bytes: int, written_bytes: int) -> None:
        with self._lock:
            self._reserved_bytes += reserved_bytes
            self._written_bytes += written_bytes


class Reservation:
    """The room one upload has set aside. Not shared between threads that write."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._reserved_bytes = 0
        self._written_bytes = 0

    def grow(self, size_bytes: int) -> None:
        """Sets more aside; `StorageFull` when there is no more."""
        self._capacity._take(size_bytes)
        self._reserved_bytes += size_bytes

    def cover(self, size_bytes: int) -> None:
        """Sees to it that `size_bytes` in all are set aside, growing by steps."""
        if size_bytes > self._reserved_bytes:
            self.grow(size_bytes - self._reserved_bytes + UNDECLARED_STEP_BYTES)

    def wrote(self, size_bytes: int) -> None:
        """That many bytes of it are on the disk now."""
        self._written_bytes += size_bytes
        self._capacity._settle(0, size_bytes)

    def release(self) -> None:
        """Gives all of it back: the file counts by itself now, or there is none. Doing it twice is harmless."""
        self._capacity._settle(-self._reserved_bytes, -self._written_bytes)
        self._reserved_bytes = self._written_bytes = 0
