"""Applies pages of an element's feed to the records, set by set: COPY into a temporary table, one
update and one upsert of what differs. Decides per row what may be written, in SQL, so that the check
and the write are one statement even when an upload writes the same row at the same moment.

When pages are read and what a run means is `sync`.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import DataError, IntegrityError, connection, transaction

from apps.registry import copying, listed, written
from apps.registry.attributes import RECORD_COLUMNS
from apps.registry.feed import Page, Rejected

DUPLICATE = "duplicate_of_other_element"

_COLUMNS = RECORD_COLUMNS

# The record's own types; a text is as wide as the column, so what is too long is refused here too.
_CREATE = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS sync_page ON COMMIT DELETE ROWS AS
SELECT ''::text AS kind, {", ".join(_COLUMNS)} FROM registry_filerecord WITH NO DATA
"""  # noqa: S608 - put together from constants
# A page is a thousand keys to look up. The statistics of a table that is being filled say it is
# empty, and on their word the planner would walk all of it for each page: leave it the keys only.
_PLAN = (
    "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;"
    " SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"
)
# Statistics taken when the table had next to no rows, though it has pages, are believed whatever it holds by now.
# Not waited for: whoever has the table for an ANALYZE now, or for an index, will do as well.
_MISJUDGED = """
SELECT relpages > 0 AND reltuples < 1000 AND pg_relation_size(oid) > 1024 * 1024
FROM pg_class WHERE oid = 'registry_filerecord'::regclass
"""
_LOOK_AGAIN = "ANALYZE (SKIP_LOCKED) registry_filerecord"
# A record costs PostgreSQL mostly its twenty indexes, and the GIN ones less when they merge more
# rows at a time. Nothing waits for the disk either: what a page wrote and the cursor that says
# so are lost together or not at all, and the commit that ends the run waits for all of them.
_FOR_MANY_ROWS = (
    " SET LOCAL gin_pending_list_limit = '16MB'; SET LOCAL work_mem = '32MB';"
    " SET LOCAL synchronous_commit = off"
)
# The other way round for what looks at every record of an element.
_PLAN_FOR_ALL = "SET LOCAL enable_nestloop = off"
_COPY = f"COPY sync_page ({', '.join(copying.COLUMNS)}) FROM STDIN"

_COPY_RECORDS = f"COPY registry_filerecord ({', '.join(copying.RECORD)}) FROM STDIN"

_VALUES = _COLUMNS[1:]


def _row(alias: str) -> str:
    return "(" + ", ".join(f"{alias}.{name}" for name in _VALUES) + ")"


def _differs(new: str) -> str:
    return (
        "(r.storage_element_id IS DISTINCT FROM %(element)s"
        f" OR {_row('r')} IS DISTINCT FROM {_row(new)})"
    )


# A row marked gone comes back when the element knows something newer, or when it was only gone
# because the element could not be asked.
def _may_come_back(new: str) -> str:
    return (
        f"(r.status <> 'deleted' OR {new}.status = 'deleted' OR %(new_epoch)s"
        f" OR {new}.stored_revision > r.stored_revision"
        " OR r.deletion_reason IN ('missing_on_element', 'element_removed'))"
    )


# An upload whose texts came behind its bytes is stored first and described next. Until then its
# row says more than the element does, and waits for whoever finishes the upload.
def _as_uploaded(new: str) -> str:
    texts = "({0}.description, {0}.tags, {0}.metadata)"
    return (
        f"(r.status = 'uploading' AND ({new}.stored_revision > 1"
        f" OR {texts.format('r')} IS NOT DISTINCT FROM {texts.format(new)}))"
    )


# An element speaks for its own rows, by revision within one epoch; of a new epoch everything
# counts, except over rows that were written since the run began (those are asked for singly), and
# over what a later page of this very run put in (pages of a first load overtake each other).
def _own(new: str) -> str:
    return (
        f"(r.storage_element_id = %(element)s AND ({_as_uploaded(new)}"
        " OR (r.status <> 'uploading' AND"
        " ((%(new_epoch)s AND (r.written_at IS NULL OR r.written_at < %(started_at)s)"
        " AND (r.activated_at IS DISTINCT FROM %(started_at)s"
        f" OR {new}.stored_revision >= r.stored_revision))"
        f" OR (NOT %(new_epoch)s AND {new}.stored_revision >= r.stored_revision"
        f" AND {_may_come_back(new)})))))"
    )


