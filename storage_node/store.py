"""The storage element as one object: everything a door may ask of it, and the order in which it comes up and goes down.

Any thread may call. Reads answer at once; changes return futures that resolve when the change is durable, applied and
indexed. How a change comes through is `committer.py`, when the log is shortened `checkpoint.py`.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Protocol
from uuid import UUID

from storage_node.attributes import AttributesPatch, FileAttributes, UploadDraft, stamp
from storage_node.capacity import Capacity, Room
from storage_node.change import Answer, Change
from storage_node.changes import (
    SLACK_BYTES,
    AbandonFile,
    ChangeMode,
    DeleteFile,
    EditFile,
    refuse_gone,
)
from storage_node.checkpoint import Checkpointer
from storage_node.clock_trust import ClockTrust
from storage_node.committer import Committer
from storage_node.content import Content as Content
from storage_node.content import Seen, content_in_memory, open_content
from storage_node.content import read_again as read_content_again
from storage_node.directory import NodeDirectory
from storage_node.disk import MODE_FILE, NODE_FILE
from storage_node.element import Element
from storage_node.errors import (
    FileDamaged,
    FileTooLarge,
    NodeError,
    NotFound,
    RefusedToStart,
    StorageFull,
)
from storage_node.feed import Feed
from storage_node.headroom import Headroom
from storage_node.health import NO_ROOM, Health
from storage_node.index import Index, LogBounds, why_unusable
from storage_node.index_reading import ChangePage, Page, Reading, Totals
from storage_node.index_reading import ListQuery as ListQuery
from storage_node.index_rebuild import Effort, Origin, discard
from storage_node.index_rebuild import rebuild as rebuild_index
from storage_node.index_schema import Row
from storage_node.modes import ALLOWED, ModeState, Operation
from storage_node.modes import ModeChange as ModeChange
from storage_node.records import Record
from storage_node.redo import redo
from storage_node.upkeep import GarbageTally, MarkDamage
from storage_node.uploads import INSIDE_LIMIT_BYTES, Uploading
from storage_node.uploads import Upload as Upload
from storage_node.wal import Log
from storage_node.wal_scan import LogScan, replayed, scan

SYNCING_THREADS = 4
_TAIL_CHUNK = 500
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file as the index knows it. `damaged` names the finding, None when the file is well."""

    attributes: FileAttributes
    change: int
    verified_at: datetime | None
    damaged: str | None


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """The element at one moment. `clock_reason` says why the clock can not be believed, None when it can."""

    storage_id: str
    instance_id: UUID
    epoch: str
    mode: str
    mode_since: str
    status: str
    status_reasons: list[str]
    allowed_operations: list[str]
    room: Room
    counts: Totals
    last_change: int
    last_reconcile: dict[str, Any] | None
    log_bytes: int
    clock_reason: str | None

    @property
    def clock_trusted(self) -> bool:
        """Whether bytes may be freed by this clock."""
        return self.clock_reason is None

    @property
    def capacity(self) -> dict[str, int]:
        """Room as the wire names it."""
        return {
            "capacity_bytes": self.room.capacity_bytes,
            "used_bytes": self.room.used_bytes,
            "reserved_bytes": self.room.reserved_bytes,
            "available_bytes": self.room.available_bytes,
        }

    def to_wire(self) -> dict[str, Any]:
        """What `/info` adds for those who may see it."""
        return {
            "status_reasons": self.status_reasons,
            "epoch": self.epoch,
            "last_change": self.last_change,
            "allowed_operations": self.allowed_operations,
            "capacity": self.capacity,
            "counts": self.counts,
            "last_reconcile": self.last_reconcile,
            "clock": {"trusted": self.clock_trusted, "reason": self.clock_reason},
        }


class ReconcileRun(Protocol):
    """A reconcile under way, as those see it who only want to show it."""

    def report(self) -> dict[str, Any]: ...


