"""Checkpoints: everything applied so far is made durable in the files and the index, then the log behind it goes.

By size, by time, on demand and at a clean stop; one at a time, in a thread of its own, while the committer goes on. Any
error stops a checkpoint before it drops anything and degrades the element.
"""

import logging
import sqlite3
import threading
from contextlib import closing, suppress

from storage_node.committer import Committer
from storage_node.element import Element
from storage_node.health import NO_ROOM
from storage_node.index_schema import INDEX_FILE, INDEX_WAL_FILE, connect

# At so many times the size that asks for a checkpoint, appends wait for it: the log is bounded whatever the disk does.
LOG_BOUND_FACTOR = 4
# While the disk is full, so often is looked whether there is room again.
SHORT_SECONDS = 1.0
log = logging.getLogger(__name__)


class Checkpointer:
    """Runs checkpoints of one element."""

    def __init__(self, element: Element, committer: Committer) -> None:
        self._element = element
        self._committer = committer
        self._one_at_a_time = threading.Lock()
        self._changed = threading.Condition()
        self._is_wanted = False
        self._is_stopping = False
        self._wanted_at_bytes = element.options.checkpoint_log_bytes
        self._bound_bytes = LOG_BOUND_FACTOR * self._wanted_at_bytes
        self._thread = threading.Thread(target=self._run, name="checkpoint", daemon=True)
        committer.before_append = self._hold_back
        committer.after_batch = self._consider
        committer.ask_for_room = self._want

    def start(self) -> None:
        """Puts the reserves by, then begins to watch the log."""
        # Before the first change: a disk may be filled by somebody else long before the first checkpoint.
        self._keep_reserves()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; makes no checkpoint of its own."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._thread.join()

    def _consider(self) -> None:
        if self._element.log.size_bytes > self._wanted_at_bytes and not self._is_wanted:
            self._want()

    def _want(self) -> None:
        with self._changed:
            self._is_wanted = True
            self._changed.notify_all()

    def _hold_back(self) -> None:
        """Called by the committer before each append: returns at once unless the log is at its bound."""
        if self._element.log.size_bytes <= self._bound_bytes:
            return
        self._want()
        with self._changed:
            while (
                self._element.log.size_bytes > self._bound_bytes
                and self._element.health.failure is None
            ):
                self._changed.wait(1.0)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._is_wanted and not self._is_stopping:
                    self._changed.wait(self._pause_seconds())
                if self._is_stopping:
                    return
                self._is_wanted = False
            self.checkpoint()
            with self._changed:
                self._changed.notify_all()

    def _pause_seconds(self) -> float:
        interval_seconds = self._element.options.checkpoint_interval_seconds
        return (
            min(SHORT_SECONDS, interval_seconds)
            if self._element.headroom.is_given_up
            else interval_seconds
        )

    def checkpoint(self) -> bool:
        """Makes what is applied durable and drops the log behind it; False when the disk did not let it."""
        with self._one_at_a_time:
            element = self._element
            self._keep_reserves()
            applied_lsn = self._committer.applied_lsn
            if element.health.failure is not None:
                return False
            if applied_lsn <= element.log.checkpoint_lsn:
                if element.headroom.is_given_up:
                    self._fold_index()
                return True
            try:
                # The order is the point: files, index, header, and only then does a segment go.
                element.disk.medium.sync_everything()
                self._sync_index()
                element.log.roll(applied_lsn)
                element.log.drop_through(applied_lsn)
            except OSError as error:
                self._refused(error)
                return False
            self._fold_index()
            self._keep_reserves()
            return True

    def _refused(self, error: OSError) -> None:
        if error.errno in NO_ROOM:
            # Nothing was dropped and nothing is lost: the log stays longer than it should, until there is room.
            self._element.headroom.give_up()
            self._element.health.lack("the log", "the disk is full: the log can not be shortened")
            return
        self._element.health.fail(f"a checkpoint failed ({error})")

    def _sync_index(self) -> None:
        """The index's own log holds every row up to the position; synced, the index can not fall behind the checkpoint."""
        medium = self._element.disk.medium
        if not medium.exists(INDEX_WAL_FILE):
            return
        fd = medium.open_read(INDEX_WAL_FILE)
        try:
            medium.sync(fd)
        finally:
            medium.close_file(fd)

    def _fold_index(self) -> None:
        """Moves the index's own log into its file so that it stays short. Only housekeeping: a failure loses nothing."""
        path = self._element.disk.medium.data_dir / INDEX_FILE
        with suppress(sqlite3.Error), closing(connect(path)) as connection:
            connection.execute("PRAGMA busy_timeout=1000")
            # The bulk while the committer goes on; the rest, and the new beginning, in a moment between two batches.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()

    def _keep_reserves(self) -> None:
        element = self._element
        try:
            if element.headroom.is_given_up:
                element.log.give_up_spares()
            element.log.keep_spare()
            is_whole = element.headroom.keep(element.options.min_free_disk_bytes)
        except OSError as error:
            if error.errno not in NO_ROOM:
                element.health.fail(f"room could not be kept ready ({error})")
            return
        if is_whole:
            element.health.lack("the log", None)
