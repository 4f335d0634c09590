"""Around every request: its id, the headers each answer carries, the one place failures are answered, its log line.

The outermost ASGI layer. It knows no route and no file; handlers raise, this answers once.
"""

import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from storage_node.answers import Answer
from storage_node.call import CALL_KEY, Call, Node, request_id_of
from storage_node.errors import ClientLeft, InternalError, NodeError
from storage_node.request_log import RequestLine, RequestLog
from storage_node.survival import Surviving
from storage_node.telemetry import Traces

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

CLIENT_LEFT_STATUS = 499
# Label values out of a small set, whatever callers invent.
_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"})

fault_log = logging.getLogger("storage_node.faults")


def unforeseen() -> InternalError:
    """What is told of a failure that has no name."""
    return InternalError(
        "The request failed inside the node; its log has the reason under this request id."
    )


def failure_answer(failure: NodeError, request_id: str) -> Answer:
    """The envelope every failure is told in."""
    members: dict[str, Any] = {
        "error": {"code": failure.code, "message": failure.message, **failure.extra()},
        **failure.beside(),
        "request_id": request_id,
    }
    body = json.dumps(members, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += [
        (name.lower().encode(), value.encode()) for name, value in failure.headers().items()
    ]
    return Answer(failure.status, headers, body)


class Answering(Protocol):
    """What is inside the envelope: the router."""

    async def answer(self, scope: Scope, receive: Receive, call: Call) -> Answer:
        """The answer to one request; raises whatever went wrong."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lifespan events."""


class Envelope:
    """Wraps the router. `node` gives the standing headers and the metrics."""

    def __init__(self, doors: Answering, node: Node, traces: Traces) -> None:
        self._doors = doors
        self._node = node
        self._traces = traces
        self._log = RequestLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._doors(scope, receive, send)
            return
        headers = dict(scope["headers"])
        call = scope[CALL_KEY] = Call(request_id_of(headers), headers)
        outgoing = _Outgoing(call, send, self._node.standing_headers())
        if self._traces.is_off:
            self._traces.note_caller(call)
            await self._answer(scope, receive, outgoing)
        else:
            with self._traces.around(scope["method"], call):
                await self._answer(scope, receive, outgoing)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.note(call, method, scope["path"], outgoing.broken)

    async def _answer(self, scope: Scope, receive: Receive, outgoing: "_Outgoing") -> None:
        call = outgoing.call
        facts = {"request_id": call.request_id, "path": scope["path"]}
        with Surviving(fault_log, "request failed", facts) as attempt:
            try:
                answer = await self._doors.answer(scope, receive, call)
                await answer(scope, receive, outgoing.send)
            except ClientLeft:
                call.status = CLIENT_LEFT_STATUS
            except NodeError as failure:
                await outgoing.fail(failure)
        if attempt.failed:
            await outgoing.fail(unforeseen())

    def note(self, call: Call, method: str, path: str, broken: bool = False) -> None:
        """Count an answer that has gone out, and write its line."""
        seconds = time.perf_counter() - call.started
        self._node.metrics.answered(call.route, method, call.status, seconds)
        self._node.metrics.moved(call.bytes_in, call.bytes_out, broken)
        if self._log.is_on:
            self._log.write(RequestLine(method, path, seconds * 1000, broken, call))


class _Outgoing:
    """Watches one answer go out, and can replace it with an error as long as nothing has."""

    def __init__(self, call: Call, send: Send, standing_headers: list[tuple[bytes, bytes]]) -> None:
        self.call = call
        self._send = send
        self._headers = [*standing_headers, (b"x-request-id", call.request_id.encode())]
        self._started = False
        self._ended = False

    @property
    def broken(self) -> bool:
        """Begun and not ended: the caller saw a cut connection."""
        return self._started and not self._ended

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            self.call.status = message["status"]
            message["headers"] = [*message["headers"], *self._headers]
        else:
            self.call.bytes_out += len(message.get("body", b""))
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._ended = True

    async def fail(self, failure: NodeError) -> None:
        """Answer with the envelope; after the answer began there is only cutting the connection, which uvicorn
        does for an app that returns without having finished."""
        if self._started:
            return
        answer = failure_answer(failure, self.call.request_id)
        await answer({}, None, self.send)
