"""The ten rules of sync, each against a real node. Names begin with the rule's number."""

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from apps.registry import applying, editing, elements, feed, sync
from apps.registry.errors import SyncInProgress
from apps.registry.models import (
    FileRecord,
    SeenFile,
    StorageElement,
    SyncRun,
    SyncTrigger,
    columns_of,
    element_id_of,
)
from apps.registry.tests import make
from apps.registry.uploading import Lease, UploadDraft
from artstore import database


def shown(record: FileRecord) -> dict[str, Any]:
    """The fields of `api.md`'s File."""
    names = [name for name in columns_of(make.attributes()) if name != "deletion_reason"]
    return {name: getattr(record, name) for name in [*names, "file_id", "storage_element_id"]}


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

    def count_seen(run_id: uuid.UUID) -> int:
        # An upload is recorded after the last page was read: the listing cannot have met it.
        FileRecord.begin(_draft(late.file_id, site.element.pk), Lease.for_seconds(60))
        FileRecord.activate(site.element.pk, late)
        return original(run_id)

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


def rebuilt_index(site: Any) -> None:
    """The node comes back with a new epoch."""
    site.node.kill()
    assert site.node.run("rebuild-index").returncode == 0
    site.node.start()


def test_rule_4_in_a_new_epoch_what_the_element_says_wins(site: Any) -> None:
    stored = site.put()
    site.sync()
    FileRecord.objects.filter(pk=stored.file_id).update(stored_revision=9, description="ours")
    old_epoch = site.element.epoch
    rebuilt_index(site)
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
    rebuilt_index(site)
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


def _edit(file_id: uuid.UUID, edit: editing.FileEdit) -> None:
    try:
        editing.edit_file(file_id, edit, make.principal(), timezone.now())
    finally:
        database.release()


# --- 5. what a complete full listing did not meet is missing; half a listing marks nothing ---


def test_rule_5_records_older_than_the_run_and_not_seen_become_deleted(site: Any) -> None:
    site.put()
    site.sync()
    lost = make.record(site.element)
    run = site.sync(full=True)
    assert (run.status, run.files_marked_deleted) == ("succeeded", 1)
    lost.refresh_from_db()
    assert (lost.status, lost.deletion_reason) == ("deleted", "missing_on_element")
    assert not SeenFile.objects.filter(run=run).exists()


