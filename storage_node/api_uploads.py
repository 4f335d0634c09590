"""Wire calls that bring file bytes in: PUT of one file, and the form for people and `curl -F`.

Everything that can be refused without the body is refused before the first byte of it is asked for.
"""

import uuid
from concurrent.futures import Future
from datetime import datetime
from typing import Protocol

from starlette.requests import Request

from storage_node import drafts
from storage_node.answers import Answer, stored_answer
from storage_node.api_files import file_id_of
from storage_node.body import Writer, declared_bytes, pieces
from storage_node.call import Node, call_of
from storage_node.changes import Committed
from storage_node.drafts import Sender
from storage_node.errors import FileTooLarge
from storage_node.multipart_body import (
    MAX_OVERHEAD_BYTES,
    Fields,
    FormReader,
    NamedFile,
    boundary_of,
)
from storage_node.uploads import Upload

ATTRIBUTES_HEADER = b"x-artstore-attributes"


class UploadCalls:
    """Handlers over one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def put_file(self, request: Request) -> Answer:
        """Store the body under the id in the address."""
        sender = self._sender(request, file_id_of(request), declared_bytes(request))
        call, store = call_of(request.scope), self._node.store
        draft = drafts.from_header(call.header(ATTRIBUTES_HEADER), sender)
        # A caller who asks first is answered before the body comes, however small it is.
        begin = store.begin_upload if b"expect" in call.headers else store.begin_small_upload
        upload = begin(draft, self._node.clock())
        committed = await self._receive(request, upload)
        return stored_answer(committed.attributes, committed.created)

    async def upload_form(self, request: Request) -> Answer:
        """Store the file of a form under a new id. Fields may follow the file: they count when the form ends."""
        boundary = boundary_of(call_of(request.scope).header(b"content-type"))
        size_bytes = declared_bytes(request)
        if (
            size_bytes is not None
            and size_bytes > self._node.config.max_file_bytes + MAX_OVERHEAD_BYTES
        ):
            raise FileTooLarge(
                "The upload was refused: the form is larger than any file this element takes."
            )
        sender = self._sender(request, uuid.uuid4(), None)
        form = _FormUpload(self._node, sender, boundary)
        committed = await self._receive(request, form)
        call_of(request.scope).file_id = str(committed.attributes.file_id)
        return stored_answer(committed.attributes, committed.created)

    async def _receive(self, request: Request, target: "_Target") -> Committed:
        """The body into `target`, and the change made durable; whatever goes wrong leaves nothing."""
        writer = Writer(target.write, self._node.threads)
        change = None
        try:
            async for piece in pieces(request):
                await writer.put(piece)
            await writer.settle()
            change = target.commit(self._node.clock())
        finally:
            # From here on the change is the engine's, whatever becomes of this request.
            if change is None:
                await writer.drop()
                target.abort()
        return await self._node.bridge.wait(change)

    def _sender(self, request: Request, file_id: uuid.UUID, size_bytes: int | None) -> Sender:
        call = call_of(request.scope)
        assert call.principal is not None  # the route demands a scope
        digest = drafts.parse_digest(call.header(b"repr-digest") or call.header(b"content-digest"))
        return Sender(file_id, call.principal.subject, size_bytes, digest)


class _Target(Protocol):
    """Where a body goes: the engine's upload, or a form around one."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...
    def commit(self, now: datetime) -> "Future[Committed]": ...
    def abort(self) -> None: ...


class _FormUpload:
    """A form on its way in: the engine's upload begins when the file part does."""

    def __init__(self, node: Node, sender: Sender, boundary: str) -> None:
        self._node = node
        self._sender = sender
        self._upload: Upload | None = None
        self._reader = FormReader(boundary, self._begin)

    def _begin(self, file: NamedFile, fields: Fields) -> Upload:
        draft = drafts.from_form(file, fields, self._sender)
        self._upload = self._node.store.begin_upload(draft, self._node.clock())
        return self._upload

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Read the next piece of the form."""
        self._reader.feed(data)

    def commit(self, now: datetime) -> "Future[Committed]":
        """The form is whole: its file, described by all of its fields, becomes durable."""
        file = self._reader.finish()
        assert self._upload is not None  # a form with a file has begun one
        self._upload.redescribe(drafts.from_form(file, self._reader.fields, self._sender))
        return self._upload.commit(now)

    def abort(self) -> None:
        """Leave nothing behind."""
        if self._upload is not None:
            self._upload.abort()
