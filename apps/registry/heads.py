"""How the head of a node's answer is read: status, headers, and how long the body is.

The standard library parses headers as if they were mail, which costs more than the rest of a small
call. Framing rules are those of `http.client`; a line that is no header ends the call. No policy.
"""

import http.client
import re
import socket
from collections.abc import Callable
from typing import Any

from urllib3._collections import HTTPHeaderDict

_MAX_LINE_BYTES = 64 * 1024
_MAX_HEADERS = 100
_MAX_LENGTH_DIGITS = 19
_BODILESS = {204, 304}
_END = re.compile(rb"(?:\A|\n)\r?\n")
_ENDLESS = "the head of the answer has no end"


class Answer(http.client.HTTPResponse):
    """An answer as it comes from the wire; its headers are urllib3's dictionary."""

    # http.client's own.
    _read_status: Callable[[], tuple[str, int, str]]
    _check_close: Callable[[], bool]
    _method: str | None

    def begin(self) -> None:
        """Read the head, past any interim answers."""
        version, status, reason = self._read_status()
        while status == http.client.CONTINUE:
            _read_headers(self.fp)
            version, status, reason = self._read_status()
        if not version.startswith("HTTP/1."):
            raise http.client.UnknownProtocol(version)
        self.version = 10 if version == "HTTP/1.0" else 11
        self.code = self.status = status
        self.reason = reason.strip()
        self.headers = self.msg = _read_headers(self.fp)
        self._measure()

    def _measure(self) -> None:
        """Where the body ends, and whether the connection outlives it."""
        coding: str = self.headers.get("transfer-encoding", "")
        self.chunked = coding.lower() == "chunked"
        self.chunk_left = None
        self.will_close = self._check_close()
        length: str = self.headers.get("content-length", "")
        self.length = int(length) if _is_length(length) and not self.chunked else None
        if self.status in _BODILESS or self._method == "HEAD":
            self.length = 0
        if not self.chunked and self.length is None:
            self.will_close = True


class StatusRead(Answer):
    """An answer whose status line was already taken off the wire."""

    def __init__(self, sock: socket.socket, *, line: bytes, method: str | None = None) -> None:
        super().__init__(sock, method=method)
        self._line = line

    def _read_status(self) -> tuple[str, int, str]:
        return parse_status(self._line)

    def begin(self) -> None:
        super().begin()
        # The rest of the body was never sent, so this connection can carry no further request.
        self.will_close = True


def _is_length(text: str) -> bool:
    """Python refuses to read thousands of digits, with an error that nobody expects."""
    return text.isdecimal() and len(text) <= _MAX_LENGTH_DIGITS


def parse_status(line: bytes) -> tuple[str, int, str]:
    """Version, status and reason of a status line."""
    version, _, rest = line.decode("iso-8859-1").rstrip("\r\n").partition(" ")
    code, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/") or not (code.isdecimal() and len(code) == 3):
        raise http.client.BadStatusLine(repr(line[:80]))
    return version, int(code), reason


def _read_headers(stream: Any) -> Any:
    """The header lines up to the empty one; a folded line belongs to the one before."""
    found: list[tuple[str, str]] = []
    for line in _lines(stream):
        name, colon, value = line.partition(":")
        if found and line[:1] in (" ", "\t"):
            last, before = found.pop()
            found.append((last, f"{before} {line.strip()}"))
        elif colon and name and name == name.strip():
            found.append((name, value.strip()))
        else:
            raise http.client.HTTPException("the head of the answer holds a line that is no header")
    return HTTPHeaderDict(found)


def _lines(stream: Any) -> list[str]:
    """The lines of the head, without the empty one; nothing behind it is taken off the stream."""
    # Nearly always the head has come in one piece.
    end = _END.search(stream.peek())
    lines = stream.read(end.end()).split(b"\n")[:-2] if end else _lines_as_they_come(stream)
    if len(lines) > _MAX_HEADERS:
        raise http.client.HTTPException(_ENDLESS)
    return [line.decode("iso-8859-1") for line in lines]


def _lines_as_they_come(stream: Any) -> list[bytes]:
    lines: list[bytes] = []
    while (line := stream.readline(_MAX_LINE_BYTES + 1)) not in (b"\r\n", b"\n"):
        lines.append(line)
        if len(lines) > _MAX_HEADERS or not line.endswith(b"\n"):
            raise http.client.HTTPException(_ENDLESS)
    return lines
