"""The tables of the derived index, how its connections are set up, and what a row is.

No rules about files and no queries beyond opening. Rows are written by `index.py`, read by `index_reading.py`, made from
the attribute files by `index_rebuild.py`. The schema is no contract: another `SCHEMA` number means a rebuild.
"""

import json
import sqlite3
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

from storage_node.attributes import DAMAGED, FileAttributes, encode_json, stamp

SCHEMA = 1
INDEX_FILE = "index.sqlite3"
INDEX_WAL_FILE = "index.sqlite3-wal"
INDEX_SHM_FILE = "index.sqlite3-shm"
_CACHE_KIB = 16 * 1024

# seq is the order of arrival and never changes, so pages by it neither skip nor repeat a row. body is the wire form.
TABLES = """
CREATE TABLE files (
    seq INTEGER PRIMARY KEY, file_id BLOB NOT NULL, change INTEGER NOT NULL, status TEXT NOT NULL,
    recorded_status TEXT, size INTEGER NOT NULL, held INTEGER NOT NULL, revision INTEGER NOT NULL, expires_at TEXT,
    verified_at INTEGER NOT NULL, damage TEXT, stored_name TEXT, body TEXT NOT NULL);
CREATE TABLE tombstones (change INTEGER PRIMARY KEY, file_id BLOB NOT NULL, status TEXT NOT NULL, at TEXT NOT NULL);
CREATE TABLE totals (status TEXT PRIMARY KEY, files INTEGER NOT NULL, bytes INTEGER NOT NULL, revisions INTEGER NOT NULL);
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1), schema INTEGER NOT NULL, complete INTEGER NOT NULL, log_id BLOB NOT NULL,
    node_inode INTEGER NOT NULL, epoch TEXT NOT NULL, base INTEGER NOT NULL, position INTEGER NOT NULL,
    newest_at TEXT NOT NULL, floor INTEGER NOT NULL, held INTEGER NOT NULL, report TEXT);
"""
# Made after the rows where many are loaded at once.
KEYS = """
CREATE UNIQUE INDEX files_by_id ON files (file_id);
CREATE UNIQUE INDEX files_by_change ON files (change);
CREATE INDEX files_not_active ON files (status, seq) WHERE status <> 'active';
CREATE INDEX files_expiring ON files (expires_at, seq) WHERE status = 'active' AND expires_at IS NOT NULL;
CREATE INDEX files_by_verification ON files (verified_at, seq);
CREATE UNIQUE INDEX tombstones_by_id ON tombstones (file_id);
"""
COLUMN_COUNT = 13
ROW_BY_ID = "SELECT * FROM files WHERE file_id = ?"
STATUSES = ("active", "expired", "deleted", "damaged")


@dataclass(frozen=True)
class Row:
    """What the index knows of one file. `change` counts within the epoch, `verified_at` is whole Unix seconds or 0."""

    seq: int
    file_id: UUID
    change: int
    status: str
    recorded_status: str | None
    size: int
    held: int
    revision: int
    expires_at: str | None
    verified_at: int
    damage: str | None
    stored_name: str | None
    body: str

    @classmethod
    def of(cls, values: tuple[Any, ...]) -> "Row":
        """A row as SQLite gives it."""
        return cls(values[0], UUID(bytes=values[1]), *values[2:])

    @cached_property
    def file(self) -> FileAttributes | None:
        """The attributes, None where they could not be read when the row was made."""
        if self.recorded_status is None:
            return None
        members = json.loads(self.body)
        members["stored_name"], members["status"] = self.stored_name, self.recorded_status
        return FileAttributes.from_members(members)

    def values(self) -> tuple[Any, ...]:
        """For SQLite, in the order of the table."""
        return (
            self.seq,
            self.file_id.bytes,
            self.change,
            self.status,
            self.recorded_status,
            self.size,
            self.held,
            self.revision,
            self.expires_at,
            self.verified_at,
            self.damage,
            self.stored_name,
            self.body,
        )


def row_of(
    file: FileAttributes, seq: int, change: int, damage: str | None = None, verified_at: int = 0
) -> Row:
    """The row of a file with known attributes."""
    members = file.to_wire() if damage else None
    return Row(
        seq=seq,
        file_id=file.file_id,
        change=change,
        status=DAMAGED if damage else file.status,
        recorded_status=file.status,
        size=file.size,
        held=file.size,
        revision=file.revision,
        expires_at=None if file.expires_at is None else stamp(file.expires_at),
        verified_at=verified_at,
        damage=damage,
        stored_name=file.stored_name,
        body=file.wire_json if members is None else damaged_body(members),
    )


def row_of_unreadable(
    file_id: UUID, seq: int, change: int, finding: str, stored_name: str | None
) -> Row:
    """The row of a file whose attributes can not be read: only its id is known."""
    body = encode_json({"file_id": str(file_id), "status": DAMAGED})
    return Row(seq, file_id, change, DAMAGED, None, 0, 0, 0, None, 0, finding, stored_name, body)


def damaged_body(members: dict[str, Any]) -> str:
    """The wire form of a file that is known damaged."""
    return encode_json(members | {"status": DAMAGED})


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a live index. Statements outside BEGIN commit by themselves; threads may pass it on, not share it."""
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=30.0, cached_statements=256
    )
    connection.execute("PRAGMA journal_mode=WAL")
    # NORMAL syncs at the index's own checkpoints and not per commit: the redo log makes up for lost commits.
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection
