"""The measured syncs of one element: what they are held against, and what PostgreSQL says was written. Needs Django ready.

How often, on what and how it is shown: `sync_million`.
"""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from apps.admin import keys
from apps.admin.keyring import keyring
from apps.registry import applying, comparing, credentials, feed, listed, sync
from apps.registry.models import (
    FileRecord,
    StorageElement,
    SyncRun,
    SyncTrigger,
)
from apps.registry.tests.site import Site
from artstore import database
from bench.sync_ground import cpu_seconds
from storage_node.tests.node_process import NodeProcess

CHANGES = 1000


@dataclass(frozen=True)
class Spent:
    """One piece of work: wall time, and CPU by who used it."""

    seconds: float
    own_cpu: float
    postgres_cpu: float


class Stopwatch:
    """Measures a block's time and CPU: `with Stopwatch(pid) as watch: ...; watch.spent`."""

    def __init__(self, postgres_pid: int) -> None:
        self._pid = postgres_pid

    def __enter__(self) -> "Stopwatch":
        self._from = (time.monotonic(), time.process_time(), cpu_seconds(self._pid))
        return self

    def __exit__(self, *_details: object) -> None:
        now = (time.monotonic(), time.process_time(), cpu_seconds(self._pid))
        self.spent = Spent(*(end - start for start, end in zip(self._from, now, strict=True)))


def prepared() -> dict[str, Any]:
    """Migrations and signing keys; the key set for nodes."""
    call_command("migrate", verbosity=0)
    keys.ensure_signing_keys(timezone.now())
    return {"keys": keyring.jwks()}


def register(node: NodeProcess) -> StorageElement:
    """The element's row, never synced."""
    return Site.beside(node).element


def empty_records() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE registry_filerecord, registry_seenfile, registry_syncrun")


def listing_alone(element: StorageElement) -> Iterator[list[dict[str, Any]]]:
    """Every page of the whole feed as the client gives it: fetched and decoded, not looked at."""
    client = credentials.client(element, credentials.for_system("files:read", "storage:read"))
    epoch = client.get_info().identity.epoch
    since, has_more = 0, True
    while has_more:
        body = client.list_changes(since, epoch, feed.PAGE_ITEMS).body
        yield body["items"]
        since, has_more = body["next_since"], body["has_more"]


def reference(element: StorageElement) -> float:
    """Seconds for the listing alone plus COPY of the same rows into a temporary table; making rows is not counted."""
    copying = 0.0
    began = time.monotonic()
    for _items in listing_alone(element):
        pass
    listing = time.monotonic() - began
    for items in listing_alone(element):
        files = [listed.read(item["file"]) for item in items if "file" in item]
        with transaction.atomic():
            began = time.monotonic()
            applying.load(files, None)
            copying += time.monotonic() - began
    return listing + copying


def vacuum() -> None:
    """What autovacuum does within a minute of a load, so that one round does not meet it and another not."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE registry_filerecord, registry_seenfile")


def synced(element: StorageElement, *, full: bool) -> SyncRun:
    """One run from claim to end, as a worker does it."""
    element.refresh_from_db()
    run = sync.claim(element, sync.Request(SyncTrigger.MANUAL, full=full))
    report = sync.run(run.pk)
    if report is None or not report.succeeded:
        raise RuntimeError(f"the sync failed: {report and report.run.error}")
    return report.run


def record_writes() -> tuple[int, int, int]:
    """Rows of the record table inserted, updated, deleted so far, as PostgreSQL counts them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables"
            " WHERE relname = 'registry_filerecord'"
        )
        inserted, updated, deleted = cursor.fetchone()
        return inserted, updated, deleted


def change_files(element: StorageElement, count: int) -> None:
    """Edit `count` files of the element, spread over all of them."""
    known = FileRecord.objects.filter(storage_element=element, status="active")
    step = max(1, known.count() // count)
    ids = list(known.order_by("file_id").values_list("pk", flat=True)[::step][:count])
    client = credentials.client(element, credentials.for_system("files:read", "files:write"))

    def edit(file_id: uuid.UUID) -> None:
        try:
            client.edit_file(file_id, {"description": f"edited {uuid.uuid4()}"})
        finally:
            database.release()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(edit, ids))


def differences(element: StorageElement) -> int:
    """How many files and records are not equal now."""
    element.refresh_from_db()
    return len(comparing.compare(element).differences)
