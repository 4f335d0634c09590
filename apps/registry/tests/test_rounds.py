"""Periodic work: which syncs are due, which runs are lost, and that slow elements stop nobody."""

import datetime as dt
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.utils import timezone

from apps.registry import comparing, elements, rounds, sync, tasks
from apps.registry.models import FileRecord, StorageElement, SyncRun, WorkerHeartbeat
from apps.registry.node_client import NodeClient
from apps.registry.tests import make
from apps.registry.tests.scripted import IDENTITY, Line, ScriptedServer
from artstore import database
from storage_node.tests.node_process import Certificates

HOUR = dt.timedelta(hours=1)


def ended_run(element: StorageElement, ago: dt.timedelta, **changed: Any) -> SyncRun:
    values = {"trigger": "periodic", "kind": "changes", "status": "succeeded"} | changed
    return SyncRun.objects.create(
        storage_element=element, started_at=timezone.now() - ago, **values
    )


def test_an_element_never_synced_is_due_and_one_just_synced_is_not(db: None) -> None:
    new, fresh = make.element(), make.element()
    ended_run(fresh, dt.timedelta(minutes=30))
    due = rounds.open_due(timezone.now())
    assert [SyncRun.objects.get(pk=pk).storage_element_id for pk in due.runs] == [new.pk]
    assert rounds.open_due(timezone.now()).runs == ()


def test_an_element_is_due_after_its_period_give_or_take_the_jitter(
    db: None, settings: Any
) -> None:
    settings.ARTSTORE_SYNC_JITTER_SECONDS = 600
    rows = [make.element() for _ in range(30)]
    for element in rows:
        ended_run(element, HOUR)
    early = rounds.open_due(timezone.now() - dt.timedelta(minutes=5, seconds=1))
    assert early.runs == ()
    at_once = rounds.open_due(timezone.now())
    assert 0 < len(at_once.runs) < 30, "they are spread"
    late = rounds.open_due(timezone.now() + dt.timedelta(minutes=5, seconds=1))
    assert len(at_once.runs) + len(late.runs) == 30


def test_a_full_sync_asked_for_is_due_soon_but_not_at_every_tick(db: None) -> None:
    element = make.element(full_sync_reason="asked")
    last = ended_run(element, dt.timedelta(minutes=1))
    assert rounds.open_due(timezone.now()).runs == ()
    SyncRun.objects.filter(pk=last.pk).update(started_at=timezone.now() - dt.timedelta(minutes=6))
    due = rounds.open_due(timezone.now())
    assert SyncRun.objects.get(pk=due.runs[0]).kind == "full"


def test_elements_in_maintenance_are_left_alone(db: None) -> None:
    make.element(status="maintenance")
    assert rounds.open_due(timezone.now()).runs == ()


def test_a_run_nobody_took_is_offered_again_and_a_lost_one_is_closed(db: None) -> None:
    waiting, lost = make.element(), make.element()
    past = timezone.now() - dt.timedelta(seconds=1)
    queued = ended_run(waiting, HOUR, status="running", lease_expires_at=past)
    dead = ended_run(lost, HOUR * 3, status="running", lease_expires_at=past, lease_id=lost.pk)
    due = rounds.open_due(timezone.now())
    assert due.abandoned == 1
    dead.refresh_from_db()
    assert dead.status == "abandoned"
    assert dead.finished_at is not None
    assert queued.pk in due.runs
    assert len(due.runs) == 2, "the lost one's element starts again in the same round"
    assert queued.pk not in rounds.open_due(timezone.now()).runs, "once per lease"


@pytest.mark.parametrize(
    ("changed", "full"),
    [
        ({}, False),
        ({"epoch": ""}, True),
        ({"last_full_sync_at": None}, True),
        ({"last_full_sync_at": timezone.now() - dt.timedelta(days=8)}, True),
        ({"full_sync_reason": "asked"}, True),
    ],
)
def test_changes_are_enough_unless_there_is_a_reason(
    db: None, changed: dict[str, Any], full: bool
) -> None:
    element = make.element(**changed)
    make.record(element)
    assert sync.needs_full(element) is full


