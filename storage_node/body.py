"""A request's body on its way in: taken in large pieces, each written by one call in a worker thread.

While one piece is hashed and written the next is received; a small body is written in place, because a hop to a thread
costs more than the work. Knows pieces, not files: whoever calls says where a piece goes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from typing import Any

from starlette.requests import Request

from storage_node.call import call_of
from storage_node.errors import ClientLeft, FileTooLarge

INLINE_BYTES = 64 * 1024
MAX_JSON_BYTES = 256 * 1024


async def pieces(request: Request) -> AsyncIterator[bytearray]:
    """The body as it comes; raises ClientLeft when the connection ends before the body does."""
    call = call_of(request.scope)
    receive: Any = request.receive
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        piece, more = message["body"], message["more_body"]
        call.bytes_in += len(piece)
        if piece:
            yield piece


def declared_bytes(request: Request) -> int | None:
    """`Content-Length`, which the HTTP parser has already found to be a number; None for a chunked body."""
    call = call_of(request.scope)
    text = call.headers.get(b"content-length")
    if text is None or b"transfer-encoding" in call.headers:
        return None
    return int(text)


class Writer:
    """Writes pieces in order, one at a time, in a worker thread, and lets the caller receive meanwhile."""

    def __init__(
        self, write: Callable[[bytearray | bytes | memoryview], None], threads: Executor
    ) -> None:
        self._write = write
        self._threads = threads
        self._under_way: asyncio.Future[None] | None = None

    async def put(self, piece: bytearray | bytes | memoryview) -> None:
        """Have the piece written; returns when the one before it has been. Raises what writing that one raised."""
        if self._under_way is None and len(piece) <= INLINE_BYTES:
            self._write(piece)
            return
        await self.settle()
        self._under_way = asyncio.get_running_loop().run_in_executor(
            self._threads, self._write, piece
        )

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            await under_way

    async def drop(self) -> None:
        """As `settle`, for a body given up: what its last write raised does not matter any more."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            await asyncio.wait([under_way])
            under_way.cancelled() or under_way.exception()


async def read_json_bytes(request: Request) -> bytes:
    """A small body whole; larger than any JSON this node reads is refused while it comes."""
    gathered = bytearray()
    size_bytes = declared_bytes(request)
    if size_bytes is not None and size_bytes > MAX_JSON_BYTES:
        raise FileTooLarge("The request was refused: its JSON body is larger than 256 KiB.")
    async for piece in pieces(request):
        gathered += piece
        if len(gathered) > MAX_JSON_BYTES:
            raise FileTooLarge("The request was refused: its JSON body is larger than 256 KiB.")
    return bytes(gathered)
