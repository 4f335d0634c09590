"""Rules 5 to 10 of sync, each against a real node: when something is missing, bad, equal, deleted or lost.
Names begin with the rule's number."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from apps.registry import feed, listed
from apps.registry.attributes import parse_file
from apps.registry.models import (
    FileRecord,
    SeenFile,
    StorageElement,
    columns_of,
)
from apps.registry.tests import make


def shown(record: FileRecord) -> dict[str, Any]:
    """The fields of `api.md`'s File."""
    names = [name for name in columns_of(make.attributes()) if name != "deletion_reason"]
    return {name: getattr(record, name) for name in [*names, "file_id", "storage_element_id"]}


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
    monkeypatch.setattr(feed, "GATHERED_PAGES", 1)
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


def test_rule_7_prior_art_20_bad_items_are_rejected_alone(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = site.put()
    spoilt = {str(site.put().file_id): bad for bad in BAD_ITEMS.values()}
    for file_id in spoilt:
        make.record(site.element, file_id=uuid.UUID(file_id))
    sort_in = feed._sort_in

    def spoil(page: feed.Page, item: Any) -> None:
        if "file" in item:
            item["file"] |= spoilt.get(item["file"]["file_id"], {})
        sort_in(page, item)

    monkeypatch.setattr(feed, "_sort_in", spoil)
    run = site.sync(full=True)
    assert (run.status, run.files_rejected, run.files_added) == ("succeeded", len(spoilt), 1)
    assert {item["file_id"] for item in run.rejected_items} == set(spoilt)
    assert {row.status for row in make.seen_records(site.element).values()} == {"active"}
    assert site.record(good.file_id).status == "active"


def test_rule_7_prior_art_20_an_item_only_the_database_refuses_is_found_and_rejected_alone(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [site.put() for _ in range(5)]
    read = listed.read

    def unforeseen(item: Any) -> str:
        said = parse_file(item)
        if said.file_id == files[3].file_id:
            # As if the checks had missed a limit of a column.
            return listed.written(replace(said, ttl_days=2**31))
        return read(item)

    monkeypatch.setattr(listed, "read", unforeseen)
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


BACK = [
    ("user", 1, False),
    ("expired", 1, False),
    ("user", 0, True),
    ("missing_on_element", 1, True),
    ("element_removed", 1, True),
]


def test_rule_9_a_deleted_record_comes_back_only_for_a_reason(site: Any) -> None:
    files = [site.put() for _ in BACK]
    site.sync()
    for stored, (reason, revision, _back) in zip(files, BACK, strict=True):
        FileRecord.objects.filter(pk=stored.file_id).update(
            status="deleted", deletion_reason=reason, stored_revision=revision
        )
    site.sync(full=True)
    found = [site.record(stored.file_id).status == "active" for stored in files]
    assert found == [back for _reason, _revision, back in BACK]


def test_rule_9_a_deleted_record_comes_back_in_a_new_epoch(site: Any) -> None:
    stored = site.put()
    site.sync()
    FileRecord.objects.filter(pk=stored.file_id).update(status="deleted", deletion_reason="user")
    site.rebuild_index()
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
