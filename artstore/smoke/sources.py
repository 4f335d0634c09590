"""Files to upload: the operator's own, or noise made while it is read. Memory stays constant."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

BLOCK_BYTES = 1024 * 1024
RANGE_BYTES = 1000


class Source(Protocol):
    """A file that can be read any number of times, a block at a time."""

    @property
    def name(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    def blocks(self) -> Iterator[bytes]: ...


@dataclass(frozen=True)
class GivenFile:
    """A file the operator named."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    def blocks(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block


@dataclass(frozen=True)
class GeneratedFile:
    """`size_bytes` of noise that depends on `seed` alone."""

    size_bytes: int
    seed: str

    @property
    def name(self) -> str:
        # Letters of two alphabets: a deployment that garbles names must not pass.
        return f"smoke проверка {self.seed} {self.size_bytes}.bin"

    def blocks(self) -> Iterator[bytes]:
        """A counter in front of one random block: blocks differ, at the price of one copy."""
        noise = hashlib.shake_256(self.seed.encode()).digest(BLOCK_BYTES)
        left_bytes = self.size_bytes
        counter = 0
        while left_bytes > 0:
            counter += 1
            block = (counter.to_bytes(16, "big") + noise)[: min(BLOCK_BYTES, left_bytes)]
            left_bytes -= len(block)
            yield block


@dataclass(frozen=True)
class Fingerprint:
    """What a file must come back as: its sha256, and the bytes of one range in its middle."""

    sha256: bytes
    first_byte: int
    range_bytes: bytes

    @property
    def checksum(self) -> str:
        return self.sha256.hex()


def fingerprint(source: Source) -> Fingerprint:
    """Reads the source once."""
    digest = hashlib.sha256()
    first = source.size_bytes // 2
    wanted = bytearray()
    position = 0
    for block in source.blocks():
        digest.update(block)
        start = max(first - position, 0)
        if start < len(block) and len(wanted) < RANGE_BYTES:
            wanted += block[start : start + RANGE_BYTES - len(wanted)]
        position += len(block)
    return Fingerprint(digest.digest(), first, bytes(wanted))
