"""Files of small uploads on the way to their places, written by a process beside the node while the node goes on.

Their records are durable, their rows are in the index, their callers are answered; until they are in their places readers
get them from memory, and no checkpoint passes them. A change of any other kind waits for them first. What the process can
not write, and everything once it is gone, is written here, by the rules of the committer. Nothing is decided here.
"""

import fcntl
import logging
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from storage_node.attributes import FileAttributes
from storage_node.disk import Disk
from storage_node.medium import Medium
from storage_node.placing_process import ANSWER, BATCH, FILE
from storage_node.wal_scan import WAL

PENDING_LIMIT_BYTES = 8 * 2**20
_PACKAGE_PARENT = Path(__file__).resolve().parent.parent
log = logging.getLogger(__name__)


def wait_for_leftover(medium: Medium) -> None:
    """Returns when the process of a node that was killed has written what it was given: a moment at most."""
    lock = medium.open_directory(WAL)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    finally:
        os.close(lock)


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that one batch of the log brought, and the position up to which everything is applied when they are placed."""

    files: list[tuple[FileAttributes, bytes]]
    last_lsn: int

    @property
    def size_bytes(self) -> int:
        """What it holds in memory."""
        return sum(len(body) for _, body in self.files)


@dataclass(frozen=True)
class Outcomes:
    """What is to happen with batches, in their order. `place_here` returns whether it could."""

    placed: Callable[[Batch], None]
    place_here: Callable[[Batch], bool]


class PlacingApart:
    """The process, and the batches handed to it that it has not answered for."""

    def __init__(self, disk: Disk, outcomes: Outcomes) -> None:
        self._disk = disk
        self._outcomes = outcomes
        self._changed = threading.Condition()
        self._pending: deque[Batch] = deque()
        self._pending_bytes = 0
        self._is_over = False
        self._is_closing = False
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = self._start(theirs)
        self._thread = threading.Thread(target=self._listen, name="placing", daemon=True)
        self._thread.start()

    def _start(self, theirs: socket.socket) -> "subprocess.Popen[bytes]":
        medium = self._disk.medium
        # Descriptors of their own: the flock on the directory is the node's alone and ends with it.
        root, lock = medium.open_directory(os.curdir), medium.open_directory(WAL)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            handed_over = (root, lock, theirs.fileno())
            return subprocess.Popen(  # noqa: S603  this interpreter, a module of ours, and numbers
                [
                    sys.executable,
                    "-S",
                    "-m",
                    "storage_node.placing_process",
                    *map(str, handed_over),
                ],
                env={"PYTHONPATH": str(_PACKAGE_PARENT), "PYTHONSAFEPATH": "1"},
                stdin=subprocess.DEVNULL,
                pass_fds=handed_over,
            )
        finally:
            os.close(root)
            os.close(lock)

    def hand_over(self, batch: Batch) -> bool:
        """Has the batch placed, after those before it; False when the process is gone and the caller has to place it."""
        with self._changed:
            while self._pending_bytes > PENDING_LIMIT_BYTES and not self._is_over:
                self._changed.wait()
            if self._is_over:
                return False
            self._pending.append(batch)
            self._pending_bytes += batch.size_bytes
        # On an error the listening thread finds the end too, and places what is pending.
        with suppress(OSError):
            self._connection.sendall(self._message(batch))
        return True

    def _message(self, batch: Batch) -> bytes:
        pieces = [BATCH.pack(len(batch.files))]
        for file, body in batch.files:
            content, attributes = (path.encode() for path in self._disk.places_of(file))
            facts = file.file_bytes
            lengths = FILE.pack(len(content), len(body), len(attributes), len(facts))
            pieces += (lengths, content, body, attributes, facts)
        return b"".join(pieces)

    def settle(self) -> None:
        """Returns when everything handed over is placed, or never can be."""
        with self._changed:
            while self._pending and not self._is_over:
                self._changed.wait()

    def close(self) -> None:
        """Settles, and ends the process."""
        self.settle()
        self._is_closing = True
        self._connection.shutdown(socket.SHUT_WR)
        self._thread.join()
        self._connection.close()
        self._process.wait()

    def _listen(self) -> None:
        can_go_on = True
        while can_go_on and (answer := self._answer()) is not None:
            can_go_on = self._finish_first(is_placed=answer == 0)
        if can_go_on and not self._is_closing:
            log.warning("the placing process has ended", extra={"event": "placing_ended"})
        # What it was given is written again, whatever of it is there.
        while can_go_on and not self._is_idle_for_good():
            can_go_on = self._finish_first(is_placed=False)
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _is_idle_for_good(self) -> bool:
        with self._changed:
            self._is_over = not self._pending
            return self._is_over

    def _answer(self) -> int | None:
        try:
            raw = self._connection.recv(ANSWER.size, socket.MSG_WAITALL)
        except OSError:
            return None
        return ANSWER.unpack(raw)[0] if len(raw) == ANSWER.size else None

    def _finish_first(self, is_placed: bool) -> bool:
        """Ends the oldest pending batch; False when it can not be placed at all, so that nothing behind it may pass it."""
        batch = self._pending[0]
        if not is_placed and not self._outcomes.place_here(batch):
            return False
        self._outcomes.placed(batch)
        with self._changed:
            self._pending.popleft()
            self._pending_bytes -= batch.size_bytes
            self._changed.notify_all()
        return True
