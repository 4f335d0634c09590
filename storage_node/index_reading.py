"""Reading the index: one file, pages of files, the feed of changes, totals, and the work lists of the periodic tasks.

Any thread; each question is one read transaction, so what it answers belongs together and never reaches past the last
applied record. Bodies come back as JSON text, to be joined, not parsed: a listing is mostly copying.
"""

import json
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from storage_node.attributes import ACTIVE, EXPIRED, encode_json, stamp
from storage_node.errors import ValidationFailed
from storage_node.index_schema import INDEX_FILE, ROW_BY_ID, STATUSES, Row, connect
from storage_node.remembered import RememberedRows

PAGE_LIMIT = 1000
OFFSET_LIMIT = 10_000
Totals = dict[str, dict[str, int]]

_LISTED = "SELECT seq, status = 'active' AND expires_at <= :now, body FROM files WHERE "
_PAGES = {
    None: _LISTED + "seq > :after ORDER BY seq LIMIT :limit OFFSET :offset",
    ACTIVE: _LISTED
    + "status = 'active' AND (expires_at IS NULL OR expires_at > :now) AND seq > :after ORDER BY seq LIMIT :limit OFFSET :offset",
    EXPIRED: "SELECT * FROM (SELECT * FROM (SELECT seq, 0, body FROM files WHERE status = 'expired' AND seq > :after"
    " ORDER BY seq LIMIT :limit + :offset) UNION ALL SELECT * FROM (SELECT seq, 1, body FROM files"
    " WHERE status = 'active' AND expires_at IS NOT NULL AND expires_at <= :now AND seq > :after"
    " ORDER BY seq LIMIT :limit + :offset)) ORDER BY seq LIMIT :limit OFFSET :offset",
    "deleted": _LISTED
    + "status = 'deleted' AND seq > :after ORDER BY seq LIMIT :limit OFFSET :offset",
    "damaged": _LISTED
    + "status = 'damaged' AND seq > :after ORDER BY seq LIMIT :limit OFFSET :offset",
}
_IS_KNOWN = (
    "SELECT 1 FROM files WHERE file_id = ?1 UNION ALL SELECT 1 FROM tombstones WHERE file_id = ?1"
)
_OVERDUE = "SELECT count(*) FROM files WHERE status = 'active' AND expires_at <= ?"
_CHANGED = "SELECT change, body FROM files WHERE change > ? ORDER BY change LIMIT ?"
_BURIED = (
    "SELECT change, file_id, status, at FROM tombstones WHERE change > ? ORDER BY change LIMIT ?"
)
_DUE = "SELECT * FROM files WHERE status = 'active' AND expires_at <= ? ORDER BY expires_at, seq LIMIT ?"
_FREEABLE = (
    "SELECT * FROM files WHERE status IN ('deleted', 'expired') AND seq > ?"
    " AND (status = 'deleted' OR expires_at IS NULL OR expires_at <= ?) ORDER BY seq LIMIT ?"
)
_LEAST_VERIFIED = "SELECT * FROM files WHERE verified_at < ? AND status = 'active' ORDER BY verified_at, seq LIMIT ?"
_LEAST_VERIFIED_AT_ALL = _LEAST_VERIFIED.replace("verified_at < ?", "verified_at BETWEEN 1 AND ?")
_OLD_TOMBSTONES = "SELECT change, at FROM tombstones ORDER BY change LIMIT ?"


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which page of files. Either `cursor` or `offset`; `status` None means all."""

    limit: int = 100
    offset: int = 0
    cursor: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Files in order of arrival, each as JSON text."""

    items: list[str]
    total: int
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the feed: `kind` is "file" or "tombstone", `body` its JSON text."""

    change: int
    kind: str
    body: str


@dataclass(frozen=True, slots=True)
class ChangePage:
    """A stretch of the feed; `totals` only on the last page, from the same read."""

    epoch: str
    items: list[Change]
    next_since: int
    has_more: bool
    totals: Totals | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The index in a few numbers, from one read."""

    epoch: str
    last_change: int
    newest_at: str
    floor: int
    held_bytes: int
    totals: Totals
    report: dict[str, Any] | None


