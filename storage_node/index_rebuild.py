"""Making a new index from the attribute files: on first start, after a loss, after `accept-restored`.

Built beside the old one and renamed into place when complete. It begins a new random epoch and loses what only the index
knew: tombstones, dates of verification, the last reconcile report. Runs before anything else may change files.
"""

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

from storage_node.attributes import AttributesCorrupt, stamp
from storage_node.disk import Disk, Leaf
from storage_node.index_schema import (
    COLUMN_COUNT,
    INDEX_FILE,
    INDEX_SHM_FILE,
    INDEX_WAL_FILE,
    KEYS,
    SCHEMA,
    STATUSES,
    TABLES,
    Row,
    row_of,
    row_of_unreadable,
)
from storage_node.names import ATTRIBUTES_SUFFIX, id_in_name

NEW_FILE = "index.new"
_CHUNK = 1000
_INSERT = " ".join(("INSERT OR IGNORE INTO files VALUES (", ",".join("?" * COLUMN_COUNT), ")"))


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

    def add(self, row: Row) -> None:
        counted = self.totals[row.status]
        counted[0] += 1
        counted[1] += row.size
        counted[2] += row.revision
        self.held += row.held


def discard(disk: Disk) -> None:
    """Takes the index away knowingly: the next start makes a new one."""
    for name in (INDEX_FILE, INDEX_WAL_FILE, INDEX_SHM_FILE):
        disk.medium.unlink(name)


def rebuild(disk: Disk, origin: Origin) -> int:
    """Replaces the index by one made from the attribute files; returns how many files it holds. `OSError`, `sqlite3.Error`."""
    medium = disk.medium
    for name in (NEW_FILE, f"{NEW_FILE}-journal"):
        medium.unlink(name)
    connection = sqlite3.connect(medium.data_dir / NEW_FILE, isolation_level=None)
    try:
        # A torn index.new is thrown away, so nothing protects it while it is written.
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        connection.executescript(TABLES)
        sums = _fill(connection, disk)
        _finish(connection, sums, origin)
    finally:
        connection.close()
    _put_in_place(disk)
    return sums.rows


def _fill(connection: sqlite3.Connection, disk: Disk) -> _Sums:
    sums = _Sums()
    connection.execute("BEGIN")
    # Two files that claim one id are a fault for reconcile to report; the index keeps the first.
    connection.execute("CREATE UNIQUE INDEX files_by_id ON files (file_id)")
    rows = _numbered(disk, sums)
    while chunk := list(islice(rows, _CHUNK)):
        before = connection.total_changes
        connection.executemany(_INSERT, [row.values() for row in chunk])
        if connection.total_changes - before == len(chunk):
            kept = chunk
        else:
            kept = [row for row in chunk if _is_there(connection, row)]
        for row in kept:
            sums.add(row)
    connection.execute("COMMIT")
    return sums


def _is_there(connection: sqlite3.Connection, row: Row) -> bool:
    return (
        connection.execute("SELECT 1 FROM files WHERE seq = ?", (row.seq,)).fetchone() is not None
    )


def _numbered(disk: Disk, sums: _Sums) -> Iterator[Row]:
    for row in _rows(disk, sums):
        sums.rows += 1
        yield replace(row, seq=sums.rows, change=sums.rows)


def _rows(disk: Disk, sums: _Sums) -> Iterator[Row]:
    noted = {
        UUID(note["file_id"]): str(note.get("finding"))
        for note in disk.notes()
        if _is_about_file(note)
    }
    for path in disk.leaf_paths():
        leaf = disk.leaf(path)
        for name in leaf.unfinished:
            # Copied from a running node while it was written: its own log is not here to say what became of it.
            disk.medium.unlink(f"{path}/{name}")
        for name in sorted(leaf.attributes):
            row = _row(disk, leaf, name, sums)
            if row is not None:
                finding = noted.pop(row.file_id, None)
                yield row if finding is None or row.damage else _as_noted(row, finding)
    for file_id, finding in noted.items():
        yield row_of_unreadable(file_id, 0, 0, finding, None)


def _is_about_file(note: dict[str, Any]) -> bool:
    return isinstance(note.get("file_id"), str) and note.get("finding") != "orphaned_file"


def _as_noted(row: Row, finding: str) -> Row:
    """A file found damaged once stays so until somebody says otherwise, whatever index is made of it."""
    file = row.file
    if file is None or file.status != "active":
        return row
    return replace(row_of(file, 0, 0, finding), held=row.held)


def _row(disk: Disk, leaf: Leaf, name: str, sums: _Sums) -> Row | None:
    try:
        file = disk.read_attributes(f"{leaf.path}/{name}{ATTRIBUTES_SUFFIX}")
    except AttributesCorrupt:
        claimed = id_in_name(name)
        return row_of_unreadable(claimed, 0, 0, "corrupt_attributes", name) if claimed else None
    sums.newest_at = max(sums.newest_at, stamp(file.updated_at))
    if name in leaf.contents:
        return row_of(file, 0, 0)
    # Deleted or expired without bytes is an unfinished purge, which garbage collection ends.
    row = row_of(file, 0, 0, "missing_file" if file.status == "active" else None)
    return replace(row, held=0)


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
