"""Around every request: its id, the headers each answer carries, the one place failures are answered, its log line.

The outermost ASGI layer. It knows no route and no file; handlers raise, this answers once.
"""

import json
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from storage_node.call import CALL_KEY, Call, Node
from storage_node.errors import ClientLeft, InternalError, NodeError
from storage_node.telemetry import Traces

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CLIENT_LEFT_STATUS = 499
_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")

log = logging.getLogger("storage_node.requests")
fault_log = logging.getLogger("storage_node.faults")


class Envelope:
    """Wraps the router. `node` gives the standing headers and the metrics."""

    def __init__(self, app: App, node: Node, traces: Traces) -> None:
        self._app = app
        self._node = node
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = scope[CALL_KEY] = Call(_request_id(scope))
        answer = _Answer(call, send, self._node.standing_headers())
        with self._traces.around(scope, call):
            try:
                await self._app(scope, receive, answer.send)
            except ClientLeft:
                call.status = CLIENT_LEFT_STATUS
            except NodeError as failure:
                await answer.fail(failure)
            except Exception:  # noqa: BLE001  the one broad except of this program: no request may end the process
                fault_log.exception(
                    "request failed", extra={"request_id": call.request_id, "path": scope["path"]}
                )
                await answer.fail(
                    InternalError(
                        "The request failed inside the node; its log has the reason under this request id."
                    )
                )
        self._note(scope, call, answer)

    def _note(self, scope: Scope, call: Call, answer: "_Answer") -> None:
        seconds = time.perf_counter() - call.started
        metrics = self._node.metrics
        metrics.answered(call.route, _known_method(scope["method"]), call.status, seconds)
        metrics.moved(call.bytes_in, call.bytes_out)
        if answer.broken:
            metrics.cut()
        if log.isEnabledFor(logging.INFO):
            principal = call.principal
            log.info(
                "request",
                extra={
                    "request_id": call.request_id,
                    "method": scope["method"],
                    "path": scope["path"],
                    "route": call.route,
                    "status": call.status,
                    "principal": principal.subject if principal else None,
                    "acting_module": principal.module if principal else None,
                    "file_id": call.file_id,
                    "bytes_in": call.bytes_in,
                    "bytes_out": call.bytes_out,
                    "milliseconds": round(seconds * 1000, 3),
                    "cut": answer.broken or None,
                    "trace_id": call.trace_id,
                },
            )


class _Answer:
    """Watches one answer go out, and can replace it with an error as long as nothing has."""

    def __init__(self, call: Call, send: Send, standing_headers: list[tuple[bytes, bytes]]) -> None:
        self._call = call
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
            self._call.status = message["status"]
            message = {**message, "headers": [*message["headers"], *self._headers]}
        else:
            self._call.bytes_out += len(message.get("body", b""))
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._ended = True

    async def fail(self, failure: NodeError) -> None:
        """Answer with the envelope; after the answer began there is only cutting the connection, which uvicorn
        does for an app that returns without having finished."""
        if self._started:
            return
        error = {
            "code": failure.code,
            "message": failure.message,
            "request_id": self._call.request_id,
            **failure.extra(),
        }
        members: dict[str, Any] = {"error": error, **failure.beside()}
        body = json.dumps(members, ensure_ascii=False).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        headers += [
            (name.lower().encode(), value.encode()) for name, value in failure.headers().items()
        ]
        await self.send(
            {"type": "http.response.start", "status": failure.status, "headers": headers}
        )
        await self.send({"type": "http.response.body", "body": body})


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_REQUEST_ID.fullmatch(value):
            return bytes(value).decode()
    return uuid.uuid4().hex


def _known_method(method: str) -> str:
    """A label value out of a small set, whatever callers invent."""
    return (
        method
        if method in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS")
        else "other"
    )
