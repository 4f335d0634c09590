"""The everyday upload, taken in place: a small body of declared length, a caller whose token was seen before.

Only ever says yes, as `at_once.py` does for downloads. What has to be refused before the body comes, or is out of the
ordinary, gets None from `begin`, and the ordinary handler of `api_uploads.py` decides and answers it. A yes is what that
handler does, step by step, without a task, a router and ASGI messages; the engine's rules are the engine's.
"""

import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from storage_node import drafts
from storage_node.answers import Answer, raw_headers, stored_answer
from storage_node.api import PUT_FILE, WRITE_FILES
from storage_node.api_uploads import ATTRIBUTES_HEADER
from storage_node.call import Call, Node, request_id_of
from storage_node.changes import Committed
from storage_node.drafts import Sender
from storage_node.envelope import CLIENT_LEFT_STATUS, failure_answer, unforeseen
from storage_node.errors import NodeError
from storage_node.survival import Surviving
from storage_node.uploads import Upload

# Below the smallest piece a connection is read in, so that reading never pauses within such a body.
LARGEST_BYTES = 32 * 1024
_BEFORE = b"/api/v1/files/"
_TARGET_BYTES = len(_BEFORE) + 36
_LENGTH_DIGITS = 5
# With one of these there is more to consider than the file and its attributes.
_OUT_OF_THE_ORDINARY = frozenset(
    {b"expect", b"upgrade", b"transfer-encoding", b"content-encoding", b"traceparent"}
)
_log = logging.getLogger("storage_node.faults")

Note = Callable[[Call, str, str], None]
# Sends status, raw headers and body; False when there is nobody any more to send to.
Reply = Callable[[int, bytes, bytes], bool]


class PutAtOnce:
    """`begin` is called by the connection for each PUT whose headers are whole, on the event loop."""

    def __init__(self, node: Node, note: Note) -> None:
        self.node = node
        self.note = note
        self._standing: tuple[object, bytes] = (None, b"")

    def begin(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> "Taken | None":
        """The upload, waiting for its body; None: not one for here, and nothing was begun."""
        given = dict(headers)
        size_bytes = _everyday_bytes(target, given)
        if size_bytes is None:
            return None
        now = self.node.clock()
        call = Call(request_id_of(given), given, route=PUT_FILE)
        call.principal = self.node.check.known(given[b"authorization"], WRITE_FILES, now)
        if call.principal is None:
            return None
        try:
            call.file_id = target[len(_BEFORE) :].decode("ascii").lower()
            digest = call.header(b"repr-digest") or call.header(b"content-digest")
            sender = Sender(
                drafts.parse_file_id(call.file_id),
                call.principal.subject,
                size_bytes,
                drafts.parse_digest(digest),
            )
            draft = drafts.from_header(call.header(ATTRIBUTES_HEADER), sender)
            return Taken(self, call, self.node.store.begin_small_upload(draft, now))
        except (NodeError, UnicodeDecodeError, OSError, sqlite3.Error):
            return None

    def standing_raw(self) -> bytes:
        """The headers of every answer, made once."""
        headers = self.node.standing_headers()
        if self._standing[0] is not headers:
            self._standing = (headers, raw_headers(headers))
        return self._standing[1]


def _everyday_bytes(target: bytes, given: dict[bytes, bytes]) -> int | None:
    """How long the body of an everyday upload is; None for any other request."""
    length = given.get(b"content-length", b"")
    is_everyday = (
        len(target) == _TARGET_BYTES
        and target.startswith(_BEFORE)
        and b"authorization" in given
        and 0 < len(length) <= _LENGTH_DIGITS
        and length.isdigit()
        and _OUT_OF_THE_ORDINARY.isdisjoint(given)
    )
    if not is_everyday or int(length) > LARGEST_BYTES:
        return None
    return int(length)


class Taken:
    """One upload between its headers and its answer. The connection calls one of the three, once."""

    __slots__ = ("_call", "_door", "_upload")

    def __init__(self, door: PutAtOnce, call: Call, upload: Upload) -> None:
        self._door = door
        self._call = call
        self._upload = upload

    def whole(self, body: bytearray, reply: Reply) -> None:
        """All of the body is here: it is stored, and answered when that is durable."""
        call, upload, node = self._call, self._upload, self._door.node
        call.bytes_in = len(body)
        with Surviving(_log, "request failed", {"request_id": call.request_id}) as attempt:
            try:
                if body:
                    upload.write(body)
                node.bridge.tell(upload.commit(node.clock()), partial(self._committed, reply))
            except NodeError as failure:
                upload.abort()
                self._answer(failure_answer(failure, call.request_id), reply)
        if attempt.failed:
            upload.abort()
            self._answer(failure_answer(unforeseen(), call.request_id), reply)

    def fail(self, failure: NodeError, received_bytes: int, reply: Reply) -> None:
        """The body will not be whole, and the caller can be told."""
        self._upload.abort()
        self._call.bytes_in = received_bytes
        self._answer(failure_answer(failure, self._call.request_id), reply)

    def left(self, received_bytes: int) -> None:
        """The caller went away before the body was whole."""
        self._upload.abort()
        self._call.bytes_in = received_bytes
        self._end(CLIENT_LEFT_STATUS, 0)

    def _committed(self, reply: Reply, future: "Future[Committed]") -> None:
        failure = future.exception()
        if failure is None:
            committed = future.result()
            answer = stored_answer(committed.attributes, committed.created)
        elif isinstance(failure, NodeError):
            answer = failure_answer(failure, self._call.request_id)
        else:
            with Surviving(_log, "request failed", {"request_id": self._call.request_id}):
                raise failure
            answer = failure_answer(unforeseen(), self._call.request_id)
        self._answer(answer, reply)

    def _answer(self, answer: Answer, reply: Reply) -> None:
        own = b"x-request-id: %b\r\n" % self._call.request_id.encode()
        raw = b"".join((raw_headers(answer.headers), self._door.standing_raw(), own))
        if reply(answer.status, raw, answer.body):
            self._end(answer.status, len(answer.body))
        else:
            self._end(CLIENT_LEFT_STATUS, 0)

    def _end(self, status: int, sent_bytes: int) -> None:
        call = self._call
        call.status, call.bytes_out = status, sent_bytes
        self._door.note(call, "PUT", f"/api/v1/files/{call.file_id}")
