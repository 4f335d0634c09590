"""The wire call that brings file bytes out: whole, in part, or only the headers.

A small answer is read in place; a large one in pieces by a worker thread, the next while this one is sent.
"""

import asyncio
import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.requests import Request

from storage_node.answers import Answer, Headers
from storage_node.api_files import file_id_of
from storage_node.attributes import FileAttributes
from storage_node.call import Node, call_of
from storage_node.content import Content
from storage_node.drafts import digest_header
from storage_node.errors import FileDamaged
from storage_node.protocol import fair_piece_bytes
from storage_node.queries import Query
from storage_node.ranges import Asked, Slice, Stored, http_date, not_modified, slice_of

INLINE_BYTES = 256 * 1024
_CONDITIONS = frozenset({b"range", b"if-range", b"if-none-match", b"if-modified-since"})
_NO_CONDITIONS = Asked()
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._-]+")


class DownloadCalls:
    """Handlers over one node."""

    def __init__(self, node: Node) -> None:
        self.node = node

    async def download_file(self, request: Request) -> Answer:
        """Bytes of one file, as the conditional and range headers ask."""
        disposition = _disposition(request)
        content = self.node.store.open_content(file_id_of(request), self.node.clock())
        answer = None
        try:
            answer = self._answer(request, content, disposition)
            return answer
        finally:
            if not isinstance(answer, _Pieces):
                content.close()

    def _answer(self, request: Request, content: Content, disposition: str) -> Answer:
        attributes = content.attributes
        asked, stored = _asked(request), _stored(attributes)
        headers = _validators(attributes, stored)
        if not_modified(asked, stored):
            return Answer(304, headers)
        part = slice_of(asked, stored)
        headers += _body_headers(attributes, part, disposition)
        status = 206 if part.partial else 200
        if request.method == "HEAD":
            return Answer(status, headers)
        if part.size_bytes <= INLINE_BYTES:
            return Answer(status, headers, _read_exactly(content, part.start, part.size_bytes))
        return _Pieces(status, headers, _Transfer(self, content, part))


@dataclass(frozen=True)
class _Transfer:
    """A large part of a file on its way out."""

    calls: DownloadCalls
    content: Content
    part: Slice

    def read(self, position: int) -> bytes:
        """The next piece: as large as is fair among the connections there are. Not among those that receive a file at
        the moment: over TLS a connection keeps buffers as large as the largest piece it ever sent."""
        connections = len(self.calls.node.connections)
        wanted_bytes = min(fair_piece_bytes(connections), self.part.end - position)
        return _read_exactly(self.content, position, wanted_bytes)


class _Pieces(Answer):
    """A large answer. Owns the content and closes it, whatever becomes of the transfer."""

    def __init__(self, status: int, headers: Headers, transfer: _Transfer) -> None:
        super().__init__(status, headers)
        self._transfer = transfer

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        transfer = self._transfer
        try:
            await send(
                {"type": "http.response.start", "status": self.status, "headers": self.headers}
            )
            await self._send_pieces(send)
        finally:
            transfer.content.close()

    async def _send_pieces(self, send: Any) -> None:
        """One piece is read while the one before it is sent."""
        loop, transfer = asyncio.get_running_loop(), self._transfer
        threads, position, end = transfer.calls.node.threads, transfer.part.start, transfer.part.end
        reading = loop.run_in_executor(threads, transfer.read, position)
        try:
            while position < end:
                piece = await reading
                position += len(piece)
                if position < end:
                    reading = loop.run_in_executor(threads, transfer.read, position)
                await send(
                    {"type": "http.response.body", "body": piece, "more_body": position < end}
                )
        finally:
            # The descriptor must not be closed under a read, nor a failed read go unnoticed as never awaited.
            await asyncio.wait([reading])
            reading.cancelled() or reading.exception()


def _read_exactly(content: Content, position: int, wanted_bytes: int) -> bytes:
    """Bytes the file must have; fewer means that it was cut under our hands, and the transfer breaks off."""
    piece = os.pread(content.fd, wanted_bytes, position)
    while len(piece) < wanted_bytes:
        rest = os.pread(content.fd, wanted_bytes - len(piece), position + len(piece))
        if not rest:
            raise FileDamaged("The download broke off: the file on disk is shorter than it was.")
        piece += rest
    return piece


def _disposition(request: Request) -> str:
    if not request.scope["query_string"]:
        return "attachment"
    query = Query(request.query_params, "The download was refused: a parameter is out of range.")
    disposition = query.one_of("disposition", ("attachment", "inline")) or "attachment"
    query.finish()
    return disposition


def _asked(request: Request) -> Asked:
    call = call_of(request.scope)
    if _CONDITIONS.isdisjoint(call.headers):
        return _NO_CONDITIONS
    header = call.header
    return Asked(
        header(b"range"),
        header(b"if-range"),
        header(b"if-none-match"),
        header(b"if-modified-since"),
    )


def _stored(attributes: FileAttributes) -> Stored:
    return Stored(attributes.size, f'"{attributes.checksum}"', attributes.uploaded_at)


def whole_headers(attributes: FileAttributes) -> Headers:
    """The headers of a download of the whole file as an attachment, without conditions."""
    stored = _stored(attributes)
    part = slice_of(_NO_CONDITIONS, stored)
    return [*_validators(attributes, stored), *_body_headers(attributes, part, "attachment")]


def _validators(attributes: FileAttributes, stored: Stored) -> list[tuple[bytes, bytes]]:
    return [
        (b"etag", stored.etag.encode()),
        (b"last-modified", http_date(attributes.uploaded_at).encode()),
        (b"cache-control", b"private"),
    ]


def _body_headers(attributes: FileAttributes, part: Slice, disposition: str) -> Headers:
    named = content_disposition(disposition, attributes.original_filename)
    headers = [
        (b"content-type", attributes.content_type.encode("latin-1")),
        (b"content-length", b"%d" % part.size_bytes),
        (b"accept-ranges", b"bytes"),
        (b"repr-digest", digest_header(attributes.checksum).encode()),
        (b"content-disposition", named.encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    if part.partial:
        where = f"bytes {part.start}-{part.end - 1}/{attributes.size}"
        headers.append((b"content-range", where.encode()))
    if disposition == "inline":
        headers.append((b"content-security-policy", b"sandbox"))
    return headers


def content_disposition(disposition: str, filename: str) -> str:
    """RFC 6266: a plain ASCII name for old readers and the real one, percent-encoded, for the others."""
    if _PLAIN_NAME.fullmatch(filename):
        return f"{disposition}; filename=\"{filename}\"; filename*=UTF-8''{filename}"
    plain = "".join(
        letter if " " <= letter <= "~" and letter not in '"\\%' else "_" for letter in filename
    )
    return f"{disposition}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
