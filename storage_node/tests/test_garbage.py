"""Garbage collection: what goes, when, what stays, on which clock, and what the report says."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from storage_node import garbage
from storage_node.errors import FileGone
from storage_node.tests.small_element import SmallElement
from storage_node.upkeep import PurgeFile


@pytest.fixture
def element(tmp_path: Path) -> Iterator[SmallElement]:
    with SmallElement(tmp_path / "se").open() as opened:
        opened.trust_clock()
        yield opened


def collect(element: SmallElement, **how: bool) -> garbage.GarbageReport:
    return garbage.collect(element.store, element.clock.now(), **how)


def test_a_deleted_file_gives_its_bytes_back_in_the_next_cycle(element: SmallElement) -> None:
    file, kept = element.put(b"x" * 1000), element.put(b"kept")
    element.delete(file.file_id)
    report = collect(element)
    assert (report.freed_files, report.freed_bytes, report.postponed_reason) == (1, 1000, None)
    assert element.store.info(element.clock.now()).capacity["used_bytes"] == 4
    assert len(element.names_under("files")) == 2
    assert element.body(kept.file_id) == b"kept"


def test_an_overdue_file_is_marked_expired_and_keeps_its_bytes_through_the_grace(
    element: SmallElement,
) -> None:
    file = element.put(b"x", ttl_days=1)
    element.clock.advance(days=1)
    element.trust_clock()
    report = collect(element)
    assert (report.expired_files, report.freed_files) == (1, 0)
    assert len(element.names_under("files")) == 2
    element.clock.advance(hours=24)
    element.trust_clock()
    report = collect(element)
    assert (report.expired_files, report.freed_files, report.freed_bytes) == (0, 1, 1)
    with pytest.raises(FileGone) as gone:
        element.store.get(file.file_id, element.clock.now())
    assert gone.value.file_status == "expired"


def test_overdue_beyond_the_grace_is_marked_and_freed_in_the_same_cycle(
    element: SmallElement,
) -> None:
    element.put(b"x", ttl_days=1)
    element.clock.advance(days=3)
    element.trust_clock()
    report = collect(element)
    assert (report.expired_files, report.freed_files) == (1, 1)
    assert element.names_under("files") == []


def test_permanent_files_stay_for_ever(element: SmallElement) -> None:
    element.put(b"x", retention_policy="permanent")
    element.clock.advance(days=10_000)
    element.trust_clock()
    assert collect(element).freed_files == 0
    assert element.counts() == {"active": 1}


def test_a_dry_run_lists_what_would_go_why_and_how_many_bytes_and_changes_nothing(
    element: SmallElement,
) -> None:
    deleted, overdue = element.put(b"x" * 10), element.put(b"y" * 20, ttl_days=1)
    element.delete(deleted.file_id)
    element.clock.advance(days=3)
    element.trust_clock()
    before = element.names_under("files"), element.store.totals()
    report = collect(element, dry_run=True)
    assert (element.names_under("files"), element.store.totals()) == before
    assert report.to_wire()["items"] == [
        {"file_id": str(deleted.file_id), "status": "deleted", "reason": "deleted", "bytes": 10},
        {"file_id": str(overdue.file_id), "status": "expired", "reason": "expired", "bytes": 20},
    ]
    real = collect(element)
    assert (
        (real.freed_files, real.freed_bytes) == (report.freed_files, report.freed_bytes) == (2, 30)
    )


def test_nothing_goes_without_a_token_that_confirms_the_clock(tmp_path: Path) -> None:
    with SmallElement(tmp_path / "se").open() as element:
        file = element.put(b"x", ttl_days=1)
        element.delete(element.put(b"y").file_id)
        report = collect(element)
        assert (report.freed_files, report.expired_files) == (0, 0)
        assert "token" in str(report.postponed_reason)
        assert not element.store.info(element.clock.now()).clock_trusted
        assert collect(element, trust_clock=True).freed_files == 1
        assert element.body(file.file_id) == b"x"


def test_nothing_goes_on_a_clock_behind_the_newest_change(element: SmallElement) -> None:
    element.delete(element.put(b"x").file_id)
    element.clock.moment -= timedelta(hours=1)
    element.trust_clock()
    report = collect(element)
    assert report.freed_files == 0
    assert "behind" in str(report.postponed_reason)


def test_nothing_goes_on_a_clock_a_year_ahead(element: SmallElement) -> None:
    file = element.put(b"x", ttl_days=30)
    element.clock.moment += timedelta(days=365)
    report = collect(element)
    assert (report.freed_files, report.expired_files) == (0, 0)
    assert "monotonic" in str(report.postponed_reason)
    element.clock.moment -= timedelta(days=365)
    element.trust_clock()
    assert collect(element).postponed_reason is None
    assert element.body(file.file_id) == b"x"


def test_a_token_issued_far_from_this_clock_confirms_nothing(element: SmallElement) -> None:
    element.delete(element.put(b"x").file_id)
    element.clock.advance(hours=3)
    element.store.note_trusted_clock(
        int(element.clock.now().timestamp()) - 3600, element.clock.now()
    )
    assert "token" in str(collect(element).postponed_reason)
    element.store.note_trusted_clock(
        int(element.clock.now().timestamp()) - 590, element.clock.now()
    )
    assert collect(element).freed_files == 1


def test_a_confirmation_lasts_two_intervals(element: SmallElement) -> None:
    element.delete(element.put(b"x").file_id)
    element.clock.advance(hours=2)
    assert element.store.info(element.clock.now()).clock_trusted
    element.clock.advance(seconds=1)
    assert collect(element).freed_files == 0


@pytest.mark.parametrize("mode", ["ro", "ar"])
def test_in_ro_and_ar_files_expire_in_status_and_keep_their_bytes(
    tmp_path: Path, mode: str
) -> None:
    with SmallElement(tmp_path / "se", settings={"initial_mode": "rw"}).open() as element:
        element.put(b"x", ttl_days=1)
        element.mode("ro")
        if mode == "ar":
            element.mode("ar")
        element.clock.advance(days=10)
        report = collect(element, trust_clock=True)
        assert (report.expired_files, report.freed_files) == (1, 0)
        assert mode in str(report.postponed_reason)
        assert element.counts() == {"expired": 1}
        assert len(element.names_under("files")) == 2


def test_freed_files_leave_a_tombstone_for_as_long_as_the_operator_wants(
    element: SmallElement,
) -> None:
    file = element.put(b"x")
    element.delete(file.file_id)
    collect(element)
    assert element.store.element.reading.tombstone_status(file.file_id) == "deleted"
    element.clock.advance(days=29)
    assert collect(element, trust_clock=True).forgotten_tombstones == 0
    element.clock.advance(days=2)
    assert collect(element, trust_clock=True).forgotten_tombstones == 1
    assert element.store.element.reading.tombstone_status(file.file_id) is None


def test_an_edit_between_the_listing_and_the_purge_is_seen(element: SmallElement) -> None:
    """The purge checks again in the committer's thread: an older view of a file frees nothing."""
    file = element.put(b"x")
    row = element.store.element.reading.find(file.file_id)
    assert row is not None
    now = element.clock.now()
    assert element.store.submit(PurgeFile(row, now, now)).result() is None
    element.delete(file.file_id)
    assert element.store.submit(PurgeFile(row, now, now)).result() is None
    assert len(element.names_under("files")) == 2