# Rows of nobody (their element was removed) and rows that went missing elsewhere may be taken
# over by whoever has the same bytes.
def _takeover(new: str) -> str:
    return (
        f"(r.status = 'deleted' AND r.checksum = {new}.checksum"
        f" AND ((r.storage_element_id IS NULL AND {_may_come_back(new)})"
        " OR (r.storage_element_id <> %(element)s AND r.deletion_reason = 'missing_on_element')))"
    )


def _applies(new: str) -> str:
    return f"(({_own(new)} OR {_takeover(new)}) AND {_differs(new)})"


_REASON = "CASE {0}.status WHEN 'deleted' THEN 'user' WHEN 'expired' THEN 'expired' ELSE '' END"

# Of rows that are there. The upsert would do it too, but makes a row's name key and search vector before it
# looks whether there is one, and then again. What an upload writes between the two is the upsert's.
_UPDATE = f"""
UPDATE registry_filerecord r SET
    {", ".join(f"{name} = p.{name}" for name in _VALUES)},
    storage_element_id = %(element)s,
    deletion_reason = {_REASON.format("p")},
    activated_at = CASE WHEN r.status = 'active' THEN r.activated_at ELSE clock_timestamp() END,
    lease_id = NULL, lease_expires_at = NULL
FROM (SELECT * FROM sync_page WHERE kind = 'f' ORDER BY file_id) p
WHERE r.file_id = p.file_id AND {_applies("p")}
"""  # noqa: S608 - put together from constants of this module

_UPSERT = f"""
INSERT INTO registry_filerecord AS r
    ({", ".join(_COLUMNS)}, storage_element_id, deletion_reason, activated_at, body_sent)
SELECT {", ".join(f"p.{name}" for name in _COLUMNS)}, %(element)s, {_REASON.format("p")},
       clock_timestamp(), false
FROM sync_page p LEFT JOIN registry_filerecord r ON r.file_id = p.file_id
WHERE p.kind = 'f' AND (r.file_id IS NULL OR {_applies("p")})
ORDER BY p.file_id
ON CONFLICT (file_id) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _VALUES)},
    storage_element_id = excluded.storage_element_id,
    deletion_reason = excluded.deletion_reason,
    activated_at = CASE WHEN r.status = 'active' THEN r.activated_at
                        ELSE excluded.activated_at END,
    lease_id = NULL, lease_expires_at = NULL
WHERE {_applies("excluded")}
RETURNING r.xmax = 0
"""  # noqa: S608 - put together from constants of this module

# This and _HELD_BACK are written so that no index but the key's fits: see _PLAN.
_BURY = """
UPDATE registry_filerecord r SET
    status = CASE p.status WHEN 'expired' THEN 'expired' ELSE 'deleted' END,
    deletion_reason = CASE p.status WHEN 'expired' THEN 'expired' WHEN 'deleted' THEN 'user'
                                    ELSE 'missing_on_element' END,
    updated_at = p.updated_at
FROM sync_page p
WHERE p.kind = 't' AND r.file_id = p.file_id
  AND r.storage_element_id IS NOT DISTINCT FROM %(element)s AND (r.status = 'active') IS TRUE
"""

_ELSEWHERE = """
SELECT p.file_id FROM sync_page p JOIN registry_filerecord r ON r.file_id = p.file_id
WHERE p.kind = 'f' AND r.storage_element_id IS DISTINCT FROM %(element)s
"""

_HELD_BACK = f"""
SELECT p.file_id FROM sync_page p JOIN registry_filerecord r ON r.file_id = p.file_id
WHERE p.kind = 'f' AND r.storage_element_id IS NOT DISTINCT FROM %(element)s
  AND r.status <> 'uploading' AND r.written_at >= %(started_at)s AND {_differs("p")}
"""  # noqa: S608 - put together from constants of this module