def test_a_cursor_without_records_asks_for_everything(db: None) -> None:
    assert sync.needs_full(make.element(cursor=5))
    assert not sync.needs_full(make.element(cursor=0))


# --- drift and cursors ---


def test_totals_that_disagree_twice_running_ask_for_a_full_sync(site: Any) -> None:
    stored = site.put()
    site.sync()
    FileRecord.objects.filter(pk=stored.file_id).update(size=999)
    site.sync()
    assert elements.get(site.element.pk).totals_disagreed == 1
    run = site.sync()
    assert (run.kind, run.status) == ("changes", "succeeded")
    assert "disagreed" in elements.get(site.element.pk).full_sync_reason
    healed = site.sync()
    assert (healed.kind, healed.files_updated) == ("full", 1)
    assert site.record(stored.file_id).size == stored.size
    assert elements.get(site.element.pk).totals_disagreed == 0


def test_a_known_difference_is_no_disagreement(site: Any) -> None:
    """A file that is rejected stays missing in our sums; that must not force full syncs for ever."""
    said, _good = site.put(), site.put()
    make.record(make.element(), file_id=said.file_id, checksum="0" * 64)
    site.sync(full=True)
    for _ in range(3):
        run = site.sync()
        assert (run.kind, run.status) == ("changes", "succeeded")
    assert elements.get(site.element.pk).totals_disagreed == 0


def test_a_cursor_ahead_of_the_element_leads_to_a_full_sync(site: Any) -> None:
    site.put()
    site.sync()
    StorageElement.objects.update(cursor=2**62)
    run = site.sync()
    assert (run.kind, run.status) == ("full", "succeeded")
    assert site.element.cursor < 2**62


