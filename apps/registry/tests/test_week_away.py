"""An element was out of reach for a week and lived on: one changes sync makes the records equal and says how much it
applied."""

import datetime as dt
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from django.utils import timezone

from apps.registry import applying, credentials, sync
from apps.registry.models import FileRecord, SyncRun, SyncTrigger
from apps.registry.node_client import NodeClient
from apps.registry.tests.site import Site
from artstore.tests.live import eventually
from storage_node.tests.drill_report import say

WEEK = dt.timedelta(days=7)
LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
)


def test_files_added_edited_expired_and_deleted_while_away_arrive_in_one_changes_sync(
    start_site: Callable[..., Site],
) -> None:
    site = start_site(SE_EXPIRED_GRACE="0").synced()
    soon = (timezone.now() + dt.timedelta(seconds=2)).isoformat()
    brief = {"retention_policy": "temporary", "ttl_days": 1, "expires_at": soon}
    kept, edited, deleted, purged = (site.put() for _ in range(4))
    expiring = site.put(**brief)
    site.sync()
    # From here on the registry hears nothing.
    client = site.client()
    client.delete_file(purged.file_id)
    eventually(lambda: _status(client, expiring.file_id) == "expired", "it expires", 30)
    client.collect_garbage(dry_run=False)
    client.edit_file(edited.file_id, {"tags": ["new"]})
    client.delete_file(deleted.file_id)
    added = [site.put() for _ in range(3)]
    run = site.sync()
    assert (run.kind, run.status, run.changes_applied) == ("changes", "succeeded", 7)
    assert site.differences() == []
    _statuses(
        {
            kept.file_id: "active",
            edited.file_id: "active",
            deleted.file_id: "deleted",
            purged.file_id: "deleted",
            expiring.file_id: "expired",
            **{one.file_id: "active" for one in added},
        }
    )


@pytest.mark.drill
def test_drill_a_week_passes_on_the_elements_own_clock(start_site: Callable[..., Site]) -> None:
    """The node's clock moves on by a week (libfaketime); files expire and are collected as they would."""
    library = next((name for name in LIBRARIES if Path(name).exists()), None)
    if library is None:
        pytest.skip("libfaketime is not installed (Debian: faketime), so no week can pass")
    site = start_site(SE_GC_INTERVAL="1h").synced()
    temporary = {"retention_policy": "temporary"}
    kept, edited, deleted, purged = (site.put() for _ in range(4))
    collected = site.put(**temporary, ttl_days=1)
    expired = site.put(**temporary, ttl_days=7)
    lasting = site.put(**temporary, ttl_days=30)
    site.sync()
    site.node.stop()
    site.node.environment |= {"LD_PRELOAD": library, "FAKETIME": "+7d", "NO_FAKE_STAT": "1"}
    site.node.start()
    later = lambda: timezone.now() + WEEK  # noqa: E731 - a clock, handed on as one
    caller = credentials.Caller(
        "someone", "ingester", ("files:read", "files:write", "storage:read", "storage:write")
    )
    client = credentials.client(site.element, caller, later)
    eventually(lambda: _status(client, expired.file_id) == "expired", "it expires", 60)
    client.delete_file(purged.file_id)
    client.collect_garbage(dry_run=False)
    client.edit_file(edited.file_id, {"tags": ["new"]})
    client.delete_file(deleted.file_id)
    began = time.monotonic()
    run = _synced_at(site, later)
    said = f"{run.changes_applied} changes applied by one changes sync in {time.monotonic() - began:.1f} s"
    assert (run.kind, run.status) == ("changes", "succeeded"), run.error
    assert run.changes_applied == 5
    _statuses(
        {
            kept.file_id: "active",
            lasting.file_id: "active",
            edited.file_id: "active",
            deleted.file_id: "deleted",
            purged.file_id: "deleted",
            collected.file_id: "expired",
            expired.file_id: "expired",
        }
    )
    files, *_rest = applying.active_sums(site.element.pk)
    assert files == client.get_info().body["counts"]["active"]["files"]
    say(f"a week away (libfaketime): {said}; records equal")


def _synced_at(site: Site, clock: Callable[[], dt.datetime]) -> SyncRun:
    site.element.refresh_from_db()
    report = sync.run(sync.claim(site.element, sync.Request(SyncTrigger.PERIODIC)).pk, clock)
    assert report is not None
    return report.run


def _status(client: NodeClient, file_id: uuid.UUID) -> str:
    listed = client.list_files({"limit": "1000"}).body["items"]
    return next((file["status"] for file in listed if file["file_id"] == str(file_id)), "gone")


def _statuses(wanted: dict[uuid.UUID, str]) -> None:
    found = dict(FileRecord.objects.values_list("pk", "status"))
    assert found == wanted
