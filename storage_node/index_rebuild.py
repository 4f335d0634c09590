"""Making a new index from the attribute files: on first start, after a loss, after `accept-restored`.

Built beside the old one and renamed into place when complete. It begins a new random epoch and loses what only the index
knew: tombstones, dates of verification, the last reconcile report. Runs before anything else may change files.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

from storage_node.disk import Disk
from storage_node.errors import RefusedToStart
from storage_node.index_schema import (
    COLUMN_COUNT,
    INDEX_FILE,
    INDEX_SHM_FILE,
    INDEX_WAL_FILE,
    KEYS,
    SCHEMA,
    STATUSES,
    TABLES,
    row_of,
    row_of_unreadable,
)
from storage_node.leaf_readers import LeafReaders, ReaderLost
from storage_node.leaf_rows import FoundRow, Harvest, found_row, harvest, numbered

NEW_FILE = "index.new"
# Below this many a reader has hardly begun when all is read.
WORTH_LEAVES = 512
LEAVES_AT_ONCE = 16
# A row's number is its place and its change: everything else is told by whoever read the file.
_PLACES = ",".join(("?1", "?2", "?1", *(f"?{place}" for place in range(3, COLUMN_COUNT))))
_INSERT = " ".join(("INSERT OR IGNORE INTO files VALUES (", _PLACES, ")"))
log = logging.getLogger(__name__)


class ToldToStop(RefusedToStart):
    """The node was told to end before it was up: nothing is wrong with its directory."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How many processes may read beside this one, and how to know that the work is not wanted any more."""

    readers: int = 0
    is_stopping: Callable[[], bool] = bool


ALONE = Effort()


@dataclass(frozen=True, slots=True)
class Origin:
    """What a new index is bound to: the log, the position it stands for, the directory."""

    log_id: bytes
    position_lsn: int
    node_inode: int


@dataclass
class _Sums:
    """Totals gathered while rows go in."""

    rows: int = 0
    held: int = 0
    newest_at: str = ""
    totals: dict[str, list[int]] = field(
        default_factory=lambda: {status: [0, 0, 0] for status in STATUSES}
    )

    def add(self, rows: list[FoundRow]) -> None:
        for _, status, _, size, held, revision, *_ in rows:
            counted = self.totals[status]
            counted[0] += 1
            counted[1] += size
            counted[2] += revision
            self.held += held


def discard(disk: Disk) -> None:
    """Takes the index away knowingly: the next start makes a new one."""
    for name in (INDEX_FILE, INDEX_WAL_FILE, INDEX_SHM_FILE):
        disk.medium.unlink(name)


def rebuild(disk: Disk, origin: Origin, effort: Effort = ALONE) -> int:
    """Replaces the index by one made from the attribute files; returns how many files it holds.
    `OSError`, `sqlite3.Error`, `ToldToStop`."""
    paths = list(disk.leaf_paths())
    if len(paths) < WORTH_LEAVES:
        effort = replace(effort, readers=0)
    try:
        sums = _make(disk, origin, paths, effort)
    except ReaderLost as loss:
        # What it had not told yet is not in the new index: from the start, and without what failed.
        log.warning("the index is made by one process: %s", loss, extra={"event": "reader_lost"})
        sums = _make(disk, origin, paths, replace(effort, readers=0))
    _put_in_place(disk)
    return sums.rows


def _make(disk: Disk, origin: Origin, paths: list[str], effort: Effort) -> _Sums:
    """A whole index under a name of its own."""
    medium = disk.medium
    for name in (NEW_FILE, f"{NEW_FILE}-journal"):
        medium.unlink(name)
    connection = sqlite3.connect(medium.data_dir / NEW_FILE, isolation_level=None)
    try:
        # A torn index.new is thrown away, so nothing protects it while it is written.
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        connection.executescript(TABLES)
        sums = _Sums()
        with closing(_harvests(disk, paths, effort)) as harvests:
            _fill(connection, disk, harvests, sums)
        _finish(connection, sums, origin)
    finally:
        connection.close()
    return sums


