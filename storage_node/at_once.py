"""The everyday download, answered in place: a small whole file, no conditions, a caller whose token was seen before.

Only ever says yes. Whatever is out of the ordinary (a token not seen, a range, a file that is gone, a mode that forbids
it, a large file) gets None here, and the ordinary handler of `api_downloads.py` decides and answers it. What a yes needs is
checked on every request: the token's times and scope, the row, expiry, damage, mode, and the size of the file on disk.
A task and an ASGI exchange per request cost more than all of that together.
"""

import os
import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from storage_node.answers import raw_headers
from storage_node.api import DOWNLOAD_FILE, READ_FILES
from storage_node.api_downloads import whole_headers
from storage_node.call import Call, Node, request_id_of
from storage_node.content import Seen
from storage_node.drafts import parse_file_id
from storage_node.errors import NodeError

LARGEST_BYTES = 64 * 1024
HEADS_KEPT = 4096
_BEFORE, _AFTER = b"/api/v1/files/", b"/download"
_TARGET_BYTES = len(_BEFORE) + 36 + len(_AFTER)
# With one of these there is more to consider than the file.
_OUT_OF_THE_ORDINARY = frozenset(
    {b"range", b"if-range", b"if-none-match", b"if-modified-since", b"if-match"}
    | {b"if-unmodified-since", b"expect", b"upgrade", b"content-length", b"transfer-encoding"}
    | {b"traceparent"}
)

Note = Callable[[Call, str, str], None]


@dataclass(frozen=True, slots=True)
class _Head:
    """The headers that follow from a file's attributes; good for these very attributes only. `seen` is None for a file
    that is not in its place yet: such a head is used once."""

    seen: Seen | None
    id_text: str
    raw: bytes


class AtOnce:
    """`answer` is called by the connection for each GET without a body, on the event loop."""

    def __init__(self, node: Node, note: Note) -> None:
        self._node = node
        self._note = note
        self._heads: OrderedDict[bytes, _Head] = OrderedDict()
        self._standing: tuple[object, bytes] = (None, b"")

    def answer(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> list[bytes] | None:
        """Everything of a 200 behind its status line and the date; None: not one for here."""
        if len(target) != _TARGET_BYTES or not (
            target.startswith(_BEFORE) and target.endswith(_AFTER)
        ):
            return None
        given = dict(headers)
        authorization = given.get(b"authorization")
        if authorization is None or not _OUT_OF_THE_ORDINARY.isdisjoint(given):
            return None
        call, now = Call(request_id_of(given), given, route=DOWNLOAD_FILE), self._node.clock()
        call.principal = self._node.check.known(authorization, READ_FILES, now)
        if call.principal is None:
            return None
        try:
            found = self._read(target[len(_BEFORE) : -len(_AFTER)], now)
        except (NodeError, OSError, sqlite3.Error):
            return None
        if found is None:
            return None
        head, body = found
        call.file_id = head.id_text
        call.status, call.bytes_out = 200, len(body)
        self._note(call, "GET", target.decode("ascii"))
        own = b"x-request-id: %b\r\n\r\n" % call.request_id.encode()
        return [head.raw, self._standing_raw(), own, body]

    def _read(self, text: bytes, now: datetime) -> tuple[_Head, bytes] | None:
        """The file's headers and bytes. None for one that is large or not as long as it was stored."""
        head, store = self._heads.get(text), self._node.store
        if head is not None and head.seen is not None:
            again = store.read_again(head.seen, now)
            if again is not None:
                return head, again
        with store.open_content(parse_file_id(text.decode("latin-1")), now) as content:
            attributes, seen = content.attributes, content.seen
            if attributes.size > LARGEST_BYTES:
                return None
            body = os.pread(content.fd, attributes.size, 0)
        if len(body) != attributes.size:
            return None
        head = _Head(seen, attributes.id_text, raw_headers(whole_headers(attributes)))
        if seen is not None:
            self._keep(text, head)
        return head, body

    def _keep(self, text: bytes, head: _Head) -> None:
        self._heads[text] = head
        if len(self._heads) > HEADS_KEPT:
            self._heads.popitem(last=False)

    def _standing_raw(self) -> bytes:
        headers = self._node.standing_headers()
        if self._standing[0] is not headers:
            self._standing = (headers, raw_headers(headers))
        return self._standing[1]
