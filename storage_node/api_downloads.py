"""The wire call that brings file bytes out: whole, in part, or only the headers.

A small answer is read in place; a large one in pieces by a worker thread, the next while this one is sent.
"""

import asyncio
import os
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from storage_node.api_files import file_id_of
from storage_node.attributes import FileAttributes
from storage_node.call import Node
from storage_node.content import Content
from storage_node.drafts import digest_header
from storage_node.errors import FileDamaged
from storage_node.protocol import fair_piece_bytes
from storage_node.queries import Query
from storage_node.ranges import Asked, Slice, Stored, http_date, not_modified, slice_of

INLINE_BYTES = 256 * 1024


class DownloadCalls:
    """Handlers over one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._open_transfers = 0

    async def download_file(self, request: Request) -> Response:
        """Bytes of one file, as the conditional and range headers ask."""
        query = Query(
            request.query_params, "The download was refused: a parameter is out of range."
        )
        disposition = query.one_of("disposition", ("attachment", "inline")) or "attachment"
        query.finish()
        content = self._node.store.open_content(file_id_of(request), self._node.clock())
        handed_over = False
        try:
            asked, stored = _asked(request), _stored(content.attributes)
            headers = _version_headers(content.attributes, stored)
            if not_modified(asked, stored):
                return Response(status_code=304, headers=headers)
            part = slice_of(asked, stored)
            headers |= _body_headers(content.attributes, part, disposition)
            status = 206 if part.partial else 200
            if request.method == "HEAD":
                return _HeadersOnly(status, headers)
            if part.size_bytes <= INLINE_BYTES:
                return Response(
                    _read_exactly(content, part.start, part.size_bytes), status, headers
                )
            handed_over = True
            return _Pieces(self, content, part, status, headers)
        finally:
            if not handed_over:
                content.close()


class _HeadersOnly(Response):
    """An answer to HEAD: the length of the body there would be, and none."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        super().__init__(None, status, headers)

    def init_headers(self, headers: Any = None) -> None:
        self.raw_headers = [
            (name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()
        ]


class _Pieces(_HeadersOnly):
    """A large answer. Owns `content` and closes it, whatever becomes of the transfer."""

    def __init__(
        self,
        calls: DownloadCalls,
        content: Content,
        part: Slice,
        status: int,
        headers: dict[str, str],
    ) -> None:
        super().__init__(status, headers)
        self._calls = calls
        self._content = content
        self._part = part

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        self._calls._open_transfers += 1
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            await self._send_pieces(send)
        finally:
            self._calls._open_transfers -= 1
            self._content.close()

    async def _send_pieces(self, send: Any) -> None:
        loop, node = asyncio.get_running_loop(), self._calls._node
        position, end = self._part.start, self._part.end
        reading: asyncio.Future[bytes] | None = None
        try:
            while position < end:
                if reading is None:
                    reading = loop.run_in_executor(node.threads, self._read, position)
                piece = await reading
                position += len(piece)
                reading = (
                    loop.run_in_executor(node.threads, self._read, position)
                    if position < end
                    else None
                )
                await send(
                    {"type": "http.response.body", "body": piece, "more_body": position < end}
                )
        finally:
            if reading is not None:
                await asyncio.wait([reading])

    def _read(self, position: int) -> bytes:
        wanted = min(fair_piece_bytes(self._calls._open_transfers), self._part.end - position)
        return _read_exactly(self._content, position, wanted)


def _read_exactly(content: Content, position: int, wanted_bytes: int) -> bytes:
    """Bytes the file must have; fewer means that it was cut under our hands, and the transfer breaks off."""
    piece = os.pread(content.fd, wanted_bytes, position)
    while len(piece) < wanted_bytes:
        rest = os.pread(content.fd, wanted_bytes - len(piece), position + len(piece))
        if not rest:
            raise FileDamaged("The download broke off: the file on disk is shorter than it was.")
        piece += rest
    return piece


def _asked(request: Request) -> Asked:
    headers = request.headers
    return Asked(
        headers.get("range"),
        headers.get("if-range"),
        headers.get("if-none-match"),
        headers.get("if-modified-since"),
    )


def _stored(attributes: FileAttributes) -> Stored:
    return Stored(attributes.size, f'"{attributes.checksum}"', attributes.uploaded_at)


def _version_headers(attributes: FileAttributes, stored: Stored) -> dict[str, str]:
    return {
        "ETag": stored.etag,
        "Last-Modified": http_date(attributes.uploaded_at),
        "Cache-Control": "private",
    }


def _body_headers(attributes: FileAttributes, part: Slice, disposition: str) -> dict[str, str]:
    headers = {
        "Content-Type": attributes.content_type,
        "Content-Length": str(part.size_bytes),
        "Accept-Ranges": "bytes",
        "Repr-Digest": digest_header(attributes.checksum),
        "Content-Disposition": content_disposition(disposition, attributes.original_filename),
        "X-Content-Type-Options": "nosniff",
    }
    if part.partial:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{attributes.size}"
    if disposition == "inline":
        headers["Content-Security-Policy"] = "sandbox"
    return headers


def content_disposition(disposition: str, filename: str) -> str:
    """RFC 6266: a plain ASCII name for old readers and the real one, percent-encoded, for the others."""
    plain = "".join(
        letter if " " <= letter <= "~" and letter not in '"\\%' else "_" for letter in filename
    )
    return f"{disposition}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
