"""Small uploads, whose id is looked up when they are committed: nothing is refused later, or otherwise, than it has to be."""

import uuid
from pathlib import Path

import pytest

from storage_node.attributes import FileAttributes
from storage_node.errors import (
    Conflict,
    FileGone,
    IncompleteBody,
    ModeNotAllowed,
    NotWritable,
    StorageFull,
    ValidationFailed,
)
from storage_node.tests.small_element import KIB, SmallElement
from storage_node.uploads import INSIDE_LIMIT_BYTES, Upload


def begin(element: SmallElement, declared_bytes: int | None = 4, **members: object) -> Upload:
    draft = element.draft(declared_bytes=declared_bytes, **members)
    return element.store.begin_small_upload(draft, element.clock.now())


def finish(element: SmallElement, upload: Upload, body: bytes) -> tuple[FileAttributes, bool]:
    upload.write(body)
    committed = upload.commit(element.clock.now()).result()
    return committed.attributes, committed.created


def reserved_bytes(element: SmallElement) -> int:
    return element.store.info(element.clock.now()).capacity["reserved_bytes"]


def test_it_is_stored_and_holds_its_room_until_then(element: SmallElement) -> None:
    upload = begin(element)
    assert reserved_bytes(element) == 4
    file, created = finish(element, upload, b"body")
    assert (created, reserved_bytes(element)) == (True, 0)
    assert element.body(file.file_id) == b"body"
    element.reopen()
    assert element.body(file.file_id) == b"body"


def test_a_body_of_the_limit_travels_inside_and_a_longer_one_as_a_part(
    element: SmallElement,
) -> None:
    inside = begin(element, INSIDE_LIMIT_BYTES)
    assert element.names_under("incoming") == []
    longer = begin(element, INSIDE_LIMIT_BYTES + 1)
    assert len(element.names_under("incoming")) == 1
    undeclared = begin(element, None)
    for upload, size in ((inside, 0), (longer, 1), (undeclared, 2)):
        body = bytes(INSIDE_LIMIT_BYTES + size)
        file, _ = finish(element, upload, body)
        element.settle()
        assert element.body(file.file_id) == body
    assert element.names_under("incoming") == []
    assert reserved_bytes(element) == 0


def test_what_is_not_valid_is_refused_before_the_body(element: SmallElement) -> None:
    with pytest.raises(ValidationFailed):
        begin(element, original_filename="a/b")
    assert reserved_bytes(element) == 0


def test_what_its_id_has_become_is_found_out_when_it_is_committed(element: SmallElement) -> None:
    stored, deleted, abandoned = element.put(b"body"), element.put(b"body"), uuid.uuid4()
    element.delete(deleted.file_id)
    element.abandon(abandoned)
    assert finish(element, begin(element, file_id=stored.file_id), b"body") == (stored, False)
    with pytest.raises(Conflict):
        finish(element, begin(element, file_id=stored.file_id), b"else")
    for file_id in (deleted.file_id, abandoned):
        with pytest.raises(FileGone):
            finish(element, begin(element, file_id=file_id), b"body")
    assert reserved_bytes(element) == 0


def test_the_later_of_two_of_one_id_is_compared_with_the_first(element: SmallElement) -> None:
    file_id = uuid.uuid4()
    first, second, third = (begin(element, file_id=file_id) for _ in range(3))
    stored, created = finish(element, first, b"body")
    assert created
    assert finish(element, second, b"body") == (stored, False)
    with pytest.raises(Conflict):
        finish(element, third, b"else")
    assert reserved_bytes(element) == 0


def test_its_id_is_the_better_reason_where_there_are_two(element: SmallElement) -> None:
    stored, deleted = element.put(b"body"), element.put(b"body")
    element.delete(deleted.file_id)
    room = element.store.info(element.clock.now()).capacity["available_bytes"]
    full = element.store.element.capacity.reserve(room)
    with pytest.raises(StorageFull):
        begin(element)
    # Only compared, so it needs no room.
    assert finish(element, begin(element, file_id=stored.file_id), b"body") == (stored, False)
    with pytest.raises(FileGone):
        begin(element, file_id=deleted.file_id)
    full.release()
    element.store.element.health.fail("the disk failed")
    with pytest.raises(NotWritable):
        begin(element)
    with pytest.raises(FileGone):
        begin(element, file_id=deleted.file_id)


def test_a_mode_without_uploads_refuses_it_and_lets_one_that_began_before_finish(
    tmp_path: Path,
) -> None:
    with SmallElement(tmp_path / "se", settings={"initial_mode": "rw"}).open() as element:
        deleted_before = element.put(b"body")
        upload = begin(element)
        element.mode("ro")
        assert finish(element, upload, b"body")[1]
        with pytest.raises(ModeNotAllowed):
            begin(element)
        with pytest.raises(ModeNotAllowed):
            begin(element, file_id=deleted_before.file_id)


def test_a_full_disk_refuses_it_before_the_body_and_again_when_it_is_committed(
    element: SmallElement,
) -> None:
    upload = begin(element)
    element.store.element.headroom.is_given_up = True
    with pytest.raises(StorageFull):
        begin(element)
    with pytest.raises(StorageFull):
        finish(element, upload, b"body")
    element.store.element.headroom.is_given_up = False
    assert reserved_bytes(element) == 0
    assert element.counts() == {}


def test_a_body_of_another_length_leaves_nothing(element: SmallElement) -> None:
    short, long = begin(element), begin(element)
    short.write(b"abc")
    with pytest.raises(IncompleteBody):
        short.commit(element.clock.now())
    with pytest.raises(ValidationFailed):
        long.write(b"abcde")
    assert reserved_bytes(element) == 0
    assert element.counts() == {}


def test_given_up_it_gives_its_room_back(element: SmallElement) -> None:
    upload = begin(element, 10 * KIB)
    upload.write(b"abc")
    assert reserved_bytes(element) == 10 * KIB
    upload.abort()
    assert reserved_bytes(element) == 0
