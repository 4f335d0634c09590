"""The index: derived, rebuilt when in doubt, pages that neither skip nor repeat, and the feed of changes."""

import json
import os
import sqlite3
import uuid
from contextlib import closing
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest

from storage_node import garbage, reconcile
from storage_node.errors import FileDamaged, FileGone, ResyncRequired, ValidationFailed
from storage_node.index_reading import ListQuery
from storage_node.index_rebuild import NEW_FILE
from storage_node.index_schema import INDEX_FILE, INDEX_WAL_FILE
from storage_node.tests.small_element import SmallElement


def feed(
    element: SmallElement, since: int = 0, limit: int = 1000, epoch: str | None = None
) -> list[dict[str, Any]]:
    page = element.store.changes(epoch or element.store.epoch, since, limit)
    return [
        json.loads(change.body) | {"change": change.change, "kind": change.kind}
        for change in page.items
    ]


def walk(element: SmallElement, limit: int) -> tuple[list[dict[str, Any]], Any]:
    """A full listing by pages; (items, the last page)."""
    items: list[dict[str, Any]] = []
    since, epoch = 0, None
    while True:
        page = element.store.changes(epoch, since, limit)
        items += [
            json.loads(change.body) | {"change": change.change, "kind": change.kind}
            for change in page.items
        ]
        since, epoch = page.next_since, page.epoch
        if not page.has_more:
            return items, page


# Derived and rebuildable


def test_the_index_keeps_its_epoch_and_numbers_across_a_restart(element: SmallElement) -> None:
    file = element.put(b"x")
    element.edit(file.file_id, description="d")
    before, epoch = feed(element), element.store.epoch
    element.reopen()
    assert (feed(element), element.store.epoch) == (before, epoch)