class Store:
    """An open storage element. Made by `Store.open`."""

    def __init__(self, directory: NodeDirectory, element: Element, now: datetime) -> None:
        options = directory.options
        self.directory = directory
        self.element = element
        self.committer = Committer(element)
        self.checkpointer = Checkpointer(element, self.committer)
        self.clock = ClockTrust(now, options.gc_interval_seconds, options.monotonic)
        self._feed = Feed(element.reading)
        self.garbage = GarbageTally()
        # What the element does to itself besides: one reconcile at a time, and the one under way to be shown.
        self.reconcile_lock = threading.Lock()
        self.reconcile_run: ReconcileRun | None = None
        syncer = ThreadPoolExecutor(SYNCING_THREADS, thread_name_prefix="sync")
        self._uploading = Uploading(element, self.committer.submit, syncer)
        self._syncer = syncer

    # Coming up and going down

    @classmethod
    def open(
        cls,
        directory: NodeDirectory,
        now: datetime,
        rebuild: bool = False,
        is_stopping: Callable[[], bool] = bool,
    ) -> "Store":
        """Cuts the log's tail, replays it, brings the index up to date or makes a new one; blocks until all is ready, or
        raises `ToldToStop` when `is_stopping` says so while a new index is being made."""
        try:
            if rebuild:
                discard(directory.disk)
            store, missing = _come_up(directory, now, is_stopping)
        except (OSError, sqlite3.Error) as error:
            raise RefusedToStart(
                f"{directory.options.data_dir} could not be opened: {error}. Look at the disk, then start again."
            ) from error
        store.committer.start()
        store.checkpointer.start()
        for file_id in missing:
            store.submit(MarkDamage(file_id, "missing_file", now)).result()
        return store

    def close(self) -> None:
        """Finishes what was accepted, makes a checkpoint and lets go of the directory."""
        self._syncer.shutdown()
        self.committer.stop()
        self.checkpointer.stop()
        self.checkpointer.checkpoint()
        self.element.reading.close()
        with suppress(sqlite3.Error):
            self.element.index.close()
        self.element.log.close()
        self.directory.close()

    # Changes

    def submit(self, change: Change[Answer]) -> Future[Answer]:
        """Hands any change over; the future resolves when it is durable, applied and indexed."""
        self.committer.submit(change)
        return change.future

    def begin_upload(self, draft: UploadDraft, now: datetime) -> Upload:
        """Refuses all that can be refused without the body, and sets room aside."""
        element = self.element
        draft.check()
        declared = draft.declared_bytes or 0
        if declared > element.options.max_file_bytes:
            raise FileTooLarge(
                f"Upload was refused: {declared} bytes are more than the {element.options.max_file_bytes} this element takes."
            )
        row, ending = element.reading.row_or_ending(draft.file_id)
        refuse_gone("Upload", row, ending, now)
        element.mode.require(Operation.UPLOAD)
        element.health.require_writable()
        if row is None and element.headroom.is_given_up:
            raise StorageFull("Upload was refused: the disk is full. Nothing was stored.")
        # A file that is here already needs no room: its bytes are only compared.
        reservation = element.capacity.reserve(0 if row else declared)
        return Upload(self._uploading, draft, reservation, only_compare=row is not None)

    def begin_small_upload(self, draft: UploadDraft, now: datetime) -> Upload:
        """As `begin_upload`, for a body that travels inside its record and is on its way whatever is answered: what is
        known of its id is asked once, for a whole batch, when it is committed."""
        element, declared = self.element, draft.declared_bytes
        if declared is None or declared > INSIDE_LIMIT_BYTES or element.headroom.is_given_up:
            return self.begin_upload(draft, now)
        draft.check()
        try:
            element.mode.require(Operation.UPLOAD)
            element.health.require_writable()
            reservation = element.capacity.reserve(declared)
        except NodeError:
            # What the id has become is a better reason than these, and a file that is here already needs no room.
            return self.begin_upload(draft, now)
        return Upload(self._uploading, draft, reservation, only_compare=False)

    def edit(
        self, file_id: UUID, patch: AttributesPatch, if_revision: int | None, now: datetime
    ) -> Future[FileAttributes]:
        """Replaces description, tags or metadata."""
        patch.check()
        return self.submit(EditFile(file_id, patch, if_revision, now))

    def delete(
        self, file_id: UUID, if_revision: int | None, now: datetime
    ) -> Future[FileAttributes]:
        """Marks a file deleted."""
        return self.submit(DeleteFile(file_id, if_revision, now))

    def abandon(self, file_id: UUID, now: datetime) -> Future[FileAttributes | None]:
        """Closes an id for good unless its file is here: then that file comes back."""
        return self.submit(AbandonFile(file_id, now))

    def transition_mode(
        self, target: str, confirm: bool, by: str, now: datetime
    ) -> Future[ModeChange]:
        """Changes the mode."""
        return self.submit(ChangeMode(target, confirm, by, now))

    def checkpoint(self) -> bool:
        """Makes everything applied durable in the files and shortens the log."""
        return self.checkpointer.checkpoint()

    # Reading

    def get(self, file_id: UUID, now: datetime) -> StoredFile:
        """A file's attributes; raises `NotFound`, `FileGone`, or `FileDamaged` where they can not be read."""
        row = self._row("Reading the attributes", file_id, now)
        file = row.file
        if file is None:
            raise FileDamaged(
                f"Reading the attributes was refused: those of {file_id} are not readable. An operator has to look."
            )
        verified_at = datetime.fromtimestamp(row.verified_at, UTC) if row.verified_at else None
        return StoredFile(file, row.change, verified_at, row.damage)

    def open_content(self, file_id: UUID, now: datetime) -> Content:
        """The bytes of a file, to be closed by the caller."""
        row = self._row("Download", file_id, now)
        self.element.mode.require(Operation.DOWNLOAD)
        body, file = self.committer.bodies.get(file_id), row.file
        if body is not None and file is not None:
            return content_in_memory(file, body)
        return open_content(
            self.element.disk, row, lambda finding: self._found_damaged(row, finding, now)
        )

    def read_again(self, seen: Seen, now: datetime) -> bytes | None:
        """The whole of a small file that was opened before; None where anything may have changed since: then open it."""
        row, element = seen.row, self.element
        if (
            element.reading.remembered(row.file_id) is not row
            or row.file_id in self.committer.bodies
        ):
            return None
        if row.expires_at is not None and row.expires_at <= stamp(now):
            return None
        return (
            read_content_again(element.disk, seen)
            if element.mode.allows(Operation.DOWNLOAD)
            else None
        )

    def _found_damaged(self, row: Row, finding: str, now: datetime) -> None:
        """A reader met what reconcile would find later: it is made known at once, where that is possible."""
        if self.element.health.failure is None and row.file_id not in self.committer.in_hand:
            self.submit(MarkDamage(row.file_id, finding, now, row.revision))

    def _row(self, attempted: str, file_id: UUID, now: datetime) -> Row:
        reading = self.element.reading
        row, ending = reading.row_or_ending(file_id)
        refuse_gone(attempted, row, ending, now)
        if row is not None:
            return row
        # Not found only when index and disk agree. A change under way shows on disk a moment before it is acknowledged.
        traces = (
            self.element.disk.traces_of(file_id) if file_id not in self.committer.in_hand else []
        )
        if traces and reading.find(file_id) is None and file_id not in self.committer.in_hand:
            raise FileDamaged(
                f"{attempted} was refused: {file_id} is on the disk and not in the index. Run reconcile."
            )
        raise NotFound(f"{attempted} was refused: there is no file {file_id}.")

    def list_page(self, query: ListQuery, now: datetime) -> Page:
        """A page of files in order of arrival."""
        return self.element.reading.page(query, now)

    def changes(self, epoch: str | None, since: int, limit: int) -> ChangePage:
        """The feed after `since`; raises `ResyncRequired` where it does not reach back."""
        return self._feed.page(epoch, since, limit)

    def totals(self) -> Totals:
        """Files, bytes and revisions per recorded status."""
        return self.element.reading.overview().totals

    def info(self, now: datetime) -> StoreInfo:
        """Everything an operator asks first."""
        element = self.element
        overview = element.reading.overview()
        reasons = element.health.reasons
        return StoreInfo(
            storage_id=self.directory.storage_id,
            instance_id=self.directory.instance_id,
            epoch=overview.epoch,
            mode=element.mode.mode,
            mode_since=element.mode.since,
            status="degraded" if reasons else "ok",
            status_reasons=reasons,
            allowed_operations=[operation.value for operation in ALLOWED[element.mode.mode]],
            room=element.capacity.room(),
            counts=overview.totals,
            last_change=overview.last_change,
            last_reconcile=overview.report,
            log_bytes=element.log.size_bytes,
            clock_reason=self.clock.doubt(now, overview.newest_at),
        )

    @property
    def epoch(self) -> str:
        """The random name of the index's life; change numbers of different epochs do not compare."""
        return self.element.index.at.epoch

    def note_trusted_clock(self, issued_at: int, now: datetime) -> None:
        """A token was verified: its `iat` is a witness for the clock."""
        self.clock.note_token(issued_at, now)

    def check_directory(self) -> None:
        """Degrades the element when its path no longer leads to the directory it holds: a lost or replaced mount."""
        if not self.element.disk.medium.is_same_directory():
            self.element.health.fail(
                "the data directory is no longer the one opened at start: was the disk unmounted?"
            )