_SEEN = """
INSERT INTO registry_seenfile AS s (run_id, file_id, tombstone)
SELECT %(run)s, file_id, bool_or(kind = 't') FROM sync_page GROUP BY file_id
ON CONFLICT (run_id, file_id) DO UPDATE SET tombstone = excluded.tombstone
WHERE s.tombstone <> excluded.tombstone
"""

# A record that a first load put in says so itself: it is active since that very run began.
_SEEN_BY_ITS_RECORD = """
SELECT count(*) FROM registry_filerecord r
WHERE r.storage_element_id = %(element)s AND r.activated_at = %(started_at)s
  AND NOT EXISTS (SELECT FROM registry_seenfile s
                  WHERE s.run_id = %(run)s AND s.file_id = r.file_id)
"""

_MISSING = """
FROM registry_filerecord r
WHERE r.storage_element_id = %(element)s AND r.status = 'active'
  AND r.activated_at < %(started_at)s
  AND NOT EXISTS (SELECT FROM registry_seenfile s
                  WHERE s.run_id = %(run)s AND s.file_id = r.file_id)
"""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows may be touched, and by which run's rules."""

    run: uuid.UUID
    element: uuid.UUID
    started_at: dt.datetime
    new_epoch: bool
    remember_seen: bool
    # The element had no record when the run began: most of what it lists is new.
    fresh: bool = False

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "element": self.element,
            "started_at": self.started_at,
            "new_epoch": self.new_epoch,
        }


@dataclass(slots=True)
class Applied:
    """What one page did."""

    added: int = 0
    updated: int = 0
    marked_deleted: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    held_back: list[uuid.UUID] = field(default_factory=list)


def apply_page(page: Page, scope: Scope) -> Applied:
    """Apply one page inside the caller's transaction."""
    applied = Applied(rejected=list(page.rejected))
    files = list(page.files.values())
    if page.records and put_in(page):
        applied.added = len(files)
        if page.tombstones or page.rejected:
            _apply_files([], page, scope, applied)
    else:
        _apply_files(files, page, scope, applied, page.lines)
    return applied


def write_out(page: Page, scope: Scope) -> None:
    """Make of the page what `apply_page` will need; needs no database."""
    files = page.files.values()
    if scope.fresh and scope.remember_seen:
        page.records = copying.records(files, scope.element, scope.started_at)
    else:
        page.lines = copying.lines(files, page)


