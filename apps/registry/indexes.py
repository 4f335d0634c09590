"""Indexes that a first load leaves out and builds at its end: those that only searches and orders of lists need.

They cost most of what a record costs PostgreSQL, and half of that when they are built over a full table. What is in them
is the catalogue's word; what was left out stands in `WaitingIndex`, written in the transaction that drops
it, so whoever looks next builds it, should this process die: the end of any sync, beat, or a migration. Which runs may
leave indexes out is `sync`'s to say.
"""

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any

from django.db import DatabaseError, Error, connection, transaction

from apps.registry.models import FileRecord, SyncKind, SyncRun, SyncStatus, WaitingIndex

logger = logging.getLogger(__name__)

# Never waited for longer by a load, nor by uploads and searches behind it: it can do with its indexes.
_PATIENCE = "SET LOCAL lock_timeout = '2s'"
_LOCK = "LOCK TABLE registry_filerecord IN ACCESS EXCLUSIVE MODE"
# All but the keys, what syncs and uploads go by, and the order in which lists are shown unasked.
_LEFT_OUT = """
SELECT c.relname, pg_get_indexdef(c.oid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = 'registry_filerecord'::regclass AND NOT i.indisunique
  AND NOT starts_with(c.relname, 'record_') AND c.relname <> 'query_by_time'
"""
_IS_VALID = """
SELECT i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = 'registry_filerecord'::regclass AND c.relname = %s
"""
# Any number that nothing else of ours locks.
_BUILDER = 0x41727453746F7265 + 2
_FOR_BUILDING = (
    "SET maintenance_work_mem = '256MB'; SET statement_timeout = 0; SET synchronous_commit = off"
)
_AS_BEFORE = "RESET maintenance_work_mem; RESET statement_timeout; RESET synchronous_commit"
_LOOK_SECONDS = 1.0
_NOT_BUILT = "an index of the records waits to be built and could not be"


def leave_out() -> None:
    """Drop them until `build_waiting`, if there is no record at all; otherwise, or where it cannot be had, change nothing.

    For a run that is written down as running and full, within its transaction.
    """
    if FileRecord.objects.exists():
        return  # without a lock that everybody would wait behind
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            # Who builds takes rows away: not one that is written here meanwhile.
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_BUILDER])
            if not cursor.fetchone()[0]:
                return
            cursor.execute(_PATIENCE)
            cursor.execute(_LOCK)
            if FileRecord.objects.exists():
                return
            cursor.execute(_LEFT_OUT)
            found = [WaitingIndex(name=name, definition=text) for name, text in cursor.fetchall()]
            WaitingIndex.objects.bulk_create(
                found, update_conflicts=True, unique_fields=["name"], update_fields=["definition"]
            )
            for index in found:
                cursor.execute(f'DROP INDEX "{index.name}"')
    except DatabaseError:
        logger.warning("a first load goes on with every index", exc_info=True)


def due() -> bool:
    """Whether some wait, and no run that might still be a first load is open."""
    loads = SyncRun.objects.filter(status=SyncStatus.RUNNING, kind=SyncKind.FULL)
    return WaitingIndex.objects.exists() and not loads.exists()


def build_due() -> None:
    """Build what waits, once the last of the loads has ended; a failure is left to the next who looks."""
    try:
        if due():
            _build()
    except Error:
        logger.exception(_NOT_BUILT)
        # Who comes next is not to meet a connection that was lost here.
        connection.close_if_unusable_or_obsolete()


def build_waiting() -> None:
    """Build what waits, whatever runs: for migrations, which expect the indexes that earlier ones made.

    Who builds already is waited for, but not in a statement: that would hold up the build.
    """
    if WaitingIndex._meta.db_table in connection.introspection.table_names():
        while WaitingIndex.objects.exists() and not _build():
            logger.warning("waiting for the process that builds the indexes of the records")
            time.sleep(_LOOK_SECONDS)


def _build() -> bool:
    """Whether nobody else does. What cannot be built is told, and keeps nothing else from it."""
    with _alone() as alone, connection.cursor() as cursor:
        if alone:
            built = [one for one in WaitingIndex.objects.order_by("name") if _built(one, cursor)]
            # What is indexed of an expression has statistics only after this.
            cursor.execute("ANALYZE registry_filerecord")
            # Only now: whoever finds none of these rows finds nothing left to be done.
            WaitingIndex.objects.filter(pk__in=[one.pk for one in built]).delete()
        return alone


def _built(index: WaitingIndex, cursor: Any) -> bool:
    """Without holding up uploads: `CONCURRENTLY`."""
    try:
        cursor.execute(_IS_VALID, [index.name])
        found = cursor.fetchone()
        if not (found and found[0]):
            # A build that was broken off leaves an invalid one of the name.
            cursor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{index.name}"')
            cursor.execute(index.definition.replace(" INDEX ", " INDEX CONCURRENTLY ", 1))
    except DatabaseError:
        logger.exception(_NOT_BUILT)
        return False
    return True


@contextlib.contextmanager
def _alone() -> Iterator[bool]:
    """Whether nobody else builds; asked, not waited for: who waits in a statement holds up a concurrent build."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_BUILDER])
        alone = bool(cursor.fetchone()[0])
        if not alone:
            yield False
            return
        try:
            # A web process has a limit on its statements. And no build waits for the disk: a crash takes the newest
            # first, so whenever it takes an index, the row that asks for it is still there.
            cursor.execute(_FOR_BUILDING)
            yield True
        finally:
            cursor.execute(_AS_BEFORE)
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_BUILDER])
