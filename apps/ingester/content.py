"""The bytes of one upload: live from the client, or kept here because they had to wait.

Whoever sends them on asks for `pieces`. Of live bytes the last piece comes only after the client's
body is complete and every size, digest and late field has been checked, so a receiver that needs
all of them can never hold a file the client was not told is good. Knows no element, no record.
"""

import hashlib
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Protocol

from django.utils.translation import gettext as _

from apps.ingester.body import PIECE_BYTES
from apps.ingester.errors import ChecksumMismatch, FileTooLarge, NoStorageAvailable

# Files up to this size are read whole before anything else happens: every order of form fields is
# then equally good, and another element can be tried with the same bytes.
MEMORY_BYTES = PIECE_BYTES
# What an upload of unknown size reserves on its element.
UNKNOWN_SIZE_BYTES = 64 * 1024 * 1024


class Content(Protocol):
    """The bytes of one file. `sha256` is empty and `size_bytes` None until they are known."""

    replayable: bool
    sha256: str
    size_bytes: int | None
    estimate_bytes: int

    def pieces(self) -> Iterator[bytes]: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Checks:
    """What must hold of the bytes. `late` is asked for more checksums once all bytes are in."""

    max_bytes: int
    checksums: frozenset[str] = frozenset()
    late: Callable[[str], Iterable[str]] = field(default=lambda _sha256: ())

    def verify(self, sha256: str) -> None:
        """Raise unless every checksum the client announced is that of the bytes."""
        wrong = [sum_ for sum_ in (*self.checksums, *self.late(sha256)) if sum_ != sha256]
        if wrong:
            raise ChecksumMismatch(
                _("The bytes that arrived have sha256 %(got)s, not %(want)s. Nothing was stored.")
                % {"got": sha256, "want": wrong[0]}
            )


class _Meter:
    """Counts and hashes, and stops what grows past the limit."""

    def __init__(self, checks: Checks) -> None:
        self.checks = checks
        self.size_bytes = 0
        self._hash = hashlib.sha256()

    def take(self, piece: bytes) -> bytes:
        self.size_bytes += len(piece)
        if self.size_bytes > self.checks.max_bytes:
            raise too_large(self.checks.max_bytes)
        self._hash.update(piece)
        return piece

    def finish(self) -> str:
        sha256 = self._hash.hexdigest()
        self.checks.verify(sha256)
        return sha256


class LiveContent:
    """Bytes that pass through once. `pieces` raises where the client's body turns out wrong."""

    replayable = False

    def __init__(
        self, pieces: Iterable[bytes], checks: Checks, size_bytes: int | None, estimate_bytes: int
    ) -> None:
        self.sha256 = ""
        self.size_bytes = size_bytes
        self.estimate_bytes = estimate_bytes
        self._pieces = pieces
        self._checks = checks

    def pieces(self) -> Iterator[bytes]:
        meter = _Meter(self._checks)
        withheld = b""
        for piece in self._pieces:
            meter.take(piece)
            if withheld:
                yield withheld
            withheld = piece
        self.sha256 = meter.finish()
        self.size_bytes = meter.size_bytes
        yield withheld

    def close(self) -> None:
        """Nothing is kept."""


class KeptContent:
    """Bytes that are all here and verified, in memory or in a temporary file."""

    replayable = True

    def __init__(self, file: IO[bytes] | None, memory: bytes, size_bytes: int, sha256: str) -> None:
        self.sha256 = sha256
        self.size_bytes: int | None = size_bytes
        self.estimate_bytes = size_bytes
        self._file = file
        self._memory = memory

    def pieces(self) -> Iterator[bytes]:
        if self._file is None:
            if self._memory:
                yield self._memory
            return
        self._file.seek(0)
        while piece := self._file.read(PIECE_BYTES):
            yield piece

    def close(self) -> None:
        """Free the temporary file."""
        if self._file is not None:
            self._file.close()


@dataclass(slots=True)
class Start:
    """The first bytes of a file; `complete` when there are no more."""

    pieces: list[bytes]
    complete: bool


def gather(pieces: Iterator[bytes]) -> Start:
    """Read up to `MEMORY_BYTES` and a piece, to know whether the file is a small one."""
    found: list[bytes] = []
    size_bytes = 0
    for piece in pieces:
        found.append(piece)
        size_bytes += len(piece)
        if size_bytes > MEMORY_BYTES:
            return Start(found, complete=False)
    return Start(found, complete=True)


def keep_in_memory(start: Start, checks: Checks) -> KeptContent:
    """The whole of a small file, verified."""
    meter = _Meter(checks)
    memory = b"".join(meter.take(piece) for piece in start.pieces)
    return KeptContent(None, memory, meter.size_bytes, meter.finish())


def keep_on_disk(start: Start, rest: Iterator[bytes], checks: Checks) -> KeptContent:
    """The whole of a file that has to wait for what follows it in the form, verified."""
    meter = _Meter(checks)
    # Unlinked from the start: nothing stays behind, whatever happens to this process.
    file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the content, which closes it
    try:
        for piece in itertools.chain(start.pieces, rest):
            meter.take(piece)
            _write(file, piece)
        return KeptContent(file, b"", meter.size_bytes, meter.finish())
    except BaseException:
        file.close()
        raise


def too_large(max_bytes: int) -> FileTooLarge:
    return FileTooLarge(
        _("The file is larger than %(limit)d bytes, the most one file may have.")
        % {"limit": max_bytes}
    )


def _write(file: IO[bytes], piece: bytes) -> None:
    try:
        file.write(piece)
    except OSError as failure:
        raise NoStorageAvailable(
            _("The server has no room to hold the form. Put its fields before the file."),
            headers={"Retry-After": "60"},
        ) from failure