def put_in(page: Page) -> bool:
    """Put the page's files in as they are: half the way of a page that has to be compared.

    False, with nothing written, where a record is there already, whoever it belongs to, or the
    database refuses a value; then the page goes the way of all others.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_FOR_MANY_ROWS)
            _copy(cursor, _COPY_RECORDS, page.records)
            # That the element is there; or the commit would look, with the run's row locked.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except (DataError, IntegrityError):
        return False
    written.changes.note_any()
    return True


def _apply_files(
    files: Sequence[str],
    page: Page | None,
    scope: Scope,
    applied: Applied,
    lines: bytes = b"",
) -> None:
    """Apply the rows `files`, and with them the rest of `page`; `lines` if they are written out already.

    An item that passed every check and is still refused by the database is found by halving, so
    that it is rejected alone and stops nothing.
    """
    try:
        with transaction.atomic():
            _load(lines or copying.lines(files, page))
            _execute(scope, applied, bury=page is not None and bool(page.tombstones))
    except DataError as failure:
        if len(files) > 1:
            middle = len(files) // 2
            _apply_files(files[:middle], page, scope, applied)
            _apply_files(files[middle:], None, scope, applied)
        elif files:
            reason = f"refused by the database: {type(failure.__cause__).__name__}"
            rejected = Rejected(uuid.UUID(listed.id_of(files[0])), reason)
            applied.rejected.append(rejected)
            rest = Page("", 0, has_more=False, totals=None, rejected=[rejected])
            if page is not None:
                rest.tombstones, rest.rejected = page.tombstones, [*page.rejected, rejected]
            _apply_files([], rest, scope, applied)
        else:
            raise


def load(files: Iterable[str], page: Page | None) -> None:
    """Put the rows `files`, and what else `page` holds, into the temporary table of this transaction."""
    _load(copying.lines(files, page))


def _load(lines: bytes) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_CREATE)
        cursor.execute("DELETE FROM sync_page")
        _copy(cursor, _COPY, lines)


def _copy(cursor: Any, statement: str, lines: bytes) -> None:
    # COPY goes past Django's cursor, and so past its translation of database errors.
    with connection.wrap_database_errors, cursor.copy(statement) as copy:
        copy.write(lines)


def _execute(scope: Scope, applied: Applied, *, bury: bool) -> None:
    parameters = scope.parameters
    with connection.cursor() as cursor:
        _prepare(cursor)
        held_back: list[uuid.UUID] = []
        if scope.new_epoch:
            cursor.execute(_HELD_BACK, parameters)
            held_back = [row[0] for row in cursor.fetchall()]
        cursor.execute(_UPDATE, parameters)
        updated = cursor.rowcount
        cursor.execute(_UPSERT, parameters)
        inserted = [bool(row[0]) for row in cursor.fetchall()]
        updated += len(inserted) - sum(inserted)
        buried = 0
        if bury:
            cursor.execute(_BURY, parameters)
            buried = cursor.rowcount
        cursor.execute(_ELSEWHERE, parameters)
        elsewhere = [Rejected(row[0], DUPLICATE) for row in cursor.fetchall()]
        if scope.remember_seen:
            cursor.execute(_SEEN, parameters)
    if inserted or updated or buried:
        written.changes.note_any()
    applied.added += sum(inserted)
    applied.updated += updated
    applied.marked_deleted += buried
    applied.rejected += elsewhere
    applied.held_back += held_back


def _prepare(cursor: Any) -> None:
    """For statements that look up a page's keys: that is how they are to be carried out."""
    cursor.execute(_MISJUDGED)
    if cursor.fetchone()[0]:
        cursor.execute(_LOOK_AGAIN)
    cursor.execute(f"{_PLAN};{_FOR_MANY_ROWS}")


def count_seen(scope: Scope) -> int:
    """Distinct files a full listing has met; tombstones are not files."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM registry_seenfile WHERE run_id = %(run)s AND NOT tombstone",
            scope.parameters,
        )
        seen = int(cursor.fetchone()[0])
        if scope.fresh:
            cursor.execute(_PLAN_FOR_ALL)
            cursor.execute(_SEEN_BY_ITS_RECORD, scope.parameters)
            seen += int(cursor.fetchone()[0])
        return seen


def count_missing(scope: Scope) -> int:
    """Active records of the element, older than the run, that the listing did not meet."""
    with connection.cursor() as cursor:
        cursor.execute(_PLAN_FOR_ALL)
        cursor.execute("SELECT count(*) " + _MISSING, scope.parameters)
        return int(cursor.fetchone()[0])


def mark_missing(scope: Scope) -> int:
    """Those records become deleted; answers how many."""
    with connection.cursor() as cursor:
        cursor.execute(_PLAN_FOR_ALL)
        cursor.execute(
            "UPDATE registry_filerecord SET status = 'deleted', updated_at = clock_timestamp(),"  # noqa: S608 - put together from constants of this module
            " deletion_reason = 'missing_on_element'"
            f" WHERE status = 'active' AND file_id IN (SELECT r.file_id {_MISSING})",
            scope.parameters,
        )
        written.changes.note_any()
        return int(cursor.rowcount)


def forget_seen(run_id: uuid.UUID) -> None:
    """The run is over; what it saw is of no use any more."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM registry_seenfile WHERE run_id = %s", [run_id])


def active_sums(element_id: uuid.UUID) -> tuple[int, int, int]:
    """Active records of an element: how many, their bytes, the sum of their revisions."""
    with transaction.atomic(), connection.cursor() as cursor:
        # Helpers take half as much CPU again, and are no sooner done with a million entries of an index.
        cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        cursor.execute(
            "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(stored_revision), 0)"
            " FROM registry_filerecord WHERE storage_element_id = %s AND status = 'active'",
            [element_id],
        )
        files, size_bytes, revisions = cursor.fetchone()
        return int(files), int(size_bytes), int(revisions)
