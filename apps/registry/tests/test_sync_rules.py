"""Rules 1 to 4 of sync, each against a real node: what may be written to which row, and by whom. Names
begin with the rule's number."""

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from apps.registry import applying, editing, elements, feed, sync
from apps.registry.errors import SyncInProgress
from apps.registry.models import (
    FileRecord,
    SyncRun,
    SyncTrigger,
    element_id_of,
)
from apps.registry.tests import make
from apps.registry.uploading import Lease, UploadDraft
from artstore import database


def claim(site: Any, **request: Any) -> SyncRun:
    site.element.refresh_from_db()
    return sync.claim(site.element, sync.Request(SyncTrigger.MANUAL, **request))


def test_a_full_sync_brings_in_every_file_of_the_element(site: Any) -> None:
    files = [site.put(f"content {number}".encode(), tags=["a"]) for number in range(5)]
    run = site.sync(full=True)
    assert (run.status, run.files_added, run.files_seen) == ("succeeded", 5, 5)
    assert {site.record(one.file_id).checksum for one in files} == {one.checksum for one in files}


def test_a_changes_sync_applies_what_was_added_edited_and_deleted(site: Any) -> None:
    kept, edited, deleted = (site.put() for _ in range(3))
    site.sync()
    site.client().edit_file(edited.file_id, {"tags": ["new"], "description": "told"})
    site.client().delete_file(deleted.file_id)
    added = site.put()
    run = site.sync()
    assert (run.kind, run.status, run.changes_applied) == ("changes", "succeeded", 3)
    assert site.record(edited.file_id).tags == ["new"]
    assert site.record(edited.file_id).stored_revision == 2
    assert site.record(deleted.file_id).status == "deleted"
    assert site.record(deleted.file_id).deletion_reason == "user"
    assert site.record(kept.file_id).status == site.record(added.file_id).status == "active"


# --- 1. files created, changed, deleted during the run are never lost or wrongly deleted ---


