"""What happens when an answer is ready and the request's body was not read: to its end or at all.

The client takes its time with the answer and with the rest of its body, so the database connection
goes back first. Closing at once would reset the client's connection and throw the answer away, so
it gets a while to read it. Nobody who answers early has to think of that. Knows gunicorn's body
readers, since no public interface says how much of a body is left; under another server nothing is
read here.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.errors import ParseException

from artstore import database

LINGER_SECONDS = 10.0
LINGER_SILENCE_SECONDS = 2.0
# Up to this much is read and forgotten, and the connection serves on.
DRAINED_BYTES = 1024 * 1024
_PIECE_BYTES = 64 * 1024


class UnreadBodyMiddleware:
    """Says that the connection will close where much is unread, and lets the client see it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        rest = _Rest(request.META.get("wsgi.input"), request.META.get("gunicorn.socket"))
        is_unread = rest.left_bytes() != 0
        if is_unread or not database.is_kept():
            database.release()
        if is_unread:
            if rest.is_long():
                announce_close(request.META)
            # Closers run after the server has written the answer; there is no public way to add one.
            response._resource_closers.append(rest.linger)  # type: ignore[attr-defined]
        return response


@dataclass(frozen=True)
class _Rest:
    """The part of a body that nobody asked for."""

    stream: Any
    connection: socket.socket | None

    def left_bytes(self) -> int | None:
        """None: more than can be known."""
        if not isinstance(self.stream, Body) or getattr(self.stream, "failed", False):
            return 0
        reader = self.stream.reader
        if isinstance(reader, LengthReader):
            return int(reader.length)
        if isinstance(reader, ChunkedReader):
            return None if reader.parser is not None else 0
        return 0

    def is_long(self) -> bool:
        left = self.left_bytes()
        return left is None or left > DRAINED_BYTES

    def linger(self) -> None:
        """Throw away what still comes, for a while; then the rest is the client's own loss."""
        if self.connection is None:
            return
        limit_silence(self.connection, socket.SO_RCVTIMEO, LINGER_SILENCE_SECONDS)
        deadline = time.monotonic() + LINGER_SECONDS
        try:
            while self.left_bytes() != 0 and time.monotonic() < deadline:
                if not self.stream.reader.read(_PIECE_BYTES):
                    break
        except (OSError, ParseException):
            self.stream.failed = True
        if self.left_bytes() != 0 or self.stream.failed:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)


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


def limit_silence(connection: socket.socket, option: int, seconds: float) -> None:
    """Fail a receive or send in which no byte moves for `seconds`.

    The kernel's own timeouts, because Python's limit a whole `sendall`, however well it goes.
    """
    whole = int(seconds)
    timeval = struct.pack("@ll", whole, int((seconds - whole) * 1_000_000))
    connection.setsockopt(socket.SOL_SOCKET, option, timeval)
