"""The client's body as it arrives: pieces as they come, silence limited, a cut told from an end.

Knows the WSGI input and the gunicorn readers under it. Knows no form, no file, no element.

gunicorn's own `wsgi.input.read(n)` waits until `n` bytes (at least 1 KiB) are there, so a client
sending one byte a second would look dead to the node behind us, and it takes an early end of the
body for a complete one. Its readers can do better when asked for whatever has come: that is what
`read_piece` does. Under another server the plain `read` serves.
"""

import hashlib
import socket
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
from artstore.unread import limit_silence

PIECE_BYTES = 1024 * 1024
_PLAIN_READ_BYTES = 64 * 1024
_BROKEN_CHUNKS = (
    ChunkMissingTerminator,
    InvalidChunkExtension,
    InvalidChunkSize,
    InvalidHeader,
    LimitRequestHeaders,
)


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
