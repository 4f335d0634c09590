"""The one thread that changes the element: it gathers waiting changes into a batch and brings them through together.

Per batch: decide and prepare each -> names of parts synced -> one append, one sync -> apply files in log order -> index
rows and position in one transaction -> answers. (A batch of nothing but small uploads writes its files after the answers:
the log holds them, and readers get them from memory for that moment.) Because one thread checks and applies everything, no two changes of a
file can cross, and what a reader sees is always the state after some whole batch.
"""

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any
from uuid import UUID

from storage_node.change import Change
from storage_node.element import Element
from storage_node.errors import NodeError, NotWritable, OutcomeUnknown
from storage_node.health import NO_ROOM
from storage_node.records import Record
from storage_node.wal import AppendUndone, LogBroken

BATCH_LIMIT_CHANGES = 256
RETRY_SECONDS = 1.0
log = logging.getLogger(__name__)


class _Broken(Exception):
    """The batch is durable and could not be applied; the element is degraded."""


class Committer:
    """Takes changes from any thread; `submit` never blocks."""

    def __init__(self, element: Element) -> None:
        self._element = element
        self._queue: SimpleQueue[Change[Any] | None] = SimpleQueue()
        self._waiting: deque[Change[Any]] = deque()
        self._batch: list[Change[Any]] = []
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._stopping = threading.Event()
        # Set by the checkpoint: holds an append back while the log is at its bound, hears of each batch, and may find
        # room on a full disk, because behind it the log and the index's own log begin anew.
        self.before_append: Callable[[], None] = lambda: None
        self.after_batch: Callable[[], None] = lambda: None
        self.ask_for_room: Callable[[], None] = lambda: None
        self.applied_lsn = element.log.last_lsn
        # Ids of the batch in hand: on disk some of it may show before the index does.
        self.in_hand: frozenset[UUID] = frozenset()
        # Bodies of files that are durable, in the index, and about to be written to their places.
        self.bodies: dict[UUID, bytes] = {}

    def start(self) -> None:
        """Begins to work."""
        self._thread.start()

    def submit(self, change: Change[Any]) -> None:
        """Hands a change over; its future tells how it went."""
        if self._stopping.is_set():
            change.refuse(NotWritable(f"{change.attempted} was refused: the node is stopping."))
            return
        self._queue.put(change)

    def stop(self) -> None:
        """Finishes what was handed over, then ends the thread."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        finished = False
        try:
            while (batch := self._gather()) is not None:
                self._batch = batch
                self._bring_through(batch)
                # Not kept alive while waiting for the next one: bodies may be large.
                self._batch = batch = []
            finished = True
        finally:
            if not finished:
                self._element.health.fail("the thread that writes has ended, see the log")
                self._leave_open([change for change in self._batch if not change.future.done()])
            self._refuse_rest()

    def _refuse_rest(self) -> None:
        while True:
            try:
                change = self._waiting.popleft() if self._waiting else self._queue.get_nowait()
            except Empty:
                return
            if change is not None:
                change.element = self._element
                change.discard()
                change.refuse(
                    NotWritable(f"{change.attempted} was refused: the node no longer writes.")
                )

    def _gather(self) -> list[Change[Any]] | None:
        """The next batch: waits for one change, takes what else is there. None when it is time to end."""
        if not self._waiting:
            first = self._queue.get()
            if first is None:
                return None
            self._waiting.append(first)
        is_last = self._drain()
        if is_last:
            # The end marker stays behind everything handed over before it.
            self._queue.put(None)
        return self._pick()

    def _drain(self) -> bool:
        while len(self._waiting) < BATCH_LIMIT_CHANGES:
            try:
                change = self._queue.get_nowait()
            except Empty:
                return False
            if change is None:
                return True
            self._waiting.append(change)
        return False

    def _pick(self) -> list[Change[Any]]:
        """The longest beginning of the queue that may share a batch: one change per file, a lone change alone."""
        batch: list[Change[Any]] = []
        files: set[UUID] = set()
        weight_bytes = 0
        while self._waiting and len(batch) < BATCH_LIMIT_CHANGES:
            change = self._waiting[0]
            weight_bytes += change.weight_bytes
            blocked = change.file_id in files or (
                batch and (change.is_alone or weight_bytes > self._element.log.batch_limit_bytes)
            )
            if blocked:
                break
            batch.append(self._waiting.popleft())
            if change.file_id is not None:
                files.add(change.file_id)
            if change.is_alone:
                break
        return batch

    def _bring_through(self, batch: list[Change[Any]]) -> None:
        self.in_hand = frozenset(change.file_id for change in batch if change.file_id is not None)
        self._element.disk.look_again()
        self._element.index.expect([*self.in_hand])
        ready = [change for change in batch if self._make_ready(change)]
        if ready and self._sync_parts(ready):
            first_lsn = self._append(ready)
            if first_lsn is not None:
                self._finish(ready, first_lsn)
        self.in_hand = frozenset()
        self.after_batch()

    def _make_ready(self, change: Change[Any]) -> bool:
        """Decides and prepares one change; False when it is answered or refused already."""
        element = change.element = self._element
        try:
            element.health.require_writable()
            decided = change.decide()
            if not isinstance(decided, Record):
                change.resolve(decided)
                return False
            change.record = decided
            self._prepare(change)
        except NodeError as error:
            change.discard()
            change.refuse(error)
            return False
        except OSError as error:
            change.discard()
            change.refuse(element.health.refusal(change.attempted, error))
            return False
        return True

    def _prepare(self, change: Change[Any]) -> None:
        try:
            change.prepare()
        except OSError as error:
            if (
                error.errno not in NO_ROOM
                or not change.may_use_headroom
                or not self._element.headroom.give_up()
            ):
                raise
            self.ask_for_room()
            change.discard()
            change.prepare()

    def _sync_parts(self, ready: list[Change[Any]]) -> bool:
        if not any(change.needs_parts_synced for change in ready):
            return True
        try:
            self._element.disk.sync_parts()
        except OSError as error:
            self._refuse_all(ready, error)
            return False
        return True

    def _refuse_all(self, ready: list[Change[Any]], error: OSError) -> None:
        for change in ready:
            change.discard()
            change.refuse(self._element.health.refusal(change.attempted, error))

    def _append(self, ready: list[Change[Any]]) -> int | None:
        self.before_append()
        try:
            self._element.health.require_writable()
            return self._element.log.append(_records(ready))
        except NodeError as error:
            for change in ready:
                change.discard()
                change.refuse(error)
        except AppendUndone as undone:
            self._refuse_all(ready, undone.error)
        except LogBroken as broken:
            self._element.health.fail(f"the log could not be synced ({broken})")
            self._leave_open(ready)
        return None

    def _leave_open(self, changes: list[Change[Any]]) -> None:
        """The record may be on disk: neither success nor refusal can be promised, and no part may be touched."""
        for change in changes:
            change.refuse(
                OutcomeUnknown(
                    f"{change.attempted}: the disk failed while it was being made durable. Ask again what is stored."
                )
            )

    def _finish(self, ready: list[Change[Any]], first_lsn: int) -> None:
        """Files, index, answers. Where no answer needs the files they come last: callers go on while they are written."""
        files_can_wait = all(change.needs_no_files_to_answer for change in ready)
        try:
            if files_can_wait:
                self.bodies = {
                    record.file.file_id: record.body for record in _records(ready) if record.file
                }
                self._index(ready, first_lsn)
                self._apply(ready)
            else:
                self._apply(ready)
                self._index(ready, first_lsn)
        except _Broken:
            self._leave_open([change for change in ready if not change.future.done()])
            return
        self.applied_lsn = first_lsn + len(ready) - 1
        self.bodies = {}

    def _apply(self, ready: list[Change[Any]]) -> None:
        for change in ready:
            self._insist(change.apply)

    def _index(self, ready: list[Change[Any]], first_lsn: int) -> None:
        element = self._element
        self._insist(lambda: element.index.apply(first_lsn, _records(ready)))
        element.capacity.set_held(element.index.at.held)
        for change in ready:
            change.resolve(change.answer())

    def _insist(self, step: Callable[[], None]) -> None:
        """Runs a step that follows from a durable record: it can wait for room, but it can not be refused any more."""
        element = self._element
        while True:
            try:
                step()
                element.health.lack("changes", None)
                return
            except (OSError, sqlite3.Error) as error:
                if not self._is_for_want_of_room(error):
                    element.health.fail(f"a durable change could not be applied ({error})")
                    log.exception(
                        "a durable change could not be applied", extra={"event": "apply_failed"}
                    )
                    raise _Broken from error
                self.ask_for_room()
                if element.headroom.give_up():
                    continue
                element.health.lack("changes", "the disk is full: changes wait for room")
                if self._stopping.wait(RETRY_SECONDS):
                    # Replay finishes at the next start what there is no room for now.
                    element.health.fail("stopped while the disk was full")
                    raise _Broken from error

    def _is_for_want_of_room(self, error: OSError | sqlite3.Error) -> bool:
        if isinstance(error, OSError):
            return error.errno in NO_ROOM
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_IOERR:
            # SQLite says "I/O error" when its shared memory can not grow; a disk that is full explains it.
            return self._element.disk.medium.free_bytes() < 2**20
        return code == sqlite3.SQLITE_FULL


def _records(changes: list[Change[Any]]) -> list[Record]:
    return [change.record for change in changes]
