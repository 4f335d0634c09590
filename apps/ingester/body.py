"""The client's body as it arrives: pieces as they come, silence limited, a cut told from an end.

Knows the WSGI input and the gunicorn readers under it. Knows no form, no file, no element.

gunicorn's own `wsgi.input.read(n)` waits until `n` bytes (at least 1 KiB) are there, so a client
sending one byte a second would look dead to the node behind us, and it takes an early end of the
body for a complete one. Its readers can do better when asked for whatever has come: that is what
`read_piece` does. Under another server the plain `read` serves.
"""

import contextlib
import hashlib
import socket
import struct
import time
from collections.abc import Callable
from typing import IO, Any

from django.utils.translation import gettext as _
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.errors import (
    ChunkMissingTerminator,
    InvalidChunkExtension,
    InvalidChunkSize,
    InvalidHeader,
    LimitRequestHeaders,
    NoMoreData,
)

from apps.ingester.errors import IncompleteBody

PIECE_BYTES = 1024 * 1024
_PLAIN_READ_BYTES = 64 * 1024
_BROKEN_CHUNKS = (
    ChunkMissingTerminator,
    InvalidChunkExtension,
    InvalidChunkSize,
    InvalidHeader,
    LimitRequestHeaders,
)
# How long an answer given before the body was read waits for the client to read it: closing at
# once would reset the connection and throw the answer away.
LINGER_SECONDS = 10.0
LINGER_SILENCE_SECONDS = 2.0


class ClientBody:
    """A request body, read once, piece by piece."""

    def __init__(self, read_some: Callable[[], bytes], declared_bytes: int | None) -> None:
        self._read_some = read_some
        self.declared_bytes = declared_bytes
        self.received_bytes = 0
        # Set by whoever needs the digest of the body as a whole.
        self.hash: hashlib._Hash | None = None
        self.finished = declared_bytes == 0
        self.broken = False

    def read_piece(self) -> bytes:
        """Whatever has arrived, at most about 1 MiB; empty only at the proper end.

        Raises `IncompleteBody` when the client stopped, fell silent or framed the body wrongly.
        """
        if self.finished:
            return b""
        try:
            piece = self._read_some()
        except (OSError, NoMoreData, *_BROKEN_CHUNKS) as failure:
            self.broken = True
            raise IncompleteBody(self._why(failure)) from failure
        if not piece:
            self._end()
        self.received_bytes += len(piece)
        if self.hash is not None:
            self.hash.update(piece)
        if self.received_bytes == self.declared_bytes:
            self.finished = True
        return piece

    def drain(self, seconds: float = LINGER_SECONDS) -> None:
        """Read and forget the rest, for `seconds` at most."""
        deadline = time.monotonic() + seconds
        with contextlib.suppress(IncompleteBody):
            while not self.finished and time.monotonic() < deadline:
                self.read_piece()

    def _end(self) -> None:
        if self.declared_bytes is not None and self.received_bytes < self.declared_bytes:
            self.broken = True
            raise IncompleteBody(
                _("The upload ended after %(came)d of %(declared)d bytes. Nothing was stored.")
                % {"came": self.received_bytes, "declared": self.declared_bytes}
            )
        self.finished = True

    def _why(self, failure: Exception) -> str:
        if isinstance(failure, BlockingIOError | TimeoutError):
            return _("No byte of the upload arrived for too long. Nothing was stored; try again.")
        if isinstance(failure, _BROKEN_CHUNKS):
            return _("The chunks of the upload are not framed as HTTP asks. Nothing was stored.")
        return _("The connection broke off after %(came)d bytes. Nothing was stored.") % {
            "came": self.received_bytes
        }


def client_body(environ: dict[str, Any], stall_seconds: float) -> ClientBody:
    """The body of a WSGI request. No byte within `stall_seconds` counts as broken off."""
    stream = environ["wsgi.input"]
    chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
    length = environ.get("CONTENT_LENGTH") or None
    declared = None if chunked else int(length or 0)
    connection = environ.get("gunicorn.socket")
    if connection is not None:
        limit_silence(connection, socket.SO_RCVTIMEO, stall_seconds)
    return ClientBody(_reader(stream, declared), declared)


def limit_silence(connection: socket.socket, option: int, seconds: float) -> None:
    """Fail a receive or send in which no byte moves for `seconds`.

    The kernel's own timeouts, because Python's limit a whole `sendall`, however well it goes.
    """
    whole = int(seconds)
    timeval = struct.pack("@ll", whole, int((seconds - whole) * 1_000_000))
    connection.setsockopt(socket.SOL_SOCKET, option, timeval)


def too_much_to_drain(read: ClientBody) -> bool:
    """Whether the rest of the body is so long that the connection will rather be closed."""
    if read.finished:
        return False
    return read.declared_bytes is None or read.declared_bytes - read.received_bytes > PIECE_BYTES


def announce_close(environ: dict[str, Any]) -> None:
    """Have the answer say that the connection ends with it.

    An application cannot: gunicorn drops hop-by-hop headers. Its answer object can, and is found
    where gunicorn itself hands it in.
    """
    hints = environ.get("wsgi.early_hints")
    for cell in getattr(hints, "__closure__", None) or ():
        force_close = getattr(cell.cell_contents, "force_close", None)
        if callable(force_close):
            force_close()


def linger(connection: socket.socket | None, body: ClientBody) -> None:
    """After an answer that came before the whole body: let the client read it before closing.

    A client that is still sending has its bytes thrown away for a while; then the connection is
    shut, and what it still sends is its own loss.
    """
    if connection is None or body.finished or body.broken:
        return
    limit_silence(connection, socket.SO_RCVTIMEO, LINGER_SILENCE_SECONDS)
    body.drain()
    if not body.finished:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _reader(stream: Any, declared: int | None) -> Callable[[], bytes]:
    reader = getattr(stream, "reader", None) if isinstance(stream, Body) else None
    if isinstance(reader, LengthReader):
        return lambda: _noting_failure(stream, lambda: _some_of_length(reader))
    if isinstance(reader, ChunkedReader):
        return lambda: _noting_failure(stream, lambda: _some_of_chunks(reader))
    if declared is None:
        return lambda: _plain(stream, _PLAIN_READ_BYTES)
    left = [declared]
    return lambda: _plain_bounded(stream, left)


def _noting_failure(stream: Body, read_some: Callable[[], bytes]) -> bytes:
    """As the stream's own `read` does: where the next request starts is unknown, so none may."""
    try:
        return read_some()
    except Exception:
        stream.failed = True
        raise


def _some_of_length(reader: LengthReader) -> bytes:
    piece: bytes = reader.unreader.read(None, read_ahead=min(reader.length, PIECE_BYTES))
    if len(piece) > reader.length:
        reader.unreader.unread(piece[reader.length :])
        piece = piece[: reader.length]
    reader.length -= len(piece)
    return piece


def _some_of_chunks(reader: ChunkedReader) -> bytes:
    buffered = reader.buf.tell()
    if buffered:
        return bytes(reader.read(buffered))
    while reader.parser is not None:
        try:
            piece: bytes = next(reader.parser)
        except StopIteration:
            reader.parser = None
            break
        if piece:
            return piece
    return b""


def _plain(stream: IO[bytes], size_bytes: int) -> bytes:
    return stream.read(size_bytes)


def _plain_bounded(stream: IO[bytes], left: list[int]) -> bytes:
    # A plain WSGI server may block for ever when asked for more than the declared length.
    piece = stream.read(min(_PLAIN_READ_BYTES, left[0]))
    left[0] -= len(piece)
    return piece
