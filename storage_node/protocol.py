"""HTTP/1.1 connections: uvicorn's httptools protocol with the limits it lacks.

Headers past 64 KiB get 431, headers that dawdle 408; unparsable requests get our error envelope; bodies are handed over in
large pieces without a copy; a peer that moves no byte for the stall timeout is let go; a refusal sent before the body
was read is given time to arrive. There is no limit on the time of a whole transfer. Nothing here knows routes, tokens
or files.
"""

import asyncio
import json
import math
import socket
import struct
from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from storage_node.config import HEADER_LIMIT_BYTES
from storage_node.errors import (
    ClientLeft,
    HeadersTooLarge,
    IncompleteBody,
    NodeError,
    RequestStalled,
    ValidationFailed,
)
from storage_node.in_place import STATUS_LINES, TakenCycle, ready_head

BATCH_BYTES = 1 << 20
SMALLEST_BATCH_BYTES = 1 << 16
# What all connections together may hold in pieces under way: many connections get smaller pieces.
PIECES_BUDGET_BYTES = 32 << 20
SWEEPS_PER_TIMEOUT = 4
# How long the rest of a refused body is read and dropped, so that the refusal is not lost to a reset (nginx does the same).
LINGER_SECONDS = 30.0
LINGER_QUIET_SECONDS = 5.0
GOODBYE_SECONDS = 0.5
# TCP_INFO of Linux, struct tcp_info of linux/tcp.h: tcpi_bytes_acked is the 64-bit number at byte 120.
_TCP_INFO = 11
_TCP_INFO_BYTES = 128
_BYTES_ACKED_AT = 120


