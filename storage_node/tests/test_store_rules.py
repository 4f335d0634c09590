"""What the store itself answers for: refusals before the body, how the element is shown, and that closing lets go of everything."""

import threading
import uuid
from pathlib import Path

import pytest

from storage_node.attributes import AttributesPatch
from storage_node.directory import claim
from storage_node.errors import FileGone, NotWritable, StorageFull, ValidationFailed
from storage_node.store import Store
from storage_node.tests.small_element import MIB, SmallElement


def begin(element: SmallElement, **members: object) -> None:
    element.store.begin_upload(element.draft(**members), element.clock.now()).abort()


def test_an_upload_that_is_not_valid_is_refused_before_its_body(element: SmallElement) -> None:
    with pytest.raises(ValidationFailed):
        begin(element, original_filename="a/b")
    assert element.store.info(element.clock.now()).capacity["reserved_bytes"] == 0


def test_an_upload_to_an_id_that_is_over_is_refused_before_its_body(element: SmallElement) -> None:
    deleted = element.put(b"x").file_id
    element.delete(deleted)
    abandoned = uuid.uuid4()
    element.abandon(abandoned)
    for file_id in (deleted, abandoned):
        with pytest.raises(FileGone, match="Upload was refused"):
            begin(element, file_id=file_id)


def test_an_upload_to_a_failed_or_full_disk_is_refused_before_its_body(
    element: SmallElement,
) -> None:
    file = element.put(b"x")
    element.store.element.headroom.is_given_up = True
    with pytest.raises(StorageFull, match="disk is full"):
        begin(element)
    # What is here already needs no room: the bytes are only compared.
    begin(element, file_id=file.file_id)
    element.store.element.headroom.is_given_up = False
    begin(element)
    element.store.element.health.fail("the disk failed")
    with pytest.raises(NotWritable):
        begin(element)


def test_an_upload_of_unknown_size_reserves_nothing_until_bytes_come(element: SmallElement) -> None:
    upload = element.store.begin_upload(element.draft(), element.clock.now())
    assert element.store.info(element.clock.now()).capacity["reserved_bytes"] == 0
    upload.write(b"x")
    assert element.store.info(element.clock.now()).capacity["reserved_bytes"] > 0
    upload.abort()
    declared = element.store.begin_upload(element.draft(declared_bytes=77), element.clock.now())
    assert element.store.info(element.clock.now()).capacity["reserved_bytes"] == 77
    declared.abort()
    assert element.store.info(element.clock.now()).capacity["reserved_bytes"] == 0


def test_an_edit_that_is_not_valid_is_refused_at_once(element: SmallElement) -> None:
    file = element.put(b"x")
    patch = AttributesPatch(frozenset({"description"}), description="x" * 1001)
    with pytest.raises(ValidationFailed):
        element.store.edit(file.file_id, patch, None, element.clock.now())


def test_the_element_as_the_wire_shows_it(element: SmallElement) -> None:
    element.put(b"12345")
    now = element.clock.now()
    told = element.store.info(now).to_wire()
    room = told["capacity"]
    assert told == {
        "status_reasons": [],
        "epoch": element.store.epoch,
        "last_change": 1,
        "allowed_operations": ["upload", "download", "update", "delete", "list"],
        "capacity": room,
        "counts": element.store.totals(),
        "last_reconcile": None,
        "clock": {"trusted": False, "reason": element.store.clock.doubt(now, "")},
    }
    assert told["counts"]["active"] == {"files": 1, "bytes": 5, "revisions": 1}
    assert room == {
        "capacity_bytes": 64 * MIB,
        "used_bytes": 5,
        "reserved_bytes": 0,
        "available_bytes": room["available_bytes"],
    }
    assert 0 < room["available_bytes"] <= 64 * MIB - 5
    info = element.store.info(now)
    assert (info.storage_id, info.status, info.mode) == ("se-small", "ok", "edit")
    element.store.element.health.fail("the disk failed")
    degraded = element.store.info(now)
    assert (degraded.status, degraded.status_reasons) == ("degraded", ["the disk failed"])
    element.trust_clock()
    assert element.store.info(now).to_wire()["clock"] == {"trusted": True, "reason": None}


def test_closing_lets_go_of_threads_descriptors_and_the_directory(tmp_path: Path) -> None:
    def held() -> tuple[set[str], int]:
        names = {thread.name for thread in threading.enumerate()}
        return names, len(list(Path("/proc/self/fd").iterdir()))

    before = held()
    element = SmallElement(tmp_path / "se").open()
    element.put(b"x" * 100_000)
    element.body(element.put(b"y").file_id)
    element.close()
    assert held() == before
    # Nothing that was accepted is lost, and nothing more is accepted.
    refused = element.store.delete(uuid.uuid4(), None, element.clock.now())
    assert isinstance(refused.exception(), NotWritable)
    element.open()
    assert element.counts() == {"active": 2}
    element.close()


def test_opening_keeps_the_index_unless_a_new_one_is_asked_for(tmp_path: Path) -> None:
    element = SmallElement(tmp_path / "se").open()
    epoch = element.store.epoch
    element.close()
    now = element.clock.now()
    element.store = Store.open(claim(element.options(), now), now)
    assert element.store.epoch == epoch
    element.close()


def test_refusals_of_reading_say_what_was_attempted(element: SmallElement) -> None:
    file = element.put(b"x")
    element.delete(file.file_id)
    with pytest.raises(FileGone, match="Download was refused"):
        element.body(file.file_id)
    with pytest.raises(FileGone, match="Reading the attributes was refused"):
        element.store.get(file.file_id, element.clock.now())
