"""The writing end of the derived index: applies records in log order, rows and position in one transaction.

One writer, the committer. Reading is `index_reading.py`; making a new index from the attribute files `index_rebuild.py`.
Nothing here decides whether a change is allowed.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID

from storage_node.attributes import DELETED, encode_json, moment, stamp
from storage_node.index_schema import (
    COLUMN_COUNT,
    INDEX_FILE,
    ROW_BY_ID,
    SCHEMA,
    Row,
    connect,
    row_of,
    row_of_unreadable,
)
from storage_node.records import Kind, Record
from storage_node.remembered import RememberedRows

Totals = dict[str, list[int]]
_INSERT_CHUNK = 64
_ROW_PLACES = "(" + ",".join("?" * COLUMN_COUNT) + ")"
_REPLACE_ROW = " ".join(("INSERT OR REPLACE INTO files VALUES", _ROW_PLACES))


@cache
def _insert_rows(count: int) -> str:
    return " ".join(("INSERT INTO files VALUES", ",".join([_ROW_PLACES] * count)))


@dataclass(slots=True)
class Position:
    """Where the index stands: numbers that change with every batch."""

    epoch: str
    base: int
    lsn: int
    newest_at: str
    floor: int
    held: int

    def change_of(self, lsn: int) -> int:
        """The change number of a log position in this epoch."""
        return self.base + lsn


class Index:
    """The index open for writing."""

    def __init__(self, data_dir: Path) -> None:
        # For readers; dropped here, row by row, as rows change.
        self.remembered = RememberedRows()
        self._connection = connect(data_dir / INDEX_FILE)
        row = self._connection.execute(
            "SELECT epoch, base, position, newest_at, floor, held FROM state"
        ).fetchone()
        self.at = Position(*row)
        self.totals: Totals = _read_totals(self._connection)
        self._absent: frozenset[bytes] = frozenset()

    def close(self) -> None:
        """Closes the connection; SQLite folds its own log into the file."""
        self._connection.close()

    def expect(self, file_ids: list[UUID]) -> None:
        """Looks up at once which ids of a coming batch are unknown: most are, and each question by itself costs a turn."""
        wanted = [file_id.bytes for file_id in file_ids]
        found = (
            {row[0] for row in self._connection.execute(_known_of(len(wanted)), wanted * 2)}
            if wanted
            else set()
        )
        self._absent = frozenset(wanted) - found

    def find(self, file_id: UUID) -> Row | None:
        """The row of a file as of the last applied record. For the committer's thread."""
        if file_id.bytes in self._absent:
            return None
        found = self._connection.execute(ROW_BY_ID, (file_id.bytes,)).fetchone()
        return Row.of(found) if found else None

    def tombstone_status(self, file_id: UUID) -> str | None:
        """How an id ended, None when it has no tombstone. For the committer's thread."""
        if file_id.bytes in self._absent:
            return None
        found = self._connection.execute(
            "SELECT status FROM tombstones WHERE file_id = ?", (file_id.bytes,)
        ).fetchone()
        return str(found[0]) if found else None

    def apply(self, first_lsn: int, records: Sequence[Record]) -> None:
        """Takes up consecutive records; either all of them and the position, or nothing and an `sqlite3.Error`."""
        session = _Session(
            self._connection, replace(self.at), {k: list(v) for k, v in self.totals.items()}
        )
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for offset, record in enumerate(records):
                session.take(first_lsn + offset, record)
            session.finish(first_lsn + len(records) - 1, self.totals)
            self._connection.execute("COMMIT")
        except BaseException:
            # A full disk may have ended the transaction already; the error that matters is the first one.
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise
        self.at, self.totals, self._absent = session.at, session.totals, frozenset()
        self.remembered.forget(chain.from_iterable(map(_changed_by, records)))


def _changed_by(record: Record) -> Iterable[UUID]:
    """Files whose rows a record may change."""
    if record.kind is Kind.VERIFIED:
        return map(UUID, record.facts["file_ids"])
    return () if record.file_id is None else (record.file_id,)


@cache
def _known_of(count: int) -> str:
    places = ",".join("?" * count).join("()")
    parts = ("SELECT file_id FROM files WHERE file_id IN", places)
    return " ".join((*parts, "UNION ALL SELECT file_id FROM tombstones WHERE file_id IN", places))