def test_rule_1_prior_art_19_files_that_change_while_a_full_sync_reads_pages_end_up_right(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_ITEMS", 3)
    monkeypatch.setattr(feed, "GATHERED_PAGES", 1)
    files = [site.put() for _ in range(12)]
    churned: dict[str, uuid.UUID] = {}

    def churn(page: feed.Page, scope: applying.Scope) -> applying.Applied:
        if not churned:
            churned["edited"] = files[0].file_id
            site.client().edit_file(files[0].file_id, {"tags": ["late"]})
            churned["deleted"] = files[11].file_id
            site.client().delete_file(files[11].file_id)
            churned["added"] = site.put().file_id
        return apply_page(page, scope)

    apply_page = applying.apply_page
    monkeypatch.setattr(applying, "apply_page", churn)
    run = site.sync(full=True)
    assert run.status == "succeeded", run.error
    assert site.record(churned["edited"]).tags == ["late"]
    assert site.record(churned["deleted"]).status == "deleted"
    assert site.record(churned["added"]).status == "active"
    active = FileRecord.objects.filter(storage_element=site.element, status="active")
    assert active.count() == 12


def test_rule_1_a_file_uploaded_while_the_listing_ends_is_not_marked_missing(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put()
    late = make.attributes()

    def count_seen(scope: applying.Scope) -> int:
        # An upload is recorded after the last page was read: the listing cannot have met it.
        FileRecord.begin(_draft(late.file_id, site.element.pk), Lease.for_seconds(60))
        FileRecord.activate(site.element.pk, late)
        return original(scope)

    original = applying.count_seen
    monkeypatch.setattr(applying, "count_seen", count_seen)
    run = site.sync(full=True)
    assert (run.status, run.files_marked_deleted) == ("succeeded", 0)
    assert site.record(late.file_id).status == "active"


# --- 2. two runs of one element cannot overlap; a dead run that wakes up changes nothing ---


def test_rule_2_a_second_run_of_one_element_is_refused(site: Any) -> None:
    claim(site)
    with pytest.raises(SyncInProgress):
        claim(site)


def test_rule_2_claims_from_parallel_connections_give_one_run(site: Any) -> None:
    outcomes: list[str] = []
    together = threading.Barrier(6)

    def attempt() -> None:
        together.wait()
        try:
            sync.claim(site.element, sync.Request(SyncTrigger.MANUAL))
            outcomes.append("claimed")
        except SyncInProgress:
            outcomes.append("refused")
        finally:
            database.release()

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["claimed", *["refused"] * 5]


def test_rule_2_a_run_taken_by_one_worker_is_not_run_by_another(site: Any) -> None:
    run = claim(site)
    assert SyncRun.take(run.pk, Lease.for_seconds(60))
    assert sync.run(run.pk) is None


def test_rule_2_a_run_declared_dead_that_wakes_up_changes_nothing(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = site.put()

    def slept_too_long(page: feed.Page, scope: applying.Scope) -> applying.Applied:
        raise AssertionError("a lost run must not apply a page")

    monkeypatch.setattr(applying, "apply_page", slept_too_long)
    run = claim(site, full=True)
    pages = feed.pages

    def dead_meanwhile(*args: Any) -> Any:
        SyncRun.objects.filter(pk=run.pk).update(lease_expires_at=timezone.now())
        assert SyncRun.abandon_lost() == 1
        yield from pages(*args)

    monkeypatch.setattr(feed, "pages", dead_meanwhile)
    report = sync.run(run.pk)
    assert report is not None
    assert report.run.status == "abandoned"
    assert report.run.files_seen == 0
    assert not FileRecord.objects.filter(pk=stored.file_id).exists()


# --- 3. an element speaks only for its own records ---


def test_rule_3_a_file_id_held_by_another_element_is_rejected_and_shown(
    site: Any, start_site: Callable[..., Any]
) -> None:
    other = start_site("se-other").synced()
    file_id = uuid.uuid4()
    mine = site.put(b"mine", file_id=file_id)
    other.put(b"theirs", file_id=file_id)
    site.sync()
    run = other.sync()
    assert run.status == "succeeded"
    assert run.files_rejected == 1
    assert run.rejected_items == [{"file_id": str(file_id), "reason": applying.DUPLICATE}]
    assert site.record(file_id).storage_element_id == site.element.pk
    assert site.record(file_id).checksum == mine.checksum


def test_rule_3_a_deletion_on_another_element_does_not_touch_the_record(
    site: Any, start_site: Callable[..., Any]
) -> None:
    other = start_site("se-other").synced()
    file_id = uuid.uuid4()
    site.put(b"same", file_id=file_id)
    other.put(b"same", file_id=file_id)
    site.sync()
    other.client().delete_file(file_id)
    other.sync()
    other.client().collect_garbage(dry_run=False)
    other.sync(full=True)
    assert site.record(file_id).status == "active"


def test_rule_3_a_record_gone_missing_is_taken_over_with_equal_bytes_only(
    site: Any, start_site: Callable[..., Any]
) -> None:
    other = start_site("se-other").synced()
    moved = other.put(b"moved")
    foreign = other.put(b"other bytes")
    for stored, checksum in ((moved, moved.checksum), (foreign, "0" * 64)):
        make.record(
            site.element,
            file_id=stored.file_id,
            status="deleted",
            checksum=checksum,
            deletion_reason="missing_on_element",
        )
    run = other.sync(full=True)
    taken = FileRecord.objects.get(pk=moved.file_id)
    assert (taken.storage_element_id, taken.status) == (other.element.pk, "active")
    assert run.rejected_items == [{"file_id": str(foreign.file_id), "reason": applying.DUPLICATE}]
    assert FileRecord.objects.get(pk=foreign.file_id).storage_element_id == site.element.pk


def test_rule_3_a_removed_element_registered_again_gets_its_records_back(site: Any) -> None:
    stored = site.put()
    site.sync()
    registration = elements.Registration("again", site.element.url, site.element.ca_pem)
    elements.remove(site.element.pk, make.principal(), timezone.now(), force=True)
    gone = FileRecord.objects.get(pk=stored.file_id)
    assert (gone.status, gone.deletion_reason) == ("deleted", "element_removed")
    assert gone.storage_element_id is None
    again = elements.register(registration, make.principal(), timezone.now())
    sync.run(again.run.pk)
    back = FileRecord.objects.get(pk=stored.file_id)
    assert (back.status, back.deletion_reason) == ("active", "")
    assert back.storage_element_id == element_id_of("se-test")


# --- 4. revisions within one epoch, the element's word in a new one ---


def test_rule_4_an_older_revision_of_the_same_epoch_does_not_overwrite(site: Any) -> None:
    stored = site.put()
    site.sync()
    FileRecord.objects.filter(pk=stored.file_id).update(stored_revision=5, description="newer")
    run = site.sync(full=True)
    assert run.files_updated == 0
    assert site.record(stored.file_id).description == "newer"


def test_rule_4_answers_to_edits_bring_the_revision_and_the_record_keeps_it(site: Any) -> None:
    stored = site.put()
    site.sync()
    edit = editing.FileEdit({"tags": ["one"]})
    edited = editing.edit_file(stored.file_id, edit, make.principal(), timezone.now())
    assert edited.stored_revision == 2
    run = site.sync()
    assert (run.changes_applied, run.files_updated) == (1, 0)
    deleted = editing.delete_file(stored.file_id, make.principal(), timezone.now())
    assert (deleted.status, deleted.stored_revision) == ("deleted", 3)


def test_rule_4_in_a_new_epoch_what_the_element_says_wins(site: Any) -> None:
    stored = site.put()
    site.sync()
    FileRecord.objects.filter(pk=stored.file_id).update(stored_revision=9, description="ours")
    old_epoch = site.element.epoch
    site.rebuild_index()
    run = site.sync()
    assert (run.kind, run.new_epoch, run.status) == ("full", True, "succeeded")
    assert site.element.epoch not in ("", old_epoch)
    assert site.record(stored.file_id).description is None
    assert site.record(stored.file_id).stored_revision == 1


def test_rule_4_rows_written_since_the_run_began_are_asked_for_singly(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = site.put()
    site.sync()
    site.rebuild_index()
    apply_page = applying.apply_page
    asked: list[uuid.UUID] = []

    def edited_meanwhile(page: feed.Page, scope: applying.Scope) -> applying.Applied:
        assert scope.new_epoch
        if not asked:
            edit = editing.FileEdit({"description": "written during the run"})
            thread = threading.Thread(target=_edit, args=(stored.file_id, edit))
            thread.start()
            thread.join()
        applied = apply_page(page, scope)
        asked.extend(applied.held_back)
        return applied

    monkeypatch.setattr(applying, "apply_page", edited_meanwhile)
    run = site.sync()
    assert run.status == "succeeded", run.error
    assert asked == [stored.file_id]
    record = site.record(stored.file_id)
    assert (record.description, record.stored_revision) == ("written during the run", 2)


def test_rule_4_a_file_that_is_gone_when_it_is_asked_for_does_not_keep_the_others_from_being_asked_for(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, there = (site.put(file_id=one) for one in sorted([uuid.uuid4(), uuid.uuid4()]))
    site.sync()
    site.rebuild_index()
    apply_page = applying.apply_page

    def changed_meanwhile(page: feed.Page, scope: applying.Scope) -> applying.Applied:
        for stored in (gone, there):
            edit = editing.FileEdit({"description": "written during the run"})
            thread = threading.Thread(target=_edit, args=(stored.file_id, edit))
            thread.start()
            thread.join()
        applied = apply_page(page, scope)
        assert sorted(applied.held_back) == [gone.file_id, there.file_id]
        site.client().delete_file(gone.file_id)
        site.client().collect_garbage(dry_run=False)
        site.client().edit_file(there.file_id, {"description": "written behind our back"})
        return applied

    monkeypatch.setattr(applying, "apply_page", changed_meanwhile)
    run = site.sync()
    assert (run.status, run.files_updated, run.files_unchanged) == ("succeeded", 1, 0), run.error
    assert site.record(there.file_id).description == "written behind our back"
    assert site.record(gone.file_id).status == "active", "the feed brings its tombstone"
    monkeypatch.undo()
    site.sync()
    assert site.record(gone.file_id).status == "deleted"


def _edit(file_id: uuid.UUID, edit: editing.FileEdit) -> None:
    try:
        editing.edit_file(file_id, edit, make.principal(), timezone.now())
    finally:
        database.release()


def _draft(file_id: uuid.UUID, element_id: uuid.UUID) -> UploadDraft:
    return UploadDraft(file_id, element_id, "late.bin", "text/plain", "someone", 1, "permanent")
