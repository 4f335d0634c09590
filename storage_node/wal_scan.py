"""Reading the redo log at start: which segments count, where the log ends, and whether an unreadable place is its end.

Reads only. Cutting the tail and beginning the next segment is `wal.py`; what the records do is `redo.py` and `index.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from storage_node.errors import RefusedToStart
from storage_node.medium import Medium
from storage_node.records import Record, decode_all
from storage_node.wal_format import PAGE_BYTES, BatchHeader, Place, SegmentHeader

WAL = "wal"
SUFFIX = ".seg"


@dataclass(frozen=True, slots=True)
class Segment:
    """One readable segment: its number and what its header says."""

    number: int
    header: SegmentHeader

    @property
    def path(self) -> str:
        """Where it lies."""
        return segment_path(self.number)


@dataclass(frozen=True, slots=True)
class LogScan:
    """The log as found: all segments oldest first, the index of the first that replay needs, and the end."""

    segments: list[Segment]
    first_needed: int
    checkpoint_lsn: int
    end: Place
    end_offset: int

    @property
    def last_lsn(self) -> int:
        """The LSN of the last whole record."""
        return self.end.lsn - 1

    @property
    def oldest_lsn(self) -> int:
        """The first LSN that can still be read."""
        return self.segments[self.first_needed].header.first.lsn


class LogMissing(RefusedToStart):
    """There are files and no log: a restored copy, or a disk that lost something."""


class LogDamaged(RefusedToStart):
    """Something acknowledged can not be read any more."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The log is damaged: {what}. Changes that were acknowledged may be unreadable. Copy the whole directory away, "
            "check the disk, then either restore a backup or run `python -m storage_node accept-restored`, which takes "
            "the files as they are, drops the log and starts a new epoch."
        )


def segment_path(number: int) -> str:
    """The path of a segment by its number."""
    return f"{WAL}/{number:020d}{SUFFIX}"


def scan(medium: Medium, log_id: bytes) -> LogScan:
    """Finds what must be replayed and where the log ends; `LogMissing`, `LogDamaged` when that can not be told."""
    segments = _segments(medium, log_id)
    newest = segments[-1]
    checkpoint_lsn = newest.header.checkpoint_lsn
    first = _first_needed(segments, checkpoint_lsn)
    for segment, follower in zip(segments[first:-1], segments[first + 1 :], strict=True):
        end, _ = _end_of(medium, segment)
        if end != follower.header.first:
            raise LogDamaged(f"{segment.path} is not readable to its end")
    end, end_offset = _end_of(medium, newest)
    _refuse_later_batches(medium, newest, end, end_offset)
    return LogScan(segments, first, checkpoint_lsn, end, end_offset)


def replayed(medium: Medium, found: LogScan, from_lsn: int) -> Iterator[tuple[int, Record]]:
    """(LSN, record) of everything readable from `from_lsn` on, in order; one batch in memory at a time."""
    for segment in found.segments[found.first_needed :]:
        for at, header, payload in _batches(medium, segment):
            if at.lsn + header.records <= from_lsn:
                continue
            for offset, record in enumerate(_records(segment, header, payload)):
                if at.lsn + offset >= from_lsn:
                    yield at.lsn + offset, record


def _records(segment: Segment, header: BatchHeader, payload: memoryview) -> list[Record]:
    try:
        return decode_all(payload, header.records)
    except (ValueError, KeyError) as error:
        raise LogDamaged(
            f"batch {header.at.batch} in {segment.path} says nothing readable ({error})"
        ) from error


def _segments(medium: Medium, log_id: bytes) -> list[Segment]:
    found = []
    for name in medium.names(WAL):
        digits = name.removesuffix(SUFFIX)
        if not name.endswith(SUFFIX) or not digits.isdigit():
            continue
        header = SegmentHeader.unpack(_first_page(medium, f"{WAL}/{name}"))
        if header is not None and header.log_id != log_id:
            continue
        if header is None or header.number != int(digits):
            # A header is synced before its segment gets its name, so no power cut explains this.
            raise LogDamaged(f"{WAL}/{name} has no readable header")
        found.append(Segment(header.number, header))
    if not found:
        raise LogMissing(
            "The directory has files and no log. If it is a restored copy, run `python -m storage_node accept-restored`; "
            "if not, find out where wal/ went before starting."
        )
    return found


def _first_page(medium: Medium, path: str) -> bytes:
    fd = medium.open_read(path)
    try:
        return medium.pread(fd, PAGE_BYTES, 0)
    finally:
        medium.close_file(fd)


def _first_needed(segments: list[Segment], checkpoint_lsn: int) -> int:
    """The index of the segment that holds the first record after the checkpoint; everything after it must be whole."""
    at = len(segments) - 1
    while segments[at].header.first.lsn > checkpoint_lsn + 1:
        if at == 0 or segments[at - 1].number != segments[at].number - 1:
            raise LogDamaged(f"the segment before {segments[at].path} is missing")
        at -= 1
    return at


def _batches(medium: Medium, segment: Segment) -> Iterator[tuple[Place, BatchHeader, memoryview]]:
    """(place, header, payload) of the valid, chained batches of a segment."""
    raw = memoryview(medium.read(segment.path))
    at, offset = segment.header.first, PAGE_BYTES
    while (found := _batch_at(raw, offset, segment.header.log_id)) is not None:
        header, payload = found
        if header.at != at:
            return
        yield at, header, payload
        at = at.after(header.records, header.own_digest)
        offset += header.span_bytes


def _batch_at(raw: memoryview, offset: int, log_id: bytes) -> tuple[BatchHeader, memoryview] | None:
    header = BatchHeader.unpack(raw[offset:])
    if header is None or header.log_id != log_id or header.records == 0:
        return None
    payload = header.payload(raw[offset:])
    return None if payload is None else (header, payload)


def _end_of(medium: Medium, segment: Segment) -> tuple[Place, int]:
    end, offset = segment.header.first, PAGE_BYTES
    for at, header, _ in _batches(medium, segment):
        end = at.after(header.records, header.own_digest)
        offset += header.span_bytes
    return end, offset


def _refuse_later_batches(medium: Medium, newest: Segment, end: Place, end_offset: int) -> None:
    """A valid batch behind the end was written after the missing one was acknowledged: that is damage, not an end."""
    raw = memoryview(medium.read(newest.path))
    for offset in range(end_offset, len(raw), PAGE_BYTES):
        found = _batch_at(raw, offset, newest.header.log_id)
        if found is not None and found[0].at.batch >= end.batch:
            raise LogDamaged(
                f"{newest.path} is unreadable at byte {end_offset} and goes on at {offset}"
            )
