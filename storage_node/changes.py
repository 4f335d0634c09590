"""The changes callers ask for: upload, edit, delete, abandon, mode. Each says what it checks, records and does.

Checks run in the committer's thread, one after another and against everything recorded before, so two changes of one file
can not both pass on the same old state. The order of log, files and index is `committer.py`'s.
"""

import errno
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from storage_node.attributes import ACTIVE, DELETED, EXPIRED, AttributesPatch, FileAttributes, stamp
from storage_node.capacity import Reservation
from storage_node.change import Change
from storage_node.disk import MODE_FILE
from storage_node.errors import (
    Conflict,
    FileDamaged,
    FileGone,
    NotFound,
    PreconditionFailed,
    StorageFull,
)
from storage_node.index_schema import Row
from storage_node.modes import ModeChange, ModeState, Operation
from storage_node.records import Kind, Record

# A body inside a record becomes a file only after the record: this much must be free beyond it for names and index.
SLACK_BYTES = 1024 * 1024
LAST_SLACK_BYTES = 64 * 1024
ABANDONED = "abandoned"
OVER = (EXPIRED, DELETED, ABANDONED)


@dataclass(frozen=True, slots=True)
class Committed:
    """An upload that stands. `created` is False when the same bytes were there already."""

    attributes: FileAttributes
    created: bool


@dataclass(frozen=True, slots=True)
class Received:
    """A body as it arrived: inside (`body`), as a synced part (`part`), or only compared and thrown away (neither)."""

    file: FileAttributes
    body: bytes | None
    part: str | None
    reservation: Reservation


def refuse_gone(attempted: str, row: Row | None, tombstone: str | None, now: datetime) -> None:
    """Raises `FileGone` for a file or an id that is over."""
    status = tombstone
    if row is not None:
        overdue = (
            row.status == ACTIVE and row.expires_at is not None and row.expires_at <= stamp(now)
        )
        status = EXPIRED if overdue else row.recorded_status
    if status in OVER:
        raise FileGone(f"{attempted} was refused: the file is {status}.", status)


class PutFile(Change[Committed]):
    """The file appears, with the attributes it was uploaded with."""

    attempted = "Upload"

    def __init__(self, received: Received, now: datetime) -> None:
        super().__init__(now, received.file.file_id)
        self._received = received
        self._content_part = received.part
        self._attributes_part: str | None = None

    @property
    def weight_bytes(self) -> int:
        return 4096 + len(self._received.body or b"")

    @property
    def needs_parts_synced(self) -> bool:
        return self._received.part is not None

    @property
    def needs_no_files_to_answer(self) -> bool:  # type: ignore[override]  # a body inside decides
        return self._received.body is not None

    def decide(self) -> Record | Committed:
        file, index = self._received.file, self.element.index
        row = index.find(file.file_id)
        if row is None:
            refuse_gone(self.attempted, None, index.tombstone_status(file.file_id), self.now)
            return self._record()
        refuse_gone(self.attempted, row, None, self.now)
        stored = row.file
        if row.damage is not None:
            raise FileDamaged(
                f"Upload was refused: {file.file_id} is here and damaged ({row.damage}). An operator has to look."
            )
        if stored is None or stored.checksum != file.checksum or stored.size != file.size:
            raise Conflict(f"Upload was refused: {file.file_id} already holds other bytes.")
        self.discard()
        return Committed(stored, created=False)

    def _record(self) -> Record:
        received = self._received
        if received.body is None and received.part is None:
            raise Conflict(
                "Upload was refused: the file it was compared with went away meanwhile. Send it again."
            )
        if self.element.headroom.is_given_up:
            raise StorageFull("Upload was refused: the disk is full. Nothing was stored.")
        if received.part is not None:
            return Record(Kind.PUT, received.file, {"part": received.part})
        return Record(Kind.PUT, received.file, {}, received.body or b"")

    def prepare(self) -> None:
        file, disk = self._received.file, self.element.disk
        disk.make_room_for_name(file.file_id)
        if self._received.part is not None:
            self._attributes_part = disk.write_part(file.file_bytes)
            disk.settle_directory(file.file_id)
        elif disk.free_bytes() < self.weight_bytes + SLACK_BYTES:
            raise OSError(errno.ENOSPC, "the disk has no room for another file")

    def apply(self) -> None:
        received = self._received
        if received.body is not None:
            self.element.disk.put_file(received.file, received.body)
            return
        # Content before attributes: attributes on disk promise that the bytes are there.
        if self._content_part is not None:
            self.element.disk.place_content(self._content_part, received.file)
            self._content_part = None
        if self._attributes_part is not None:
            self.element.disk.place_attributes(self._attributes_part, received.file)
            self._attributes_part = None

    def answer(self) -> Committed:
        self._received.reservation.release()
        return Committed(self._received.file, created=True)

    def discard(self) -> None:
        for part in (self._content_part, self._attributes_part):
            if part is not None:
                with suppress(OSError):  # a part that stays is removed at the next start
                    self.element.disk.drop_part(part)
        self._content_part = self._attributes_part = None
        self._received.reservation.release()


