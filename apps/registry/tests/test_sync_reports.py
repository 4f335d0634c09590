"""What a run leaves behind: its counts over several pages, its words, the element's columns, the metrics, nothing of its own."""

import datetime as dt
from typing import Any

import pytest
from django.db.models import F
from prometheus_client import REGISTRY

from apps.registry import elements, feed, sync
from apps.registry.models import FileRecord, SeenFile, StorageElement, SyncRun
from apps.registry.node_client import NodeClient
from apps.registry.tests import make


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def known(site: Any) -> None:
    """One file that the records have: without any, a cursor is not believed and everything is read."""
    site.put()
    site.sync()


def test_counts_of_a_run_are_the_sums_of_its_pages(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_ITEMS", 2)
    monkeypatch.setattr(feed, "GATHERED_PAGES", 1)
    known(site)
    kept, edited, gone = [site.put() for _ in range(3)], [site.put() for _ in range(3)], site.put()
    held_elsewhere = [site.put() for _ in range(3)]
    other = make.element()
    for said in held_elsewhere:
        make.record(other, file_id=said.file_id, checksum="0" * 64)
    before = site.element.cursor
    first = site.sync()
    assert (first.kind, first.changes_applied, first.files_seen) == ("changes", 10, 10)
    assert (first.files_added, first.files_updated, first.files_unchanged) == (7, 0, 0)
    assert (first.files_rejected, first.files_marked_deleted) == (3, 0)
    assert first.cursor == site.element.cursor > before
    for said in edited:
        site.client().edit_file(said.file_id, {"tags": ["new"]})
    site.client().delete_file(gone.file_id)
    site.client().collect_garbage(dry_run=False)
    whole = site.sync(full=True)
    assert (whole.files_seen, whole.files_added, whole.files_updated) == (10, 0, 3)
    assert (whole.files_unchanged, whole.files_rejected) == (1 + len(kept), 3)
    assert (whole.files_marked_deleted, whole.files_missing) == (1, 0)


def test_a_run_shows_so_many_rejected_items_and_counts_them_all(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_ITEMS", 2)
    monkeypatch.setattr(feed, "GATHERED_PAGES", 1)
    monkeypatch.setattr(sync, "REJECTED_SHOWN", 3)
    said = [site.put() for _ in range(5)]
    other = make.element()
    for one in said:
        make.record(other, file_id=one.file_id, checksum="0" * 64)
    run = site.sync()
    assert run.files_rejected == 5
    assert [item["file_id"] for item in run.rejected_items] == [str(one.file_id) for one in said][
        :3
    ]
    assert {item["reason"] for item in run.rejected_items} == {"duplicate_of_other_element"}


@pytest.mark.parametrize(
    ("files", "percent", "lost", "status"),
    [
        (2, 0, 2, "succeeded"),
        (2, 0, 3, "needs_confirmation"),
        (0, 50, 2, "succeeded"),
        (0, 50, 3, "needs_confirmation"),
    ],
)
def test_rule_6_as_many_as_may_be_missing_are_marked_and_one_more_is_asked_about(
    site: Any, settings: Any, files: int, percent: int, lost: int, status: str
) -> None:
    settings.ARTSTORE_SYNC_MISSING_FILES = files
    settings.ARTSTORE_SYNC_MISSING_PERCENT = percent
    for _ in range(4 - lost):
        site.put()
    for _ in range(lost):
        make.record(site.element)
    run = site.sync(full=True)
    assert (run.status, run.files_missing) == (status, lost)
    assert run.files_marked_deleted == (lost if status == "succeeded" else 0)
    if status == "needs_confirmation":
        assert run.error.startswith("3 of 4 active files are not on the element")


def test_a_full_sync_leaves_the_element_ready_for_changes(site: Any) -> None:
    site.put()
    StorageElement.objects.update(
        full_sync_reason="asked", totals_disagreed=1, last_file_sync_at=None, last_sync_at=None
    )
    run = site.sync()
    element = elements.get(site.element.pk)
    assert (run.kind, run.epoch, run.instance_id) == ("full", element.epoch, element.instance_id)
    assert (element.cursor, element.last_full_sync_at) == (run.cursor, run.started_at)
    assert (element.full_sync_reason, element.totals_disagreed) == ("", 0)
    assert element.known_gap == [0, 0, 0]
    assert element.last_sync_at is not None
    assert element.last_file_sync_at is not None
    assert run.finished_at is not None
    assert not SeenFile.objects.exists(), "what it saw is forgotten"


def test_a_run_is_leased_from_its_claim_on(site: Any, settings: Any) -> None:
    settings.ARTSTORE_SYNC_LEASE_SECONDS = 100
    run = sync.claim(site.element, sync.Request(sync.SyncTrigger.MANUAL))
    assert run.lease_expires_at - run.started_at == dt.timedelta(seconds=100)


def test_a_page_renews_the_lease_of_its_run(site: Any, settings: Any) -> None:
    run = site.sync()
    settings.ARTSTORE_SYNC_LEASE_SECONDS = 1000
    lease = sync._lease()
    SyncRun.objects.filter(pk=run.pk).update(
        status="running", lease_id=lease.id, lease_expires_at=F("started_at")
    )
    run.refresh_from_db()
    sync._Run(run, site.element, lease, lambda: run.started_at)._succeed({})
    run.refresh_from_db()
    assert run.status == "succeeded"
    assert run.lease_expires_at > run.started_at + dt.timedelta(seconds=900)


def test_a_difference_is_looked_at_three_times_before_it_counts(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = site.put()
    site.sync()
    FileRecord.objects.filter(pk=stored.file_id).update(size=999)
    looks: list[int] = []
    list_changes = NodeClient.list_changes

    def counted(client: NodeClient, since: int, epoch: str, limit: int = 1000) -> Any:
        looks.append(since)
        return list_changes(client, since, epoch, limit)

    monkeypatch.setattr(NodeClient, "list_changes", counted)
    site.sync()
    assert len(looks) == 3
    assert site.element.totals_disagreed == 1
    FileRecord.objects.filter(pk=stored.file_id).update(size=stored.size)
    site.sync()
    assert len(looks) == 4, "one look is enough where the totals agree"
    assert site.element.totals_disagreed == 0


def test_a_reason_for_a_full_sync_is_kept_as_far_as_there_is_room(site: Any) -> None:
    sync.ask_for_full(site.element.pk, "x" * 300)
    assert elements.get(site.element.pk).full_sync_reason == "x" * 200


def test_one_change_without_a_record_is_reason_enough_for_everything(db: None) -> None:
    assert sync.needs_full(make.element(cursor=1))
    assert not sync.needs_full(make.element(cursor=0))


def test_metrics_count_what_runs_did(site: Any) -> None:
    known(site)
    ended = {"kind": "changes", "status": "succeeded"}
    runs, files, timed = (
        metric("artstore_sync_runs_total", **ended),
        metric("artstore_sync_files_total", outcome="added"),
        metric("artstore_sync_duration_seconds_count", kind="changes"),
    )
    seconds = metric("artstore_sync_duration_seconds_sum", kind="changes")
    site.put()
    site.put()
    site.sync()
    assert metric("artstore_sync_runs_total", **ended) == runs + 1
    assert metric("artstore_sync_files_total", outcome="added") == files + 2
    assert metric("artstore_sync_duration_seconds_count", kind="changes") == timed + 1
    assert 0 < metric("artstore_sync_duration_seconds_sum", kind="changes") - seconds < 120
    outcomes = {"updated", "unchanged", "marked_deleted", "rejected"}
    assert all(
        REGISTRY.get_sample_value("artstore_sync_files_total", {"outcome": one}) is not None
        for one in outcomes
    )


def test_a_report_says_whether_the_run_succeeded(site: Any) -> None:
    run = sync.claim(site.element, sync.Request(sync.SyncTrigger.MANUAL))
    report = sync.run(run.pk)
    assert report is not None
    assert report.succeeded is True
    removed = sync.claim(site.element, sync.Request(sync.SyncTrigger.MANUAL))
    SyncRun.objects.filter(pk=removed.pk).update(storage_element=None)
    failed = sync.run(removed.pk)
    assert failed is not None
    assert failed.succeeded is False