def test_a_cursor_the_element_has_forgotten_leads_to_a_full_sync(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = site.put()
    site.sync()
    list_changes = NodeClient.list_changes

    def forgotten(client: NodeClient, since: int, epoch: str, limit: int = 1000) -> Any:
        # What the node says when tombstones older than the cursor are forgotten.
        answer = list_changes(client, since, "another" if since else epoch, limit)
        assert not since
        return answer

    monkeypatch.setattr(NodeClient, "list_changes", forgotten)
    run = site.sync()
    assert (run.kind, run.status, run.new_epoch) == ("full", "succeeded", False)
    assert site.record(stored.file_id).status == "active"


def test_an_element_unreachable_for_a_week_is_brought_up_to_date_by_one_changes_sync(
    site: Any,
) -> None:
    kept, edited, deleted, purged = (site.put() for _ in range(4))
    expiring = site.put(retention_policy="temporary", ttl_days=1)
    site.sync()
    # The registry hears nothing while all this happens there.
    site.client().edit_file(edited.file_id, {"tags": ["new"]})
    site.client().delete_file(purged.file_id)
    site.client().collect_garbage(dry_run=False)
    site.client().delete_file(deleted.file_id)
    added = [site.put() for _ in range(3)]
    assert site.element.last_file_sync_at is not None
    run = site.sync()
    assert (run.kind, run.status) == ("changes", "succeeded")
    assert run.changes_applied == 6
    found = comparing.compare(site.element)
    assert found.differences == []
    assert site.record(purged.file_id).status == "deleted"
    assert site.record(kept.file_id).status == site.record(expiring.file_id).status == "active"
    assert {site.record(one.file_id).status for one in added} == {"active"}


# --- the hourly round ---


def test_a_round_with_dead_and_silent_elements_finishes_for_all_the_others(
    start_site: Callable[..., Any], certificates: Certificates, settings: Any
) -> None:
    """Two elements are well, two dead, one answers a byte now and then. Their rows say what was."""
    settings.ARTSTORE_NODE_ANSWER_SECONDS = 2
    well = [start_site(f"se-well-{number}") for number in range(2)]
    for site in well:
        site.put()
    dead = [make.element() for _ in range(2)]
    over = threading.Event()

    def trickle(line: Line) -> None:
        line.head()
        line.send(f"HTTP/1.1 200 OK\r\n{IDENTITY}Content-Length: 9999\r\n\r\n")
        while not over.wait(0.05):
            line.send(" ")

    with ScriptedServer(certificates, trickle) as server:
        slow = make.element(
            "se-fake", url=server.url, instance_id="i-1", ca_pem=certificates.ca.read_text()
        )
        due = rounds.open_due(timezone.now())
        with ThreadPoolExecutor(5) as workers:
            list(workers.map(_run_and_release, due.runs))
        over.set()
    assert len(due.runs) == 5
    statuses = {
        run.storage_element_id: run.status for run in SyncRun.objects.filter(pk__in=due.runs)
    }
    assert {statuses[site.element.pk] for site in well} == {"succeeded"}
    assert {statuses[element.pk] for element in [*dead, slow]} == {"failed"}
    assert all(run.error for run in SyncRun.objects.filter(status="failed"))
    assert FileRecord.objects.filter(status="active").count() == 2


def _run_and_release(run_id: Any) -> None:
    try:
        sync.run(run_id)
    finally:
        database.release()


def test_a_worker_killed_in_mid_run_is_noticed_and_the_next_round_catches_up(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put()

    class Killed(BaseException):
        """As a kill does: nothing more is written."""

    def die(*_args: Any) -> None:
        raise Killed

    run = sync.claim(site.element, sync.Request(sync.SyncTrigger.MANUAL))
    with monkeypatch.context() as patch:
        patch.setattr(sync, "_guarded", die)
        with pytest.raises(Killed):
            sync.run(run.pk)
    assert sync.get(run.pk).status == "running"
    SyncRun.objects.filter(pk=run.pk).update(lease_expires_at=timezone.now())
    due = rounds.open_due(timezone.now() + HOUR * 2)
    assert sync.get(run.pk).status == "abandoned"
    report = sync.run(due.runs[0])
    assert report is not None
    assert report.run.files_added == 1


def test_a_fault_of_ours_closes_the_run_and_is_not_swallowed(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sync.applying, "apply_page", broken)
    run = sync.claim(site.element, sync.Request(sync.SyncTrigger.MANUAL, full=True))
    with pytest.raises(ZeroDivisionError):
        sync.run(run.pk)
    assert sync.get(run.pk).status == "failed"


def test_a_run_whose_element_was_removed_fails(site: Any) -> None:
    run = sync.claim(site.element, sync.Request(sync.SyncTrigger.MANUAL))
    elements.remove(site.element.pk, make.principal(), timezone.now(), force=True)
    report = sync.run(run.pk)
    assert report is not None
    assert report.run.status == "failed"


# --- tasks ---


def test_the_tasks_are_the_verbs_and_may_run_twice(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put()
    enqueued: list[str] = []
    monkeypatch.setattr(tasks.run_sync, "delay", enqueued.append)
    SyncRun.objects.all().delete()
    tasks.start_due_syncs()
    assert len(enqueued) == 1
    for _ in range(2):
        tasks.run_sync(enqueued[0])
    assert SyncRun.objects.get().status == "succeeded"
    tasks.probe_elements()
    assert elements.get(site.element.pk).status == "online"
    tasks._heart.beat()
    assert WorkerHeartbeat.objects.filter(pk=tasks._heart.name).exists()
    tasks.stop_heart()
    assert not WorkerHeartbeat.objects.exists()


def test_info_of_an_element_that_is_starting_fails_the_run(
    keys: None, certificates: Certificates
) -> None:
    identity = IDENTITY.replace("X-ArtStore-Epoch: e-1\r\n", "")

    def script(line: Line) -> None:
        while line.read_some():
            line.answer("200 OK", json.dumps({"contract": 1, "status": "starting"}), identity)

    with ScriptedServer(certificates, script) as server:
        element = make.element(
            "se-fake", url=server.url, instance_id="i-1", ca_pem=certificates.ca.read_text()
        )
        report = sync.run(sync.claim(element, sync.Request(sync.SyncTrigger.MANUAL)).pk)
    assert report is not None
    assert report.run.status == "failed"
    assert "starting" in report.run.error