class SetAttributes(Change[FileAttributes]):
    """A file's attributes become their next revision; which one, the subclass says."""

    def prepare(self) -> None:
        assert self.record.file is not None
        self.element.disk.make_room_for_name(self.record.file.file_id)
        slack_bytes = LAST_SLACK_BYTES if self.may_use_headroom else SLACK_BYTES
        if self.element.disk.medium.free_bytes() < slack_bytes:
            raise OSError(errno.ENOSPC, "the disk has no room for other attributes")

    def apply(self) -> None:
        assert self.record.file is not None
        self.element.disk.put_attributes(self.record.file)

    def answer(self) -> FileAttributes:
        assert self.record.file is not None
        return self.record.file

    def _row(self, file_id: UUID) -> Row:
        """The row of a file that is there; raises when it never was or is over."""
        row = self.element.index.find(file_id)
        refuse_gone(
            self.attempted,
            row,
            None if row else self.element.index.tombstone_status(file_id),
            self.now,
        )
        if row is None:
            raise NotFound(f"{self.attempted} was refused: there is no file {file_id}.")
        return row


def _require_revision(attempted: str, file: FileAttributes, wanted: int | None) -> None:
    if wanted is not None and file.revision != wanted:
        raise PreconditionFailed(
            f"{attempted} was refused: the file is at revision {file.revision}, not {wanted}. Read it again."
        )


class EditFile(SetAttributes):
    """Description, tags or metadata are replaced."""

    attempted = "Edit"

    def __init__(
        self, file_id: UUID, patch: AttributesPatch, if_revision: int | None, now: datetime
    ) -> None:
        super().__init__(now, file_id)
        self._id = file_id
        self._patch = patch
        self._if_revision = if_revision

    def decide(self) -> Record | FileAttributes:
        row = self._row(self._id)
        self.element.mode.require(Operation.UPDATE)
        file = row.file
        if file is None:
            raise FileDamaged(
                "Edit was refused: the attributes of this file can not be read. An operator has to look."
            )
        _require_revision(self.attempted, file, self._if_revision)
        if self.element.headroom.is_given_up:
            raise StorageFull("Edit was refused: the disk is full. Nothing was changed.")
        return Record(Kind.SET, file.edited(self._patch, self.now))


class DeleteFile(SetAttributes):
    """The file is marked deleted; garbage collection frees its bytes."""

    attempted = "Delete"
    may_use_headroom = True

    def __init__(self, file_id: UUID, if_revision: int | None, now: datetime) -> None:
        super().__init__(now, file_id)
        self._id = file_id
        self._if_revision = if_revision

    def decide(self) -> Record | FileAttributes:
        row = self._row(self._id)
        self.element.mode.require(Operation.DELETE)
        file = row.file
        if file is None:
            raise FileDamaged(
                "Delete was refused: the attributes of this file can not be read. An operator has to look."
            )
        _require_revision(self.attempted, file, self._if_revision)
        return Record(Kind.SET, file.deleted(self.now))


class AbandonFile(Change[FileAttributes | None]):
    """An id is closed for good unless its file is here. Answers the file, or None when the id is closed."""

    attempted = "Abandon"
    may_use_headroom = True

    def __init__(self, file_id: UUID, now: datetime) -> None:
        super().__init__(now, file_id)
        self._id = file_id

    def decide(self) -> Record | FileAttributes | None:
        row = self.element.index.find(self._id)
        if row is not None:
            if row.file is None:
                raise FileDamaged(
                    "Abandon was refused: there is a file of this id whose attributes can not be read."
                )
            return row.file if row.recorded_status == ACTIVE else None
        if self.element.index.tombstone_status(self._id) is not None:
            return None
        return Record(
            Kind.TOMBSTONE,
            facts={"file_id": str(self._id), "status": ABANDONED, "at": stamp(self.now)},
        )

    def answer(self) -> None:
        return None


class ChangeMode(Change[ModeChange]):
    """The mode becomes another. Alone in its batch: what comes before obeys the old mode, what comes after the new."""

    attempted = "Mode change"
    is_alone = True
    may_use_headroom = True

    def __init__(self, target: str, confirm: bool, by: str, now: datetime) -> None:
        super().__init__(now)
        self._target, self._confirm, self._by = target, confirm, by
        self._next: ModeState | None = None
        self._previous = ""

    def decide(self) -> Record | ModeChange:
        self._previous = self.element.mode.mode
        self._next = self.element.mode.become(self._target, self._confirm, self._by, self.now)
        return Record(Kind.MODE, facts=self._next.to_facts())

    def apply(self) -> None:
        assert self._next is not None
        self.element.disk.write_whole(MODE_FILE, self._next.to_json())
        self.element.mode = self._next

    def answer(self) -> ModeChange:
        return ModeChange(self._previous, self.element.mode.mode, self.now)
