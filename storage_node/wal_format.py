"""The bytes of the redo log: segment headers and batches, packed and checked.

`docs/on-disk-format.md` is the contract. No I/O and no idea of what records mean: `wal.py` writes these, `wal_scan.py`
reads them.
"""

import struct
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

PAGE_BYTES = 4096
SEGMENT_BYTES = 16 * 2**20
DIGEST_BYTES = 16
NO_DIGEST = bytes(DIGEST_BYTES)

_SEGMENT_MAGIC = b"ARTSWAL1"
_SEGMENT = struct.Struct("<8s16sQQQQ16s")
_BATCH_MAGIC = b"ARTB"
_BATCH = struct.Struct("<4sI16sQQQ16s")
_BATCH_HEAD_BYTES = _BATCH.size + DIGEST_BYTES


def digest(*pieces: bytes | memoryview) -> bytes:
    """The checksum of the format: sixteen bytes of SHA-256."""
    sum_ = sha256()
    for piece in pieces:
        sum_.update(piece)
    return sum_.digest()[:DIGEST_BYTES]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next batch goes in the order of the log, whatever segment it lands in."""

    lsn: int
    batch: int
    previous: bytes

    def after(self, records: int, own_digest: bytes) -> "Place":
        """The place behind a batch of `records` that began here."""
        return Place(self.lsn + records, self.batch + 1, own_digest)


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The first page of a segment."""

    log_id: bytes
    number: int
    first: Place
    checkpoint_lsn: int

    def pack(self) -> bytes:
        """The whole page."""
        first = self.first
        fields = (
            self.log_id,
            self.number,
            first.lsn,
            first.batch,
            self.checkpoint_lsn,
            first.previous,
        )
        raw = _SEGMENT.pack(_SEGMENT_MAGIC, *fields)
        return (raw + digest(raw)).ljust(PAGE_BYTES, b"\0")

    @classmethod
    def unpack(cls, page: bytes) -> Self | None:
        """The header in a page, None when it is not a whole one."""
        size = _SEGMENT.size
        if (
            len(page) < size + DIGEST_BYTES
            or digest(page[:size]) != page[size : size + DIGEST_BYTES]
        ):
            return None
        magic, log_id, number, lsn, batch, checkpoint_lsn, previous = _SEGMENT.unpack_from(page)
        if magic != _SEGMENT_MAGIC:
            return None
        return cls(log_id, number, Place(lsn, batch, previous), checkpoint_lsn)


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """The beginning of a batch, its own digest included."""

    log_id: bytes
    at: Place
    records: int
    payload_bytes: int
    own_digest: bytes

    @property
    def span_bytes(self) -> int:
        """What the batch takes in the segment, padding included."""
        return span_bytes(self.payload_bytes)

    @classmethod
    def unpack(cls, raw: memoryview) -> Self | None:
        """The header at the beginning of `raw`, None when there is nothing like one. Says nothing of the payload."""
        if len(raw) < _BATCH_HEAD_BYTES or raw[:4] != _BATCH_MAGIC:
            return None
        _, records, log_id, batch, lsn, payload_bytes, previous = _BATCH.unpack_from(raw)
        own = bytes(raw[_BATCH.size : _BATCH_HEAD_BYTES])
        return cls(log_id, Place(lsn, batch, previous), records, payload_bytes, own)

    def payload(self, raw: memoryview) -> memoryview | None:
        """The payload in `raw`, which begins with this header; None when it does not agree with the digest."""
        end = _BATCH_HEAD_BYTES + self.payload_bytes
        if self.payload_bytes > len(raw) or end > len(raw):
            return None
        body = raw[_BATCH_HEAD_BYTES:end]
        return body if digest(raw[: _BATCH.size], body) == self.own_digest else None


def span_bytes(payload_bytes: int) -> int:
    """What a batch with such a payload takes in a segment."""
    return -(-(_BATCH_HEAD_BYTES + payload_bytes) // PAGE_BYTES) * PAGE_BYTES


def pack_batch(log_id: bytes, at: Place, records: int, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """(the padded bytes of a batch, its digest)."""
    payload = b"".join(pieces)
    head = _BATCH.pack(_BATCH_MAGIC, records, log_id, at.batch, at.lsn, len(payload), at.previous)
    own = digest(head, payload)
    return b"".join((head, own, payload)).ljust(span_bytes(len(payload)), b"\0"), own