def test_rule_5_half_a_listing_marks_nothing(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(4):
        site.put()
    lost = make.record(site.element)
    read_page = feed.read_page

    def shortened(answer: Any, since: int) -> feed.Page:
        page = read_page(answer, since)
        page.files.pop(next(iter(page.files)))
        return page

    monkeypatch.setattr(feed, "read_page", shortened)
    run = site.sync(full=True)
    assert run.status == "failed"
    assert "listed 3" in run.error
    lost.refresh_from_db()
    assert lost.status == "active"


def test_rule_5_a_new_epoch_in_mid_run_aborts_it(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_ITEMS", 2)
    for _ in range(5):
        site.put()
    lost = make.record(site.element)
    read_page = feed.read_page

    def other_epoch(answer: Any, since: int) -> feed.Page:
        page = read_page(answer, since)
        page.epoch = str(uuid.uuid4()) if since else page.epoch
        return page

    monkeypatch.setattr(feed, "read_page", other_epoch)
    run = site.sync(full=True)
    assert run.status == "failed"
    assert "rebuilt during the sync" in run.error
    lost.refresh_from_db()
    assert lost.status == "active"


def test_rule_5_another_instance_stops_the_sync_with_nothing_changed(site: Any) -> None:
    stored = site.put()
    site.sync()
    StorageElement.objects.filter(pk=site.element.pk).update(instance_id=str(uuid.uuid4()))
    site.put()
    run = site.sync(full=True)
    assert run.status == "failed"
    assert list(FileRecord.objects.values_list("pk", flat=True)) == [stored.file_id]
    offered = StorageElement.objects.get(pk=site.element.pk)
    assert offered.offered_instance_id
    assert offered.status == "offline"


# --- 6. many files missing without a tombstone wait for a person ---


def test_rule_6_too_many_missing_files_wait_for_confirmation(site: Any, settings: Any) -> None:
    settings.ARTSTORE_SYNC_MISSING_FILES = 2
    lost = [make.record(site.element) for _ in range(3)]
    run = site.sync(full=True)
    assert (run.status, run.files_missing) == ("needs_confirmation", 3)
    assert {row.status for row in make.seen_records(site.element).values()} == {"active"}
    confirmed = site.sync(full=True, allow_mass_delete=True)
    assert (confirmed.status, confirmed.files_marked_deleted) == ("succeeded", len(lost))
    assert confirmed.pk != run.pk


def test_rule_6_prior_art_21_an_emptied_element_waits_too(site: Any) -> None:
    for _ in range(101):
        make.record(site.element)
    assert site.sync(full=True).status == "needs_confirmation"


def test_rule_6_deletions_with_a_tombstone_need_no_confirmation(site: Any, settings: Any) -> None:
    settings.ARTSTORE_SYNC_MISSING_FILES = 0
    settings.ARTSTORE_SYNC_MISSING_PERCENT = 0
    files = [site.put() for _ in range(5)]
    site.sync()
    for stored in files:
        site.client().delete_file(stored.file_id)
    site.client().get_info()  # a verified token: the node may trust its clock
    site.client().collect_garbage(dry_run=False)
    run = site.sync(full=True)
    assert run.status == "succeeded", run.error
    assert {row.status for row in make.seen_records(site.element).values()} == {"deleted"}


# --- 7. a bad item is counted and shown, stops nothing, never causes a deletion ---

BAD_ITEMS = {
    "unreadable time": {"uploaded_at": "yesterday"},
    "NUL": {"original_filename": "a\x00b"},
    "too long": {"original_filename": "x" * 256},
    "half a character": {"description": "\ud800"},
    "NUL in metadata": {"metadata": {"a": "\x00"}},
    "no size": {"size": None},
    "year out of range": {"updated_at": "0001-01-01T00:00:00+23:59"},
    "damaged": {"status": "damaged"},
}


@pytest.mark.parametrize("bad", BAD_ITEMS.values(), ids=BAD_ITEMS.keys())
def test_rule_7_prior_art_20_a_bad_item_is_rejected_alone(
    site: Any, monkeypatch: pytest.MonkeyPatch, bad: dict[str, Any]
) -> None:
    spoilt, good = site.put(), site.put()
    make.record(site.element, file_id=spoilt.file_id, checksum=spoilt.checksum)
    sort_in = feed._sort_in

    def spoil(page: feed.Page, item: Any) -> None:
        if item["file"]["file_id"] == str(spoilt.file_id):
            item = {"change": item["change"], "file": item["file"] | bad}
        sort_in(page, item)

    monkeypatch.setattr(feed, "_sort_in", spoil)
    run = site.sync(full=True)
    assert (run.status, run.files_rejected, run.files_added) == ("succeeded", 1, 1)
    assert run.rejected_items[0]["file_id"] == str(spoilt.file_id)
    assert site.record(spoilt.file_id).status == "active"
    assert site.record(good.file_id).status == "active"


def test_rule_7_prior_art_20_an_item_only_the_database_refuses_is_found_and_rejected_alone(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [site.put() for _ in range(5)]
    parse_file = feed.parse_file

    def unforeseen(item: Any) -> Any:
        said = parse_file(item)
        if said.file_id == files[3].file_id:
            # As if the checks had missed a limit of a column.
            object.__setattr__(said, "ttl_days", 2**31)
        return said

    monkeypatch.setattr(feed, "parse_file", unforeseen)
    run = site.sync(full=True)
    assert (run.status, run.files_added, run.files_rejected) == ("succeeded", 4, 1)
    assert run.rejected_items[0]["file_id"] == str(files[3].file_id)


# --- 8. an equal sync writes no record ---


def test_rule_8_prior_art_23_an_equal_sync_writes_no_record(site: Any) -> None:
    for number in range(20):
        site.put(tags=["t"], metadata={"n": number, "deep": {"a": [1, None, "x"]}})
    site.sync(full=True)
    before = record_writes()
    run = site.sync(full=True)
    assert (run.files_unchanged, run.files_updated, run.files_added) == (20, 0, 0)
    assert record_writes() == before


def record_writes() -> tuple[int, ...]:
    """Rows of the record table written so far, by PostgreSQL's own count."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_stat_force_next_flush()")
        cursor.execute("select pg_stat_clear_snapshot()")
        cursor.execute(
            "select n_tup_ins, n_tup_upd, n_tup_del from pg_stat_user_tables"
            " where relname = 'registry_filerecord'"
        )
        row: tuple[int, ...] = cursor.fetchone()
        return row


# --- 9. when a deleted record comes back ---


@pytest.mark.parametrize(
    ("reason", "revision", "comes_back"),
    [
        ("user", 1, False),
        ("expired", 1, False),
        ("user", 0, True),
        ("missing_on_element", 1, True),
        ("element_removed", 1, True),
    ],
)
def test_rule_9_a_deleted_record_comes_back_only_for_a_reason(
    site: Any, reason: str, revision: int, comes_back: bool
) -> None:
    stored = site.put()
    site.sync()
    FileRecord.objects.filter(pk=stored.file_id).update(
        status="deleted", deletion_reason=reason, stored_revision=revision
    )
    site.sync(full=True)
    assert (site.record(stored.file_id).status == "active") is comes_back


def test_rule_9_a_deleted_record_comes_back_in_a_new_epoch(site: Any) -> None:
    stored = site.put()
    site.sync()
    FileRecord.objects.filter(pk=stored.file_id).update(status="deleted", deletion_reason="user")
    rebuilt_index(site)
    site.sync()
    assert site.record(stored.file_id).status == "active"


# --- 10. the registry can be rebuilt ---


def test_rule_10_truncated_records_come_back_equal_in_every_field(
    site: Any, start_site: Callable[..., Any]
) -> None:
    other = start_site("se-other", SE_MODE="rw").synced()
    site.put(
        "Приказ №1".encode(),
        original_filename="Приказ №1 «о сроках».pdf",
        description="срочно",
        tags=["приказ", "a b"],
        metadata={"year": 2026, "nested": {"list": [1, "два", None, True]}},
        retention_policy="temporary",
        ttl_days=7,
    )
    site.put(b"", original_filename="empty", description="")
    deleted = site.put()
    site.client().delete_file(deleted.file_id)
    other.put(content_type="text/csv")
    site.sync()
    other.sync()
    before = {row.pk: shown(row) for row in FileRecord.objects.all()}
    assert len(before) == 4
    with connection.cursor() as cursor:
        cursor.execute("truncate registry_filerecord, registry_syncrun, registry_seenfile")
    call_command("rebuild_registry")
    assert {row.pk: shown(row) for row in FileRecord.objects.all()} == before


def _draft(file_id: uuid.UUID, element_id: uuid.UUID) -> UploadDraft:
    return UploadDraft(file_id, element_id, "late.bin", "text/plain", "someone", 1, "permanent")