def _come_up(
    directory: NodeDirectory, now: datetime, is_stopping: Callable[[], bool]
) -> tuple[Store, list[UUID]]:
    options, disk, medium = directory.options, directory.disk, directory.disk.medium
    found = scan(medium, directory.identity.log_id)
    headroom = Headroom(medium, options.headroom_bytes)
    live = _resume(directory, found, headroom)
    redone = redo(disk, found)
    index = _index(directory, found, Effort(options.index_readers, is_stopping))
    for part in disk.parts():
        # Only now: every part a record names has been renamed, so the rest belongs to nobody.
        disk.drop_part(part)
    log.info(
        "opened",
        extra={
            "event": "opened",
            "replayed_records": redone.records,
            "missing_files": len(redone.missing),
        },
    )
    kept_free_bytes = max(options.min_free_disk_bytes, SLACK_BYTES)
    capacity = Capacity(options.max_capacity_bytes, kept_free_bytes, medium.free_bytes)
    capacity.begin(index.at.held, disk.quarantine_bytes())
    mode = ModeState.from_json(medium.read(MODE_FILE))
    reading = Reading(options.data_dir, index.remembered)
    element = Element(options, disk, live, index, reading, capacity, Health(), headroom, mode)
    return Store(directory, element, now), redone.missing