class Reading:
    """Connections for reading, handed out one per question."""

    def __init__(self, data_dir: Path, remembered: RememberedRows) -> None:
        self._path = data_dir / INDEX_FILE
        self._remembered = remembered
        self._idle: deque[sqlite3.Connection] = deque()
        self._closed = False

    def close(self) -> None:
        """Closes what is idle; questions still open close theirs as they end."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _question(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = connect(self._path)
        try:
            yield connection
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if self._closed:
                connection.close()
            else:
                self._idle.append(connection)

    def find(self, file_id: UUID) -> Row | None:
        """The row of a file."""
        row = self._remembered.get(file_id)
        if row is not None:
            return row
        moment = self._remembered.moment
        with self._question() as connection:
            found = connection.execute(ROW_BY_ID, (file_id.bytes,)).fetchone()
        if found is None:
            return None
        row = Row.of(found)
        self._remembered.keep(row, moment)
        return row

    def remembered(self, file_id: UUID) -> Row | None:
        """The row of a file if it was asked for lately, the same object as long as nothing about the file has changed."""
        return self._remembered.get(file_id)

    def row_or_ending(self, file_id: UUID) -> tuple[Row | None, str | None]:
        """`find`, and `tombstone_status` where there is no row; for an id never heard of one question instead of two."""
        row = self._remembered.get(file_id)
        if row is not None:
            return row, None
        with self._question() as connection:
            known = connection.execute(_IS_KNOWN, (file_id.bytes,)).fetchone()
        if known is None:
            return None, None
        row = self.find(file_id)
        return row, None if row else self.tombstone_status(file_id)

    def tombstone_status(self, file_id: UUID) -> str | None:
        """How an id ended, None when it has no tombstone."""
        with self._question() as connection:
            found = connection.execute(
                "SELECT status FROM tombstones WHERE file_id = ?", (file_id.bytes,)
            ).fetchone()
        return str(found[0]) if found else None

    def page(self, query: ListQuery, now: datetime) -> Page:
        """A page of files in order of arrival, with statuses as of `now`."""
        after = _checked(query)
        values = {
            "now": stamp(now),
            "after": after,
            "limit": query.limit + 1,
            "offset": query.offset,
        }
        with self._question() as connection:
            connection.execute("BEGIN")
            rows = connection.execute(_PAGES[query.status], values).fetchall()
            totals = _totals(connection)
            overdue = connection.execute(_OVERDUE, (values["now"],)).fetchone()[0]
        has_more = len(rows) > query.limit
        rows = rows[: query.limit]
        items = [_as_expired(body) if is_overdue else body for _, is_overdue, body in rows]
        total = sum(
            counted["files"] for status, counted in totals.items() if query.status in (None, status)
        )
        total += {ACTIVE: -overdue, EXPIRED: overdue}.get(query.status or "", 0)
        return Page(
            items,
            total,
            query.limit,
            query.offset,
            has_more,
            f"{rows[-1][0]:x}" if has_more else None,
        )

    def changes(self, since: int, limit: int) -> ChangePage:
        """What changed after `since`, in order; files as their attributes tell it, whatever the clock says."""
        with self._question() as connection:
            connection.execute("BEGIN")
            files = connection.execute(_CHANGED, (since, limit + 1)).fetchall()
            buried = connection.execute(_BURIED, (since, limit + 1)).fetchall()
            epoch, base, position = connection.execute(
                "SELECT epoch, base, position FROM state"
            ).fetchone()
            totals = _totals(connection)
        entries = [Change(change, "file", body) for change, body in files]
        entries += [Change(change, "tombstone", _tombstone(*rest)) for change, *rest in buried]
        entries.sort(key=lambda entry: entry.change)
        has_more = len(entries) > limit
        items = entries[:limit]
        # Behind the last page lies everything up to the position, changes without an entry of their own included.
        next_since = items[-1].change if has_more else max(since, base + position)
        return ChangePage(epoch, items, next_since, has_more, None if has_more else totals)

    def overview(self) -> Overview:
        """Totals, position and the last report."""
        with self._question() as connection:
            connection.execute("BEGIN")
            columns = "SELECT epoch, base + position, newest_at, floor, held, report FROM state"
            epoch, last_change, newest_at, floor, held, report = connection.execute(
                columns
            ).fetchone()
            totals = _totals(connection)
        return Overview(
            epoch,
            last_change,
            newest_at,
            floor,
            held,
            totals,
            json.loads(report) if report else None,
        )

    def overdue(self, now: datetime, limit: int) -> list[Row]:
        """Active files whose time has come, the longest overdue first."""
        return self._rows(_DUE, (stamp(now), limit))

    def count_overdue(self, now: datetime) -> int:
        """How many active files are past their time."""
        with self._question() as connection:
            return int(connection.execute(_OVERDUE, (stamp(now),)).fetchone()[0])

    def freeable(self, grace_over: datetime, after_seq: int, limit: int) -> list[Row]:
        """Deleted files, and expired ones whose `expires_at` is not after `grace_over`, in order of arrival."""
        return self._rows(_FREEABLE, (after_seq, stamp(grace_over), limit))

    def least_verified(self, before_seconds: int, limit: int) -> list[Row]:
        """Active files last verified before that Unix time, least recently verified first."""
        return self._rows(_LEAST_VERIFIED, (before_seconds, limit))

    def rows_after(self, seq: int, limit: int) -> list[Row]:
        """Rows in order of arrival."""
        return self._rows("SELECT * FROM files WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit))

    def oldest_tombstones(self, limit: int) -> list[tuple[int, str]]:
        """(change, at) of the oldest tombstones."""
        with self._question() as connection:
            return connection.execute(_OLD_TOMBSTONES, (limit,)).fetchall()

    def unverified_since(self) -> float | None:
        """The Unix time since when nobody looked at the bytes of the file longest left alone: its last verification, or
        its upload. None: no active files."""
        times = [
            row.verified_at or row.file.uploaded_at.timestamp()
            for statement in (_LEAST_VERIFIED, _LEAST_VERIFIED_AT_ALL)
            for row in self._rows(statement, (2**62, 1))
            if row.file is not None
        ]
        return min(times, default=None)

    def _rows(self, statement: str, values: tuple[Any, ...]) -> list[Row]:
        with self._question() as connection:
            return [Row.of(found) for found in connection.execute(statement, values)]


def _checked(query: ListQuery) -> int:
    """Where the page begins; `ValidationFailed` for anything out of range, never a silent correction."""
    problems = {}
    if not 1 <= query.limit <= PAGE_LIMIT:
        problems["limit"] = ["must be between 1 and 1000"]
    if not 0 <= query.offset <= OFFSET_LIMIT:
        problems["offset"] = ["must be between 0 and 10000; go on with cursor"]
    if query.status is not None and query.status not in STATUSES:
        problems["status"] = ["must be one of " + ", ".join(STATUSES)]
    if query.cursor is not None and query.offset:
        problems["cursor"] = ["may not be given together with offset"]
    after = -(2**63)
    if query.cursor is not None:
        try:
            after = int(query.cursor, 16)
        except ValueError:
            problems["cursor"] = ["is not one that this element gave"]
        if not -(2**63) <= after < 2**63:
            problems["cursor"] = ["is not one that this element gave"]
    if problems:
        raise ValidationFailed("Listing was refused: the query is not valid.", problems)
    return after


def _totals(connection: sqlite3.Connection) -> Totals:
    rows = connection.execute("SELECT status, files, bytes, revisions FROM totals").fetchall()
    return {
        status: {"files": files, "bytes": size, "revisions": revisions}
        for status, files, size, revisions in rows
    }


def _as_expired(body: str) -> str:
    return encode_json(json.loads(body) | {"status": EXPIRED})


def _tombstone(file_id: bytes, status: str, at: str) -> str:
    return encode_json({"file_id": str(UUID(bytes=file_id)), "status": status, "at": at})
