"""One upload under way: counts, hashes and keeps the body, small ones in memory, others as a part on disk.

Nothing of it is visible or durable before `commit` resolves. The body of a file that is there already is only compared:
hashed and thrown away. Checks that need no body ran before this object existed, in `store.py`.
"""

import hashlib
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from storage_node.attributes import FileAttributes, UploadDraft
from storage_node.capacity import Reservation
from storage_node.changes import Committed, PutFile, Received
from storage_node.element import Element
from storage_node.errors import (
    ChecksumMismatch,
    FileTooLarge,
    IncompleteBody,
    NodeError,
    NotWritable,
    ValidationFailed,
)

# Up to this a body travels inside its log record: one sync for many files instead of one each.
INSIDE_LIMIT_BYTES = 64 * 1024
SMALL_BYTES = 16 * 1024
HELD_BYTES = 2047
WRITE_BACK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Uploading:
    """What an upload needs of the store."""

    element: Element
    submit: Callable[[PutFile], None]
    syncer: Executor


class Upload:
    """Write all of the body, then `commit` or `abort`. One thread at a time."""

    def __init__(
        self, store: Uploading, draft: UploadDraft, reservation: Reservation, only_compare: bool
    ) -> None:
        self._store = store
        self._draft = draft
        self._reservation = reservation
        self._only_compare = only_compare
        self._hash = hashlib.sha256()
        self._inside: list[bytes] = []
        self._size_bytes = 0
        self._part: str | None = None
        self._fd = -1
        self._written_back_bytes = 0
        self._is_over = False
        declared = draft.declared_bytes
        if declared is not None and declared > INSIDE_LIMIT_BYTES and not only_compare:
            self._guard(lambda: self._open_part(declared))

    @property
    def size_bytes(self) -> int:
        """How much of the body has come."""
        return self._size_bytes

    def redescribe(self, draft: UploadDraft) -> None:
        """Replaces what was said of the file at the beginning: form fields may follow the file. Raises `ValidationFailed`."""
        draft.check()
        self._draft = replace(draft, declared_bytes=self._draft.declared_bytes)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """The next piece of the body. After an error the upload is over and nothing of it stays."""
        size_bytes = self._size_bytes + len(data)
        try:
            self._check_size(size_bytes)
            if not self._only_compare and self._draft.declared_bytes is None:
                self._reservation.cover(size_bytes)
        except NodeError:
            self.abort()
            raise
        self._size_bytes = size_bytes
        self._hash_in(data)
        if self._only_compare:
            return
        if self._part is None and size_bytes <= INSIDE_LIMIT_BYTES:
            self._inside.append(bytes(data))
            return
        self._guard(lambda: self._write_part(data))

    def _hash_in(self, data: bytes | bytearray | memoryview) -> None:
        """hashlib lets go of the interpreter for pieces of 2 KiB and more; for a small body, getting it back costs more."""
        if len(data) > SMALL_BYTES:
            self._hash.update(data)
            return
        for start in range(0, len(data), HELD_BYTES):
            self._hash.update(data[start : start + HELD_BYTES])

    def _check_size(self, size_bytes: int) -> None:
        limit_bytes = self._store.element.options.max_file_bytes
        if size_bytes > limit_bytes:
            raise FileTooLarge(
                f"Upload was refused: the body is larger than the {limit_bytes} bytes this element takes."
            )
        declared = self._draft.declared_bytes
        if declared is not None and size_bytes > declared:
            raise ValidationFailed(
                f"Upload was refused: the body is longer than the {declared} bytes declared."
            )

    def _guard(self, step: Callable[[], None]) -> None:
        """Runs a step on the disk; on failure the upload is over and the error has a name."""
        try:
            step()
        except OSError as error:
            self.abort()
            raise self._store.element.health.refusal("Upload", error) from error

    def _open_part(self, expected_bytes: int) -> None:
        disk = self._store.element.disk
        self._part, self._fd = disk.new_part()
        if expected_bytes:
            disk.medium.allocate(self._fd, expected_bytes)
            self._reservation.wrote(expected_bytes)

    def _write_part(self, data: bytes | bytearray | memoryview) -> None:
        if self._part is None:
            self._open_part(0)
        medium = self._store.element.disk.medium
        for piece in (*self._inside, data):
            medium.write(self._fd, piece)
        self._inside.clear()
        fresh_bytes = self._size_bytes - self._written_back_bytes
        if fresh_bytes >= WRITE_BACK_BYTES:
            medium.start_write_back(self._fd, self._written_back_bytes, fresh_bytes)
            self._written_back_bytes = self._size_bytes
        if self._draft.declared_bytes is None:
            self._reservation.wrote(len(data))

    def commit(self, now: datetime) -> Future[Committed]:
        """Ends the body. Raises when it is not what was promised; else the future tells what is stored."""
        checksum = self._hash.hexdigest()
        try:
            self._check_promises(checksum)
        except NodeError:
            self.abort()
            raise
        file = FileAttributes.of_upload(self._draft, self._size_bytes, checksum, now)
        has_body = self._part is None and not self._only_compare
        change = PutFile(
            Received(
                file, b"".join(self._inside) if has_body else None, self._part, self._reservation
            ),
            now,
        )
        self._is_over = True
        if self._fd >= 0:
            self._store.syncer.submit(self._sync_and_submit, change)
        else:
            self._store.submit(change)
        return change.future

    def _check_promises(self, checksum: str) -> None:
        declared = self._draft.declared_bytes
        if declared is not None and self._size_bytes < declared:
            raise IncompleteBody(
                f"Upload was refused: {declared} bytes were declared and {self._size_bytes} came."
            )
        if self._draft.sha256 is not None and checksum != self._draft.sha256:
            raise ChecksumMismatch(
                f"Upload was refused: the bytes received have sha256 {checksum}, not {self._draft.sha256}."
            )

    def _sync_and_submit(self, change: PutFile) -> None:
        """The part's bytes are durable before its record is written."""
        element = self._store.element
        try:
            element.disk.medium.sync(self._fd)
            element.disk.medium.close_file(self._fd)
        except OSError as error:
            element.health.fail(f"an upload could not be synced ({error})")
            self._drop()
            change.refuse(
                NotWritable("Upload was refused: the disk failed. Nothing was stored; reads go on.")
            )
            return
        self._fd = -1
        self._store.submit(change)

    def abort(self) -> None:
        """Ends the upload and leaves nothing of it. Does nothing after an error, a second time, or after `commit` returned."""
        if not self._is_over:
            self._is_over = True
            self._drop()

    def _drop(self) -> None:
        disk = self._store.element.disk
        if self._fd >= 0:
            with suppress(OSError):
                disk.medium.close_file(self._fd)
            self._fd = -1
        if self._part is not None:
            with suppress(OSError):  # a part that stays is removed at the next start
                disk.drop_part(self._part)
            self._part = None
        self._inside.clear()
        self._reservation.release()