def _resume(directory: NodeDirectory, found: LogScan, headroom: Headroom) -> Log:
    """The log from where it ended; on a full disk the headroom makes way for its next segment."""
    medium, log_id = directory.disk.medium, directory.identity.log_id
    try:
        return Log.resume(medium, log_id, found, directory.options.segment_bytes)
    except OSError as error:
        if error.errno not in NO_ROOM or not headroom.give_up():
            raise
    return Log.resume(medium, log_id, found, directory.options.segment_bytes)


def _index(directory: NodeDirectory, found: LogScan, effort: Effort) -> Index:
    """The index at the end of the log."""
    options, disk = directory.options, directory.disk
    log_id, inode = directory.identity.log_id, disk.medium.inode(NODE_FILE)
    fault = why_unusable(
        options.data_dir, LogBounds(log_id, found.oldest_lsn, found.last_lsn), inode
    )
    if fault is not None:
        files = rebuild_index(disk, Origin(log_id, found.last_lsn, inode), effort)
        log.warning(
            "index rebuilt: it was %s", fault, extra={"event": "index_rebuilt", "files": files}
        )
    index = Index(options.data_dir)
    tail = replayed(disk.medium, found, index.at.lsn + 1)
    while chunk := _take(tail, _TAIL_CHUNK):
        index.apply(chunk[0][0], [record for _, record in chunk])
    return index


def _take(entries: Iterator[tuple[int, Record]], count: int) -> list[tuple[int, Record]]:
    return list(islice(entries, count))