def test_many_files_are_freed_in_one_cycle_and_used_space_is_true(element: SmallElement) -> None:
    now = element.clock.now()
    drafts = [element.draft(declared_bytes=10) for _ in range(300)]
    uploads = [element.store.begin_upload(draft, now) for draft in drafts]
    for upload in uploads:
        upload.write(b"x" * 10)
    for waiting in [upload.commit(now) for upload in uploads]:
        waiting.result()
    for deleted in [element.store.delete(draft.file_id, None, now) for draft in drafts]:
        deleted.result()
    assert element.store.info(element.clock.now()).capacity["used_bytes"] == 3000
    report = collect(element)
    assert (report.freed_files, report.freed_bytes, len(report.items)) == (300, 3000, 300)
    assert element.store.info(element.clock.now()).capacity["used_bytes"] == 0
    assert element.names_under("files") == []
    element.reopen()
    assert element.store.info(element.clock.now()).capacity["used_bytes"] == 0


def test_a_purge_survives_a_kill(element: SmallElement) -> None:
    file = element.put(b"x")
    element.delete(file.file_id)
    collect(element)
    element.reopen()
    assert element.names_under("files") == []
    with pytest.raises(FileGone):
        element.put(b"x", file_id=file.file_id)
    assert element.abandon(uuid.uuid4()) is None