def fair_piece_bytes(connections: int) -> int:
    """How much one of so many connections may hold at a time: 1 MiB for a few, 64 KiB for very many."""
    return max(SMALLEST_BATCH_BYTES, min(BATCH_BYTES, PIECES_BUDGET_BYTES // max(1, connections)))


class NodeCycle(RequestResponseCycle):
    """One request and its answer. `receive` raises when the peer falls silent or ends the body early."""

    receiving = False
    failure: NodeError | None = None
    _head = b""

    def fail(self, failure: NodeError) -> None:
        """Let the handler find out that no further body byte will come."""
        self.failure = failure
        self.message_event.set()

    def cut(self) -> None:
        """The connection has been answered for: whatever the handler does now reaches nobody."""
        self.disconnected = True
        self.message_event.set()

    async def send(self, message: Any) -> None:
        """The head goes out with the first piece of the body, so that a small answer is one write. Whoever sends to
        a connection that is gone gets ClientLeft instead of going on to the end of the file."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            raise ClientLeft
        if message["type"] == "http.response.start":
            self._head = self._head_of(message["status"], message["headers"])
            self.response_started = True
            self.waiting_for_100_continue = False
        else:
            self._send_body(message.get("body", b""), more=message.get("more_body", False))

    def _head_of(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Status line and headers. An answer that overtakes its request's body announces that the connection ends."""
        lines = [STATUS_LINES[status]]
        for name, value in (*self.default_headers, *headers):
            if name == b"content-length":
                self.expected_content_length = int(value)
            lines.append(b"%b: %b\r\n" % (name, value))
        if self.more_body or not self.keep_alive:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
            raise RuntimeError("a header value holds a line break")
        return head + b"\r\n"

    def _send_body(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            body = b""
        self.expected_content_length -= len(body)
        if self.expected_content_length < 0 or (not more and self.expected_content_length):
            raise RuntimeError("an answer of another length than it announced")
        self.transport.writelines([self._head, body] if self._head else [body])
        self._head = b""
        if not more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive and not self.more_body:
                self.transport.close()
            self.on_response()

    async def receive(self) -> Any:
        """The next piece of the body: whatever came since the last call, up to about a batch."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if not self.disconnected and not self.response_complete:
            self.flow.resume_reading()
            self.receiving = True
            await self.message_event.wait()
            self.receiving = False
            self.message_event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        if self.failure is not None:
            raise self.failure
        body, self.body = self.body, bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}


class NodeProtocol(HttpToolsProtocol):
    """A connection. `app_state["headers_of_a_refusal"]()` gives the headers every answer carries, and
    `app_state["answer_at_once"](target, headers)` the pieces of a 200 behind the date, or None, and
    `app_state["take_at_once"](target, headers)` an upload that waits for its body, or None."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._header_bytes = 0
        self._in_headers = True
        self._headers_since = self._moved_at = self.loop.time()
        # Of the last answer that left no timer behind to end an idle connection: the sweep does it then.
        self._idle_since = -math.inf
        self._acked_bytes = 0
        self._lingers = False
        self._batch_bytes = BATCH_BYTES

    @property
    def _active(self) -> NodeCycle | None:
        cycle = cast(NodeCycle | None, self.cycle)
        return cycle if cycle is not None and not cycle.response_complete else None

    # --- bytes in -------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Feed the parser; count what it has taken since the last whole header block."""
        self._moved_at = self.loop.time()
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > HEADER_LIMIT_BYTES:
            self._refuse_headers()

    def eof_received(self) -> bool | None:  # type: ignore[override]  # the base promises None; asyncio takes a bool
        """The peer will send no more. Without TLS it can still be told that its body was too short."""
        cycle = self._active
        if cycle is None or not cycle.more_body or self.scheme == "https":
            return None
        cycle.fail(
            IncompleteBody("The upload was refused: the body ended before all declared bytes came.")
        )
        return True

    def on_message_begin(self) -> None:
        """A header block begins; its clock does too. What only an ASGI task needs is made in `_complete_scope`."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._in_headers = True
        self._headers_since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is kept; a trailer after the body is only counted."""
        if self._in_headers:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))
            return
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > HEADER_LIMIT_BYTES:
            self._refuse_headers()

    def on_headers_complete(self) -> None:
        """A header block is whole: check its size once more (it may have come in one piece), then serve it."""
        size_bytes = len(self.url) + 4 * len(self.headers)
        for name, value in self.headers:
            size_bytes += len(name) + len(value)
        self._in_headers = False
        self._header_bytes = 0
        if size_bytes > HEADER_LIMIT_BYTES:
            self._refuse_headers()
            return
        self._batch_bytes = fair_piece_bytes(len(self.connections))
        waiting = self._active is not None
        if not waiting and (self._answered_at_once() or self._taken_at_once()):
            return
        self._complete_scope()
        self.cycle = self._new_cycle()
        if waiting:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        else:
            self._start_asgi_task(self.cycle, self.app)

    def _is_plain(self, method: bytes) -> bool:
        return (
            self.parser.get_method() == method
            and not self.flow.write_paused
            and self.parser.get_http_version() == "1.1"
            and bool(self.parser.should_keep_alive())
        )

    def _answered_at_once(self) -> bool:
        """Whether the application had the whole answer ready; there is no cycle and no task for such a request."""
        if not self._is_plain(b"GET"):
            return False
        pieces = self.app_state["answer_at_once"](self.url, self.headers)
        if pieces is None:
            return False
        self.server_state.total_requests += 1
        self._idle_since = self.loop.time()
        self.transport.write(b"".join((ready_head(self.server_state, 200), *pieces)))
        return True

    def _taken_at_once(self) -> bool:
        """Whether the application takes the body as it comes; there is no task for such a request."""
        if not self._is_plain(b"PUT"):
            return False
        taken = self.app_state["take_at_once"](self.url, self.headers)
        if taken is None:
            return False
        self.cycle = cast(
            NodeCycle, TakenCycle(taken, self.transport, self.server_state, self._taken_is_answered)
        )
        return True

    def _taken_is_answered(self, cycle: "TakenCycle") -> None:
        if self.pipeline or cycle.more_body or self.transport.is_closing():
            self.on_response_complete()
            return
        self.server_state.total_requests += 1
        self._idle_since = self.loop.time()

    def _complete_scope(self) -> None:
        """Target to path and query; an unparsable one raises here and becomes a 400 like any parse error."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        # The base makes the scope where a message begins; it and what is known by now come together here.
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        target = httptools.parse_url(url)
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = self.parser.get_http_version()
        path = target.path.decode("ascii")
        self.scope["path"] = unquote(path, errors="strict") if "%" in path else path
        self.scope["raw_path"] = target.path
        self.scope["query_string"] = target.query or b""

    def _new_cycle(self) -> NodeCycle:
        return NodeCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=self.scope["http_version"] != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )

    def on_body(self, body: bytes) -> None:
        """Gather the body; stop reading the socket while a whole batch waits to be taken."""
        cycle = self._active
        if cycle is None:
            return
        cycle.body += body
        if len(cycle.body) >= self._batch_bytes:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The body is whole; what follows on this connection are headers again."""
        self._in_headers = True
        self._header_bytes = 0
        if self._lingers:
            self.transport.close()
        elif self._active is not None:
            super().on_message_complete()

    # --- refusals -------------------------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """What httptools can not parse is answered in our envelope like everything else."""
        self._refuse(
            ValidationFailed(
                "The request was refused: it is not well-formed HTTP/1.1.", {"request": [msg]}
            )
        )

    def _refuse_headers(self) -> None:
        self._refuse(
            HeadersTooLarge("The request was refused: its headers are larger than 64 KiB.")
        )

    def _refuse(self, failure: NodeError) -> None:
        """Answer for the whole connection and end it; a request under way on it is dropped."""
        if self.transport.is_closing():
            return
        cycle = self._active
        if cycle is None or not cycle.response_started:
            headers = self.app_state["headers_of_a_refusal"]()
            self.transport.write(_plain_answer(failure, headers))
        if cycle is not None:
            cycle.cut()
        self.transport.close()

    def on_response_complete(self) -> None:
        """An answer that came before the whole body is followed by reading the rest away."""
        cycle = cast(NodeCycle, self.cycle)
        if cycle.response_complete and cycle.more_body and not self.transport.is_closing():
            self._lingers = True
            self.flow.resume_reading()
            self.loop.call_later(LINGER_SECONDS, self.transport.close)
            self._linger_while_busy()
        else:
            super().on_response_complete()
            if self.transport.is_closing():
                self._say_goodbye()

    def _linger_while_busy(self) -> None:
        if self.loop.time() - self._moved_at > LINGER_QUIET_SECONDS:
            self.transport.close()
        elif not self.transport.is_closing():
            self.loop.call_later(LINGER_QUIET_SECONDS / 2, self._linger_while_busy)

    def shutdown(self) -> None:
        """The node ends: an idle connection is closed at once, a busy one after its answer."""
        idle = self._active is None
        super().shutdown()
        if idle:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        """Over TLS closing waits for the peer's goodbye, which a pooled connection never says: once everything is
        sent it is not waited for long."""
        if self.transport.get_write_buffer_size() == 0:
            self.loop.call_later(GOODBYE_SECONDS, self.transport.abort)
        else:
            self.loop.call_later(GOODBYE_SECONDS, self._say_goodbye)

    # --- patience -------------------------------------------------------------------------------------------------

    def sweep(self, moment: float, stall_timeout_seconds: float) -> None:
        """Let the peer go if it owes us bytes, or takes none, for longer than the stall timeout."""
        cycle = self._active
        if self.transport.is_closing() or (cycle is not None and self.flow.write_paused):
            if not self._writing_moved(moment) and moment - self._moved_at > stall_timeout_seconds:
                self.transport.abort()
        elif cycle is None:
            self._sweep_between_requests(moment, stall_timeout_seconds)
        elif not cycle.receiving:
            self._moved_at = (
                moment  # the node is busy: its own time does not count against the peer
            )
        elif moment - self._moved_at > stall_timeout_seconds:
            cycle.fail(
                RequestStalled(
                    "The request was given up: no byte of its body came for the stall timeout."
                )
            )

    def _sweep_between_requests(self, moment: float, stall_timeout_seconds: float) -> None:
        if self._lingers or self.timeout_keep_alive_task is not None:
            return
        if moment - self._headers_since <= stall_timeout_seconds:
            return
        if not self._header_bytes and moment - self._idle_since <= self.timeout_keep_alive:
            return
        if self._header_bytes:
            self._refuse(
                RequestStalled("The request was given up: its headers did not come in time.")
            )
        else:
            self.transport.close()

    def _writing_moved(self, moment: float) -> bool:
        acked_bytes = _acked_bytes(self.transport)
        moved = acked_bytes != self._acked_bytes
        if moved:
            self._acked_bytes = acked_bytes
            self._moved_at = moment
        return moved


def _acked_bytes(transport: asyncio.Transport) -> int:
    """Bytes the peer's kernel has confirmed; off Linux, what still waits here (it changes as it moves)."""
    connection = transport.get_extra_info("socket")
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _TCP_INFO_BYTES)
        return int(struct.unpack_from("=Q", info, _BYTES_ACKED_AT)[0])
    except (OSError, struct.error, AttributeError):
        return transport.get_write_buffer_size()


def _plain_answer(failure: NodeError, headers: list[tuple[bytes, bytes]]) -> bytes:
    error: dict[str, object] = {"code": failure.code, "message": failure.message, **failure.extra()}
    request_id = dict(headers)[b"x-request-id"].decode()
    body = json.dumps({"error": error, "request_id": request_id}).encode()
    lines = [
        b"HTTP/1.1 %d Refused" % failure.status,
        b"content-type: application/json",
        b"connection: close",
    ]
    lines += [b"content-length: %d" % len(body)]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def sweep_for_ever(server_state: ServerState, stall_timeout_seconds: float) -> None:
    """Look at every connection a few times per timeout: no timer per connection, no cost per byte."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(stall_timeout_seconds / SWEEPS_PER_TIMEOUT)
        for connection in list(server_state.connections):
            if isinstance(connection, NodeProtocol):
                connection.sweep(loop.time(), stall_timeout_seconds)