class _Session:
    """One transaction: rows written so far, the position and totals it will leave."""

    def __init__(self, connection: sqlite3.Connection, at: Position, totals: Totals) -> None:
        self._connection = connection
        self.at = at
        self.totals = totals
        self._new: list[Row] = []
        self._report: str | None = None

    def take(self, lsn: int, record: Record) -> None:
        change = self.at.change_of(lsn)
        if record.kind is Kind.PUT and record.file is not None:
            self._new.append(row_of(record.file, change, change))
            self._count(self._new[-1], 1)
            self._saw(stamp(record.file.updated_at))
            if len(self._new) == _INSERT_CHUNK:
                self._write_new()
            return
        self._write_new()
        _TAKERS[record.kind](self, change, record)
        if "at" in record.facts:
            self._saw(record.facts["at"])

    def finish(self, lsn: int, before: Totals) -> None:
        self._write_new()
        for status, counted in self.totals.items():
            if counted != before[status]:
                self._connection.execute(
                    "UPDATE totals SET files = ?, bytes = ?, revisions = ? WHERE status = ?",
                    (*counted, status),
                )
        self.at.lsn = lsn
        state = (lsn, self.at.newest_at, self.at.floor, self.at.held)
        self._connection.execute(
            "UPDATE state SET position = ?, newest_at = ?, floor = ?, held = ?", state
        )
        if self._report is not None:
            self._connection.execute("UPDATE state SET report = ?", (self._report,))

    def _write_new(self) -> None:
        """One statement for all new files of a batch: each step of SQLite gives the interpreter lock away."""
        if not self._new:
            return
        values = [value for row in self._new for value in row.values()]
        self._connection.execute(_insert_rows(len(self._new)), values)
        self._new.clear()

    def _find(self, file_id: UUID) -> Row | None:
        found = self._connection.execute(ROW_BY_ID, (file_id.bytes,)).fetchone()
        return Row.of(found) if found else None

    def _replace(self, old: Row | None, new: Row) -> None:
        if old is not None:
            self._count(old, -1)
        self._count(new, 1)
        self._connection.execute(_REPLACE_ROW, new.values())

    def _count(self, row: Row, sign: int) -> None:
        counted = self.totals[row.status]
        counted[0] += sign
        counted[1] += sign * row.size
        counted[2] += sign * row.revision
        self.at.held += sign * row.held

    def _saw(self, at: str) -> None:
        self.at.newest_at = max(self.at.newest_at, at)

    def set_attributes(self, change: int, record: Record) -> None:
        file = record.file
        if file is None:
            return
        old = self._find(file.file_id)
        damage = old.damage if old is not None and file.status != DELETED else None
        if record.kind is Kind.MEND:
            damage = None
        new = row_of(
            file, old.seq if old else change, change, damage, old.verified_at if old else 0
        )
        if old is not None and old.held == 0 and record.kind is not Kind.MEND:
            new = replace(new, held=0)
        self._replace(old, new)
        self._saw(stamp(file.updated_at))

    def purge(self, change: int, record: Record) -> None:
        file_id = UUID(record.facts["file_id"])
        old = self._find(file_id)
        if old is not None:
            self._count(old, -1)
            self._connection.execute("DELETE FROM files WHERE seq = ?", (old.seq,))
        tombstone = (change, file_id.bytes, record.facts["status"], record.facts["at"])
        self._connection.execute("INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?, ?)", tombstone)

    def damage(self, change: int, record: Record) -> None:
        file_id, finding = UUID(record.facts["file_id"]), record.facts["finding"]
        old = self._find(file_id)
        if old is None:
            if finding is not None:
                self._replace(None, row_of_unreadable(file_id, change, change, finding, None))
            return
        if old.file is None:
            self._replace(old, replace(old, change=change, damage=finding or old.damage))
            return
        new = row_of(old.file, old.seq, change, finding, old.verified_at)
        is_here = finding != "missing_file" and record.kind is not Kind.QUARANTINE
        self._replace(old, new if is_here else replace(new, held=0))

    def quarantine(self, change: int, record: Record) -> None:
        if record.facts["file_id"] is not None and record.facts["finding"] != "orphaned_file":
            self.damage(change, record)

    def verified(self, _change: int, record: Record) -> None:
        seconds = int(moment(record.facts["at"]).timestamp())
        values = [(seconds, UUID(text).bytes) for text in record.facts["file_ids"]]
        self._connection.executemany("UPDATE files SET verified_at = ? WHERE file_id = ?", values)

    def forget(self, _change: int, record: Record) -> None:
        self._connection.execute(
            "DELETE FROM tombstones WHERE change <= ?", (record.facts["through"],)
        )
        self.at.floor = max(self.at.floor, record.facts["through"])

    def report(self, _change: int, record: Record) -> None:
        self._report = encode_json(dict(record.facts["report"]))

    def nothing(self, _change: int, record: Record) -> None:
        """The mode lives in its own file."""


_TAKERS = {
    Kind.SET: _Session.set_attributes,
    Kind.MEND: _Session.set_attributes,
    Kind.PURGE: _Session.purge,
    Kind.TOMBSTONE: _Session.purge,
    Kind.MODE: _Session.nothing,
    Kind.QUARANTINE: _Session.quarantine,
    Kind.VERIFIED: _Session.verified,
    Kind.DAMAGE: _Session.damage,
    Kind.FORGET: _Session.forget,
    Kind.REPORT: _Session.report,
}


@dataclass(frozen=True, slots=True)
class LogBounds:
    """Which positions the log can still bring an index up from: `oldest` and `last` are LSNs that can be read."""

    log_id: bytes
    oldest_lsn: int
    last_lsn: int


def why_unusable(data_dir: Path, bounds: LogBounds, node_inode: int) -> str | None:
    """Why the index in `data_dir` must be rebuilt; None when the log's tail brings it up to date."""
    if not (data_dir / INDEX_FILE).is_file():
        return "missing"
    try:
        connection = connect(data_dir / INDEX_FILE)
        try:
            row = connection.execute(
                "SELECT schema, complete, log_id, node_inode, position FROM state"
            ).fetchone()
            _read_totals(connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        return f"unreadable: {error}"
    return "incomplete" if row is None else _why_unfit(row, bounds, node_inode)


def _why_unfit(row: tuple[Any, ...], bounds: LogBounds, node_inode: int) -> str | None:
    schema, complete, log_id, inode, position = row
    if not complete:
        return "incomplete"
    if schema != SCHEMA:
        return "of another version"
    if log_id != bounds.log_id or inode != node_inode:
        return "of another directory"
    if not bounds.oldest_lsn - 1 <= position <= bounds.last_lsn:
        return "at a position the log does not reach"
    return None


def _read_totals(connection: sqlite3.Connection) -> Totals:
    rows = connection.execute("SELECT status, files, bytes, revisions FROM totals")
    return {status: [files, size, revisions] for status, files, size, revisions in rows}
