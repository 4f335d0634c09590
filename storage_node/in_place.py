"""What a connection needs to serve a request without an ASGI task: heads of answers, and what stands in for the cycle.

Knows the wire and uvicorn's expectations of a cycle; nothing of routes, tokens or files.
"""

import asyncio
import http
from collections.abc import Callable
from typing import Protocol, cast

from uvicorn.server import ServerState

from storage_node.errors import NodeError

STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    for status in http.HTTPStatus
}
_CLOSE = b"connection: close\r\n"
_ready: dict[str, object] = {}


def ready_head(server_state: ServerState, status: int) -> bytes:
    """The status line and uvicorn's default headers, which it replaces once a second."""
    headers = server_state.default_headers
    if _ready.get("headers") is not headers:
        _ready.update(headers=headers, raw=b"".join(b"%b: %b\r\n" % header for header in headers))
    return STATUS_LINES[status] + cast(bytes, _ready["raw"])


class Taking(Protocol):
    """An upload that waits for its body; one of the three is called, once."""

    def whole(self, body: bytearray, reply: Callable[[int, bytes, bytes], bool]) -> None: ...
    def fail(
        self,
        failure: NodeError,
        received_bytes: int,
        reply: Callable[[int, bytes, bytes], bool],
    ) -> None: ...
    def left(self, received_bytes: int) -> None: ...


class TakenCycle:
    """Stands where a request's cycle does while a small body comes and its answer is awaited.

    uvicorn appends to `body`, lowers `more_body`, raises `disconnected`, and calls `message_event.set()` after each: this is
    its own event, so that every step is taken where it is noticed.
    """

    waiting_for_100_continue = False

    def __init__(
        self,
        taking: Taking,
        transport: asyncio.Transport,
        server_state: ServerState,
        on_response: "Callable[[TakenCycle], None]",
    ) -> None:
        self._taking = taking
        self._transport = transport
        self._server_state = server_state
        self._on_response = on_response
        self.body = bytearray()
        self.more_body = True
        self.keep_alive = True
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self._is_over = False

    @property
    def message_event(self) -> "TakenCycle":
        """Whom uvicorn tells that something has changed."""
        return self

    @property
    def receiving(self) -> bool:
        """Whether it is the peer that is waited for."""
        return self.more_body

    def set(self) -> None:
        """Something has changed."""
        if self._is_over:
            return
        if self.disconnected:
            self._is_over = True
            self._taking.left(len(self.body))
        elif not self.more_body:
            self._is_over = True
            self._taking.whole(self.body, self._reply)

    def fail(self, failure: NodeError) -> None:
        """No further body byte will come."""
        if not self._is_over:
            self._is_over = True
            self._taking.fail(failure, len(self.body), self._reply)

    def cut(self) -> None:
        """The connection has been answered for: whatever is answered now reaches nobody."""
        self.disconnected = True
        self.set()

    def _reply(self, status: int, raw_headers: bytes, body: bytes) -> bool:
        if self.disconnected or self._transport.is_closing():
            return False
        stays = self.keep_alive and not self.more_body
        head = ready_head(self._server_state, status)
        end = b"\r\n" if stays else _CLOSE + b"\r\n"
        self.response_started = self.response_complete = True
        self._transport.write(b"".join((head, raw_headers, end, body)))
        if not self.keep_alive and not self.more_body:
            self._transport.close()
        self._on_response(self)
        return True