def test_start_replays_the_tail_and_does_not_scan_the_directory(
    element: SmallElement, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        element.put(b"x")
    element.crash()
    monkeypatch.setattr(
        "storage_node.disk.Disk.leaf_paths", lambda _self: pytest.fail("the directory was scanned")
    )
    element.open()
    assert element.counts() == {"active": 5}


def old_index(element: SmallElement) -> None:
    """The index as it was before the last checkpoint: a position older than the oldest kept record."""
    path = element.path / INDEX_FILE
    saved = path.read_bytes()
    element.open()
    element.put(b"later")
    element.close()
    path.write_bytes(saved)


def future_position(element: SmallElement) -> None:
    change_state(element, "position = position + 1000")


def other_log(element: SmallElement) -> None:
    change_state(element, "log_id = x'00'")


def other_node_file(element: SmallElement) -> None:
    path = element.path / "node.json"
    copy = element.path / "node.copy"
    copy.write_bytes(path.read_bytes())
    copy.rename(path)


def other_schema(element: SmallElement) -> None:
    change_state(element, "schema = 999")


def incomplete(element: SmallElement) -> None:
    change_state(element, "complete = 0")


def missing(element: SmallElement) -> None:
    (element.path / INDEX_FILE).unlink()


def garbage_in_file(element: SmallElement) -> None:
    (element.path / INDEX_FILE).write_bytes(os.urandom(10_000))


def empty_file(element: SmallElement) -> None:
    (element.path / INDEX_FILE).write_bytes(b"")


def change_state(element: SmallElement, assignment: str) -> None:
    with closing(sqlite3.connect(element.path / INDEX_FILE)) as connection:
        connection.execute(f"UPDATE state SET {assignment}")
        connection.commit()


@pytest.mark.parametrize(
    "harm",
    [
        old_index,
        future_position,
        other_log,
        other_node_file,
        other_schema,
        incomplete,
        missing,
        garbage_in_file,
        empty_file,
    ],
)
def test_an_index_in_doubt_is_rebuilt_with_a_new_epoch_and_loses_no_file(
    element: SmallElement, harm: Any
) -> None:
    file = element.put(b"x", description="kept")
    element.delete(element.put(b"gone").file_id)
    epoch = element.store.epoch
    element.close()
    harm(element)
    element.open()
    assert element.store.epoch != epoch
    assert element.store.get(file.file_id, element.clock.now()).attributes == file
    assert element.counts()["deleted"] == 1
    assert element.body(file.file_id) == b"x"


def test_a_rebuild_gives_the_same_listing_as_the_index_it_replaces(element: SmallElement) -> None:
    for number in range(30):
        file = element.put(os.urandom(number), description=str(number), ttl_days=number + 1)
        if number % 3 == 0:
            element.edit(file.file_id, tags=("t",))
        if number % 5 == 0:
            element.delete(file.file_id)
    before = sorted(element.items(limit=1000)), element.store.totals()
    element.close()
    element.open(rebuild=True)
    assert (sorted(element.items(limit=1000)), element.store.totals()) == before


def test_a_leftover_log_of_an_old_index_brings_no_old_rows_back(element: SmallElement) -> None:
    file = element.put(b"x")
    saved = (element.path / INDEX_WAL_FILE).read_bytes()
    element.delete(file.file_id)
    element.close()
    (element.path / INDEX_WAL_FILE).write_bytes(saved)
    (element.path / INDEX_FILE).unlink()
    element.open()
    assert element.counts() == {"deleted": 1}


def test_an_unfinished_rebuild_is_thrown_away(element: SmallElement) -> None:
    element.put(b"x")
    element.close()
    (element.path / INDEX_FILE).unlink()
    (element.path / NEW_FILE).write_bytes(b"half")
    element.open()
    assert element.counts() == {"active": 1}
    assert not (element.path / NEW_FILE).exists()


def test_a_rebuild_loses_only_tombstones_verification_dates_and_the_last_report(
    element: SmallElement,
) -> None:
    file = element.put(b"x")
    gone = uuid.uuid4()
    element.abandon(gone)
    reconcile.run(element.store, element.clock.now(), "test")
    assert element.store.get(file.file_id, element.clock.now()).verified_at is not None
    element.close()
    element.open(rebuild=True)
    assert element.store.get(file.file_id, element.clock.now()).verified_at is None
    assert element.store.info(element.clock.now()).last_reconcile is None
    assert feed(element)[0]["file_id"] == str(file.file_id)
    assert len(feed(element)) == 1


def test_quarantined_and_damaged_files_stay_damaged_in_a_rebuilt_index(
    element: SmallElement,
) -> None:
    corrupt, wrong, lost = element.put(b"c"), element.put(b"wrong"), element.put(b"lost")
    element.paths_of(corrupt.file_id)[1].write_text("{")
    element.paths_of(wrong.file_id)[0].write_bytes(b"WRONG")
    element.paths_of(lost.file_id)[0].unlink()
    reconcile.run(element.store, element.clock.now(), "test")
    assert element.counts() == {"damaged": 3}
    element.close()
    element.open(rebuild=True)
    assert element.counts() == {"damaged": 3}
    for file in (corrupt, wrong, lost):
        with pytest.raises(FileDamaged):
            element.body(file.file_id)
    assert {json.loads(item)["status"] for item in element.items()} == {"damaged"}


def test_corrupt_attributes_found_by_a_rebuild_are_a_row_and_not_a_hole(
    element: SmallElement,
) -> None:
    file = element.put(b"x")
    attributes = element.paths_of(file.file_id)[1]
    element.close()
    attributes.write_bytes(b"\xff\xfe")
    element.open(rebuild=True)
    assert [json.loads(item) for item in element.items()] == [
        {"file_id": str(file.file_id), "status": "damaged"}
    ]
    with pytest.raises(FileDamaged):
        element.store.get(file.file_id, element.clock.now())


# Totals


def test_totals_follow_every_change(element: SmallElement) -> None:
    files = [element.put(b"x" * 10, ttl_days=1) for _ in range(4)]
    element.edit(files[0].file_id, description="d")
    element.delete(files[1].file_id)
    assert element.store.totals()["active"] == {"files": 3, "bytes": 30, "revisions": 4}
    assert element.store.totals()["deleted"] == {"files": 1, "bytes": 10, "revisions": 2}
    element.clock.advance(days=1)
    element.trust_clock()
    garbage.collect(element.store, element.clock.now())
    assert element.store.totals()["expired"] == {"files": 3, "bytes": 30, "revisions": 7}
    assert element.store.totals()["deleted"] == {"files": 0, "bytes": 0, "revisions": 0}
    element.close()
    totals_before = element.open().store.totals()
    element.close()
    assert element.open(rebuild=True).store.totals() == totals_before


# Pages


def test_pages_by_cursor_give_every_file_once_while_files_come_and_change(
    element: SmallElement,
) -> None:
    first = [str(element.put(b"x").file_id) for _ in range(50)]
    seen: list[str] = []
    cursor = None
    while True:
        page = element.store.list_page(ListQuery(limit=7, cursor=cursor), element.clock.now())
        seen += [json.loads(item)["file_id"] for item in page.items]
        element.put(b"new")
        element.edit(uuid.UUID(first[len(seen) % 50]), description=str(len(seen)))
        if not page.has_more or len(seen) > 200:
            break
        cursor = page.next_cursor
    assert [file_id for file_id in seen if file_id in first] == first
    assert len(seen) == len(set(seen))


def test_pages_by_offset_add_up(element: SmallElement) -> None:
    files = [str(element.put(b"x").file_id) for _ in range(25)]
    seen: list[str] = []
    for offset in range(0, 30, 10):
        page = element.store.list_page(ListQuery(limit=10, offset=offset), element.clock.now())
        assert (page.total, page.offset, page.limit) == (25, offset, 10)
        seen += [json.loads(item)["file_id"] for item in page.items]
    assert seen == files


def test_every_status_has_its_pages_and_its_total(element: SmallElement) -> None:
    active, overdue = element.put(b"a"), element.put(b"b", ttl_days=1)
    deleted, lost = element.put(b"c"), element.put(b"d")
    element.delete(deleted.file_id)
    element.paths_of(lost.file_id)[0].unlink()
    reconcile.run(element.store, element.clock.now(), "test")
    element.clock.advance(days=2)
    for status, file in (
        ("active", active),
        ("expired", overdue),
        ("deleted", deleted),
        ("damaged", lost),
    ):
        page = element.store.list_page(ListQuery(status=status), element.clock.now())
        assert [json.loads(item)["file_id"] for item in page.items] == [str(file.file_id)]
        assert [json.loads(item)["status"] for item in page.items] == [status]
        assert page.total == 1
    assert element.store.list_page(ListQuery(), element.clock.now()).total == 4


@pytest.mark.parametrize(
    "bad",
    [
        {"limit": 0},
        {"limit": 1001},
        {"offset": -1},
        {"offset": 10_001},
        {"status": "lost"},
        {"cursor": "zz!"},
        {"cursor": "f" * 30},
        {"cursor": "1", "offset": 1},
    ],
)
def test_a_query_out_of_range_is_refused_and_not_corrected(
    element: SmallElement, bad: dict[str, Any]
) -> None:
    with pytest.raises(ValidationFailed):
        element.store.list_page(ListQuery(**bad), element.clock.now())


# Changes


def test_the_feed_gives_each_file_at_its_last_change_in_order(element: SmallElement) -> None:
    a, b = element.put(b"a"), element.put(b"b")
    element.edit(a.file_id, description="again")
    items = feed(element)
    assert [item["file_id"] for item in items] == [str(b.file_id), str(a.file_id)]
    assert [item["change"] for item in items] == sorted(item["change"] for item in items)
    assert feed(element, since=items[0]["change"])[0]["revision"] == 2


def test_the_last_page_alone_carries_totals_that_prove_it_complete(element: SmallElement) -> None:
    for _ in range(10):
        element.put(b"x")
    first = element.store.changes(None, 0, 4)
    assert (first.has_more, first.totals) == (True, None)
    items, last = walk(element, 4)
    assert last.totals == element.store.totals()
    assert len({item["file_id"] for item in items}) == last.totals["active"]["files"]


def test_an_empty_page_keeps_the_cursor_at_the_end(element: SmallElement) -> None:
    element.put(b"x")
    _, last = walk(element, 10)
    again = element.store.changes(last.epoch, last.next_since, 10)
    assert (again.items, again.has_more, again.next_since) == ([], False, last.next_since)
    file = element.put(b"y")
    assert [item["file_id"] for item in feed(element, since=last.next_since)] == [str(file.file_id)]


def test_a_deletion_freed_and_an_abandoned_id_are_in_the_feed_as_tombstones(
    element: SmallElement,
) -> None:
    file, absent = element.put(b"x"), uuid.uuid4()
    element.delete(file.file_id)
    garbage.collect(element.store, element.clock.now(), trust_clock=True)
    element.abandon(absent)
    told = {item["file_id"]: (item["kind"], item["status"]) for item in feed(element)}
    assert told == {
        str(file.file_id): ("tombstone", "deleted"),
        str(absent): ("tombstone", "abandoned"),
    }


def test_churn_during_a_full_listing_loses_no_file_and_no_deletion(element: SmallElement) -> None:
    files = [element.put(b"x").file_id for _ in range(60)]
    stop = Event()

    def churn() -> None:
        for number in range(60):
            if stop.is_set():
                return
            if number % 3 == 0:
                element.delete(files[number])
                garbage.collect(element.store, element.clock.now(), trust_clock=True)
            else:
                element.edit(files[number], description="d")

    thread = Thread(target=churn)
    thread.start()
    last_seen: dict[str, dict[str, Any]] = {}
    since, epoch = 0, None
    while True:
        page = element.store.changes(epoch, since, 5)
        last_seen |= {
            json.loads(change.body)["file_id"]: json.loads(change.body) for change in page.items
        }
        since, epoch = page.next_since, page.epoch
        if not page.has_more and not thread.is_alive():
            break
    thread.join()
    for change in element.store.changes(epoch, since, 1000).items:
        last_seen[json.loads(change.body)["file_id"]] = json.loads(change.body)
    assert len(last_seen) == 60
    assert {told["status"] for told in last_seen.values()} == {"active", "deleted"}
    assert (
        sum(told["status"] == "active" for told in last_seen.values())
        == element.counts()["active"]
        == 40
    )


def test_another_epoch_must_begin_again(element: SmallElement) -> None:
    element.put(b"x")
    with pytest.raises(ResyncRequired):
        element.store.changes(str(uuid.uuid4()), 1, 10)
    with pytest.raises(ValidationFailed):
        element.store.changes(None, 1, 10)
    assert element.store.changes(str(uuid.uuid4()), 0, 10).items


def test_a_cursor_below_a_forgotten_tombstone_must_begin_again(element: SmallElement) -> None:
    files = [element.put(b"x").file_id for _ in range(5)]
    cursor = walk(element, 10)[1].next_since
    element.delete(files[0])
    garbage.collect(element.store, element.clock.now(), trust_clock=True)
    newer = walk(element, 10)[1].next_since
    element.clock.advance(days=31)
    garbage.collect(element.store, element.clock.now(), trust_clock=True)
    with pytest.raises(ResyncRequired):
        element.store.changes(element.store.epoch, cursor, 10)
    assert element.store.changes(element.store.epoch, newer, 10)
    assert not any(
        item["kind"] == "tombstone" and item["file_id"] == str(files[0]) for item in feed(element)
    )


def test_a_full_listing_in_pages_goes_through_although_tombstones_were_forgotten(
    element: SmallElement,
) -> None:
    files = [element.put(b"x", retention_policy="permanent").file_id for _ in range(20)]
    element.delete(files[0])
    garbage.collect(element.store, element.clock.now(), trust_clock=True)
    element.clock.advance(days=31)
    garbage.collect(element.store, element.clock.now(), trust_clock=True)
    items, _ = walk(element, 3)
    assert {item["file_id"] for item in items} == {str(file_id) for file_id in files[1:]}


def test_a_forgotten_id_may_be_used_again_and_one_in_the_feed_may_not(
    element: SmallElement,
) -> None:
    file = element.put(b"x")
    element.delete(file.file_id)
    garbage.collect(element.store, element.clock.now(), trust_clock=True)
    with pytest.raises(FileGone):
        element.put(b"x", file_id=file.file_id)
    element.clock.advance(days=31)
    garbage.collect(element.store, element.clock.now(), trust_clock=True)
    assert element.put(b"y", file_id=file.file_id).revision == 1


@pytest.mark.parametrize("bad", [{"limit": 0}, {"limit": 1001}, {"since": -1}, {"since": 2**63}])
def test_feed_arguments_out_of_range_are_refused(
    element: SmallElement, bad: dict[str, int]
) -> None:
    with pytest.raises(ValidationFailed):
        element.store.changes(element.store.epoch, bad.get("since", 0), bad.get("limit", 10))


def test_verification_dates_do_not_make_a_file_appear_changed(element: SmallElement) -> None:
    element.put(b"x")
    cursor = walk(element, 10)[1].next_since
    element.clock.advance(minutes=1)
    reconcile.run(element.store, element.clock.now(), "test")
    assert feed(element, since=cursor) == []


def test_expiry_is_a_change_when_garbage_collection_marks_it(element: SmallElement) -> None:
    file = element.put(b"x", ttl_days=1)
    cursor = walk(element, 10)[1].next_since
    element.clock.advance(days=1, minutes=1)
    assert feed(element, since=cursor) == []
    garbage.collect(element.store, element.clock.now(), trust_clock=True)
    assert [(item["file_id"], item["status"]) for item in feed(element, since=cursor)] == [
        (str(file.file_id), "expired")
    ]
    assert timedelta(days=1) < element.clock.now() - file.uploaded_at