def _harvests(disk: Disk, paths: list[str], effort: Effort) -> Generator[Harvest, None, None]:
    """What all leaves hold, in their order, whoever reads them."""
    orders = [paths[at : at + LEAVES_AT_ONCE] for at in range(0, len(paths), LEAVES_AT_ONCE)]
    with LeafReaders(disk.medium, effort.readers) as readers:
        found = readers.harvests(orders) if effort.readers else (harvest(disk, o) for o in orders)
        for leaves in found:
            if effort.is_stopping():
                raise ToldToStop("The node was told to end while its index was being made.")
            yield leaves


def _fill(
    connection: sqlite3.Connection, disk: Disk, harvests: Iterator[Harvest], sums: _Sums
) -> None:
    connection.execute("BEGIN")
    # Two files that claim one id are a fault for reconcile to report; the index keeps the first.
    connection.execute("CREATE UNIQUE INDEX files_by_id ON files (file_id)")
    noted = {
        UUID(note["file_id"]).bytes: str(note.get("finding"))
        for note in disk.notes()
        if _is_about_file(note)
    }
    for rows, newest_at, unfinished in harvests:
        for path in unfinished:
            # Copied from a running node while it was written: its own log is not here to say what became of it.
            disk.medium.unlink(path)
        _insert(connection, [_as_noted(row, noted) for row in rows] if noted else rows, sums)
        sums.newest_at = max(sums.newest_at, newest_at)
    for file_id, finding in noted.items():
        row = row_of_unreadable(UUID(bytes=file_id), 0, 0, finding, None)
        _insert(connection, [found_row(row)], sums)
    connection.execute("COMMIT")


def _insert(connection: sqlite3.Connection, rows: list[FoundRow], sums: _Sums) -> None:
    """Numbers the rows and stores those whose id is new."""
    numbers = range(sums.rows + 1, sums.rows + 1 + len(rows))
    before = connection.total_changes
    connection.executemany(
        _INSERT, ((number, *row) for number, row in zip(numbers, rows, strict=True))
    )
    sums.rows += len(rows)
    if connection.total_changes - before == len(rows):
        sums.add(rows)
    else:
        sums.add(
            [
                row
                for number, row in zip(numbers, rows, strict=True)
                if _is_there(connection, number)
            ]
        )


def _is_there(connection: sqlite3.Connection, number: int) -> bool:
    return connection.execute("SELECT 1 FROM files WHERE seq = ?", (number,)).fetchone() is not None


def _is_about_file(note: dict[str, Any]) -> bool:
    return isinstance(note.get("file_id"), str) and note.get("finding") != "orphaned_file"


def _as_noted(found: FoundRow, noted: dict[bytes, str]) -> FoundRow:
    """A file found damaged once stays so until somebody says otherwise, whatever index is made of it."""
    finding = noted.pop(found[0], None)
    if finding is None:
        return found
    row = numbered(found, 0)
    file = row.file
    if row.damage or file is None or file.status != "active":
        return found
    return found_row(replace(row_of(file, 0, 0, finding), held=row.held))


def _finish(connection: sqlite3.Connection, sums: _Sums, origin: Origin) -> None:
    connection.executescript(
        KEYS.replace(
            "CREATE UNIQUE INDEX files_by_id", "CREATE UNIQUE INDEX IF NOT EXISTS files_by_id"
        )
    )
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO totals VALUES (?, ?, ?, ?)",
        [(status, *sums.totals[status]) for status in STATUSES],
    )
    base = sums.rows - origin.position_lsn
    state = (
        1,
        SCHEMA,
        0,
        origin.log_id,
        origin.node_inode,
        str(uuid4()),
        base,
        origin.position_lsn,
    )
    connection.execute(
        "INSERT INTO state VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, NULL)",
        (*state, sums.newest_at, sums.held),
    )
    connection.execute("COMMIT")
    connection.execute("UPDATE state SET complete = 1")


def _put_in_place(disk: Disk) -> None:
    medium = disk.medium
    fd = medium.open_change(NEW_FILE)
    try:
        medium.sync(fd)
    finally:
        medium.close_file(fd)
    medium.unlink(INDEX_FILE)
    # A leftover log of the old index would be folded into the new one and silently bring old rows back.
    medium.unlink(INDEX_WAL_FILE)
    medium.unlink(INDEX_SHM_FILE)
    medium.sync_directory(os.curdir)
    medium.rename(NEW_FILE, INDEX_FILE)
    medium.sync_directory(os.curdir)
