"""The redo log while the node runs: append with one sync per batch, begin segments, drop old ones, keep spares.

Reading it back is `wal_scan.py`, its bytes `wal_format.py`. One writer: the committer appends, the checkpoint rolls and
drops, under one lock. An append either stands, or left nothing (`AppendUndone`), or nobody knows (`LogBroken`).
"""

import errno
import secrets
import threading
from bisect import bisect_left
from dataclasses import dataclass, field
from time import perf_counter
from typing import Self

from storage_node.medium import Medium
from storage_node.records import Record
from storage_node.wal_format import (
    NO_DIGEST,
    PAGE_BYTES,
    SEGMENT_BYTES,
    Place,
    SegmentHeader,
    pack_batch,
    span_bytes,
)
from storage_node.wal_scan import SUFFIX, WAL, LogScan, segment_path

SPARE_PREFIX = "spare-"
SPARES_KEPT = 4
SYNC_BOUNDS_SECONDS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    1,
)
_ZEROS = bytes(2**20)


class AppendUndone(Exception):
    """The batch could not be written and nothing of it stays; `error` is why."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class LogBroken(Exception):
    """The medium failed in a way that leaves open what is on it; no more appends until a restart."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass
class SyncTimes:
    """How long the syncs of batches took. One writer; a reader may see a sync that is not in the total yet."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(SYNC_BOUNDS_SECONDS) + 1))
    total_seconds: float = 0.0

    def took(self, seconds: float) -> None:
        """One sync."""
        self.counts[bisect_left(SYNC_BOUNDS_SECONDS, seconds)] += 1
        self.total_seconds += seconds


@dataclass
class _Held:
    """A live segment: its number and the first LSN it may hold."""

    number: int
    first_lsn: int


@dataclass
class Log:
    """The live log. Made by `Log.begin` (new) or `Log.resume` (after a scan)."""

    medium: Medium
    log_id: bytes
    place: Place
    checkpoint_lsn: int
    segment_bytes: int = SEGMENT_BYTES
    _held: list[_Held] = field(default_factory=list)
    _spares: list[str] = field(default_factory=list)
    _fd: int = -1
    _offset: int = -1
    _number: int = 0
    # Once set, nothing more is written until a restart has read what is really there.
    _failure: OSError | None = None
    syncs: SyncTimes = field(default_factory=SyncTimes)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @classmethod
    def begin(cls, medium: Medium, log_id: bytes, segment_bytes: int = SEGMENT_BYTES) -> Self:
        """A new, empty log. `wal/` must exist and hold no segment of this log."""
        log = cls(medium, log_id, Place(1, 1, NO_DIGEST), 0, segment_bytes)
        log._adopt_spares()
        log.roll(0)
        return log

    @classmethod
    def resume(
        cls, medium: Medium, log_id: bytes, found: LogScan, segment_bytes: int = SEGMENT_BYTES
    ) -> Self:
        """Goes on behind what a scan found: cuts the tail, syncs it, and begins a new segment before anything else."""
        newest = found.segments[-1]
        fd = medium.open_change(newest.path)
        try:
            medium.truncate(fd, found.end_offset)
            medium.sync(fd)
        finally:
            medium.close_file(fd)
        held = [_Held(segment.number, segment.header.first.lsn) for segment in found.segments]
        log = cls(medium, log_id, found.end, found.checkpoint_lsn, segment_bytes, held)
        log._number = newest.number
        log._adopt_spares()
        log.roll(found.checkpoint_lsn)
        return log

    @property
    def last_lsn(self) -> int:
        """The LSN of the last record that stands."""
        return self.place.lsn - 1

    @property
    def batch_limit_bytes(self) -> int:
        """How heavy a batch may get; a segment holds several, so that little of it stays empty."""
        return self.segment_bytes // 4

    @property
    def size_bytes(self) -> int:
        """What segments in use take on disk; spares not counted."""
        with self._lock:
            return max(0, len(self._held) - 1) * self.segment_bytes + self._offset

    def append(self, records: list[Record]) -> int:
        """Writes one batch and syncs it; returns the LSN of its first record. `AppendUndone`, `LogBroken`."""
        pieces = [piece for record in records for piece in record.encode()]
        with self._lock:
            if self._failure is not None:
                raise AppendUndone(self._failure)
            if self._offset + span_bytes(sum(map(len, pieces))) > self.segment_bytes:
                self._roll_for_append()
            at = self.place
            raw, own_digest = pack_batch(self.log_id, at, len(records), pieces)
            try:
                self.medium.pwrite(self._fd, raw, self._offset)
            except OSError as error:
                self._undo_append()
                raise AppendUndone(error) from error
            began = perf_counter()
            try:
                self.medium.sync(self._fd)
            except OSError as error:
                # A failed sync may have dropped the dirty pages: a second one would lie.
                self._failure = error
                raise LogBroken(error) from error
            self.syncs.took(perf_counter() - began)
            self._offset += len(raw)
            self.place = at.after(len(records), own_digest)
            return at.lsn

    def _roll_for_append(self) -> None:
        try:
            self.roll(self.checkpoint_lsn)
        except OSError as error:
            raise AppendUndone(error) from error

    def _undo_append(self) -> None:
        """Takes a partly written batch away again; the next append begins a new segment."""
        try:
            self.medium.truncate(self._fd, self._offset)
            self.medium.sync(self._fd)
        except OSError as error:
            self._failure = error
            raise LogBroken(error) from error
        self._offset = self.segment_bytes

    def roll(self, checkpoint_lsn: int) -> None:
        """Begins a new segment whose header says that replay may start after `checkpoint_lsn`."""
        with self._lock:
            if self._failure is not None:
                raise self._failure
            spare = self._spares[-1] if self._spares else self._allocate_spare()
            number = self._number + 1
            header = SegmentHeader(self.log_id, number, self.place, checkpoint_lsn)
            fd = self.medium.open_change(spare)
            try:
                self.medium.pwrite(fd, header.pack(), 0)
                # Header before name: a segment that has its name can always be read.
                self.medium.sync(fd)
                self._name_segment(spare, number)
            except OSError:
                self.medium.close_file(fd)
                raise
            if self._fd >= 0:
                self.medium.close_file(self._fd)
            self._fd, self._offset, self._number = fd, PAGE_BYTES, number
            self.checkpoint_lsn = checkpoint_lsn
            self._held.append(_Held(number, self.place.lsn))

    def _name_segment(self, spare: str, number: int) -> None:
        self.medium.rename(spare, segment_path(number))
        self._spares.remove(spare)
        try:
            self.medium.sync_directory(WAL)
        except OSError as error:
            # The name may be there after a power cut or not. A batch appended to the segment before it would then lie
            # behind the beginning of this one, where no replay looks: so nothing more is appended.
            self._failure = OSError(errno.EIO, f"a segment of the log could not be named ({error})")
            raise self._failure from error

    def drop_through(self, lsn: int) -> int:
        """Takes away segments that hold nothing above `lsn`, oldest first; returns how many."""
        with self._lock:
            dropped = 0
            while len(self._held) > 1 and self._held[1].first_lsn - 1 <= lsn:
                self._retire(segment_path(self._held[0].number))
                del self._held[0]
                dropped += 1
            if dropped:
                self.medium.sync_directory(WAL)
            return dropped

    def _retire(self, path: str) -> None:
        if len(self._spares) < SPARES_KEPT and self.medium.size(path) == self.segment_bytes:
            spare = f"{WAL}/{SPARE_PREFIX}{secrets.token_hex(8)}"
            self.medium.rename(path, spare)
            self._spares.append(spare)
        else:
            self.medium.unlink(path)

    def keep_spare(self) -> None:
        """Sees to it that the next segment is allocated already, so that a full disk does not stop deletions."""
        with self._lock:
            if self._spares:
                return
        # Allocated outside the lock: sixteen megabytes of zeros must not hold up an append.
        spare = self._write_spare()
        with self._lock:
            self._spares.append(spare)

    def give_up_spares(self) -> None:
        """On a full disk one spare is all that may be kept: it is what the next checkpoint needs."""
        with self._lock:
            while len(self._spares) > 1:
                self.medium.unlink(self._spares.pop())

    def _allocate_spare(self) -> str:
        self._spares.append(self._write_spare())
        return self._spares[-1]

    def _write_spare(self) -> str:
        path = f"{WAL}/{SPARE_PREFIX}{secrets.token_hex(8)}"
        fd = self.medium.open_new(path)
        try:
            # Written, not only reserved: the sync of a batch then has no allocation to record.
            for start in range(0, self.segment_bytes, len(_ZEROS)):
                self.medium.write(fd, _ZEROS[: self.segment_bytes - start])
            self.medium.sync(fd)
        except OSError:
            self.medium.unlink(path)
            raise
        finally:
            self.medium.close_file(fd)
        return path

    def _adopt_spares(self) -> None:
        for name in self.medium.names(WAL):
            path = f"{WAL}/{name}"
            if not name.startswith(SPARE_PREFIX):
                continue
            if self.medium.size(path) == self.segment_bytes and len(self._spares) < SPARES_KEPT:
                self._spares.append(path)
            else:
                self.medium.unlink(path)

    def close(self) -> None:
        """Lets go of the current segment; nothing is written."""
        with self._lock:
            if self._fd >= 0:
                self.medium.close_file(self._fd)
                self._fd = -1


def remove_all(medium: Medium) -> None:
    """Empties `wal/`: for a directory whose log is given up knowingly."""
    for name in medium.names(WAL):
        if name.endswith(SUFFIX) or name.startswith(SPARE_PREFIX):
            medium.unlink(f"{WAL}/{name}")
    medium.sync_directory(WAL)
