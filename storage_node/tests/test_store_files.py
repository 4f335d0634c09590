"""Upload, read, edit, delete, abandon: what a caller is promised, and what is left when something is refused."""

import json
import uuid
from pathlib import Path
from threading import Barrier, Thread

import pytest

from storage_node.attributes import AttributesPatch
from storage_node.errors import (
    ChecksumMismatch,
    Conflict,
    FileDamaged,
    FileGone,
    FileTooLarge,
    IncompleteBody,
    ModeNotAllowed,
    NotFound,
    PreconditionFailed,
    ValidationFailed,
)
from storage_node.tests.faulty_medium import GatedMedium
from storage_node.tests.small_element import KIB, Clock, SmallElement, sha256


@pytest.mark.parametrize("size", [0, 1, 4096, 64 * KIB, 64 * KIB + 1, 300 * KIB])
@pytest.mark.parametrize("is_declared", [True, False])
def test_a_body_of_any_size_comes_back_as_it_was_sent(
    element: SmallElement, size: int, is_declared: bool
) -> None:
    body = bytes(i % 251 for i in range(size))
    file = element.put(body, pieces=7, declared_bytes=size if is_declared else None)
    assert element.body(file.file_id) == body
    assert (file.size, file.checksum, file.revision, file.status) == (
        size,
        sha256(body),
        1,
        "active",
    )


def test_the_attributes_file_says_what_the_answer_said(element: SmallElement) -> None:
    file = element.put(
        b"x", original_filename="отчёт.pdf", tags=("a", "б"), metadata={"k": [1, None]}, ttl_days=7
    )
    written = element.paths_of(file.file_id)[1].read_bytes()
    assert written == file.file_bytes
    assert written.endswith(b"\n")
    told = json.loads(written)
    assert list(told) == sorted(told)
    assert told["original_filename"] == "отчёт.pdf"
    assert "отчёт.pdf".encode() in written
    assert (told["format"], told["ttl_days"], told["uploaded_by"]) == (1, 7, "tester")
    assert told["expires_at"] == "2026-11-29T06:00:00.123456Z"


def test_a_permanent_file_has_no_time_to_live(element: SmallElement) -> None:
    file = element.put(retention_policy="permanent")
    assert (file.ttl_days, file.expires_at) == (None, None)


def test_the_same_bytes_under_the_same_id_are_answered_with_what_is_stored(
    element: SmallElement,
) -> None:
    first = element.put(b"same", description="first")
    upload = element.store.begin_upload(
        element.draft(file_id=first.file_id, description="second"), element.clock.now()
    )
    upload.write(b"same")
    again = upload.commit(element.clock.now()).result()
    assert (again.created, again.attributes) == (False, first)
    assert element.names_under("incoming") == []


def test_other_bytes_under_the_same_id_are_a_conflict_and_leave_nothing(
    element: SmallElement,
) -> None:
    first = element.put(b"one")
    for body in (b"two", b"x" * 200_000):
        with pytest.raises(Conflict):
            element.put(body, file_id=first.file_id)
    assert element.body(first.file_id) == b"one"
    assert element.names_under("incoming") == []


def test_parallel_uploads_of_one_id_make_one_file(element: SmallElement) -> None:
    file_id, outcomes, together = uuid.uuid4(), [], Barrier(16)

    def send(number: int) -> None:
        body = b"a" * 10 if number % 2 else b"b" * 100_000
        upload = element.store.begin_upload(element.draft(file_id=file_id), element.clock.now())
        upload.write(body)
        together.wait()
        try:
            outcomes.append((upload.commit(element.clock.now()).result().created, body))
        except Conflict:
            outcomes.append((None, body))

    threads = [Thread(target=send, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [body for created, body in outcomes if created]
    assert len(winners) == 1
    assert element.body(file_id) == winners[0]
    assert all((created is None) == (body != winners[0]) for created, body in outcomes)
    assert element.names_under("incoming") == []
    assert element.store.info(element.clock.now()).capacity["reserved_bytes"] == 0


@pytest.mark.parametrize("size", [100, 100_000])
def test_a_wrong_digest_is_refused_and_leaves_nothing(element: SmallElement, size: int) -> None:
    with pytest.raises(ChecksumMismatch):
        element.put(b"x" * size, sha256=sha256(b"other"))
    assert element.counts() == {}
    assert element.names_under("incoming") == element.names_under("files") == []


@pytest.mark.parametrize("size", [100, 100_000])
def test_a_body_shorter_or_longer_than_declared_is_refused_and_leaves_nothing(
    element: SmallElement, size: int
) -> None:
    with pytest.raises(IncompleteBody):
        element.put(b"x" * size, declared_bytes=size + 1)
    with pytest.raises(ValidationFailed):
        element.put(b"x" * size, declared_bytes=size - 1)
    assert element.names_under("incoming") == element.names_under("files") == []
    assert element.store.info(element.clock.now()).capacity["reserved_bytes"] == 0


def test_a_file_too_large_is_refused_before_its_body_when_declared_and_on_the_way_when_not(
    tmp_path: Path,
) -> None:
    with SmallElement(tmp_path / "se", settings={"max_file_bytes": 1000}).open() as element:
        with pytest.raises(FileTooLarge):
            element.store.begin_upload(element.draft(declared_bytes=1001), element.clock.now())
        with pytest.raises(FileTooLarge):
            element.put(b"x" * 1001, declared_bytes=None)
        assert element.put(b"x" * 1000).size == 1000
        assert element.names_under("incoming") == []


def test_an_aborted_upload_leaves_nothing(element: SmallElement) -> None:
    upload = element.store.begin_upload(element.draft(declared_bytes=200_000), element.clock.now())
    upload.write(b"x" * 100_000)
    assert len(element.names_under("incoming")) == 1
    upload.abort()
    upload.abort()
    assert element.names_under("incoming") == []
    assert element.store.info(element.clock.now()).capacity["reserved_bytes"] == 0


def test_abort_after_commit_does_not_take_the_file_away(element: SmallElement) -> None:
    upload = element.store.begin_upload(element.draft(), element.clock.now())
    upload.write(b"x" * 100_000)
    waiting = upload.commit(element.clock.now())
    upload.abort()
    file = waiting.result().attributes
    assert element.body(file.file_id) == b"x" * 100_000


def test_fields_given_after_the_body_count(element: SmallElement) -> None:
    draft = element.draft(description=None)
    upload = element.store.begin_upload(draft, element.clock.now())
    upload.write(b"body")
    upload.redescribe(element.draft(file_id=draft.file_id, description="late"))
    assert upload.commit(element.clock.now()).result().attributes.description == "late"


def test_an_edit_makes_the_next_revision_and_keeps_the_rest(element: SmallElement) -> None:
    file = element.put(b"x", tags=("a",), metadata={"a": 1})
    element.clock.advance(minutes=1)
    edited = element.edit(file.file_id, description="new", tags=("b",))
    assert (edited.revision, edited.description, edited.tags, edited.metadata) == (
        2,
        "new",
        ("b",),
        {"a": 1},
    )
    assert edited.updated_at == element.clock.now()
    assert edited.uploaded_at == file.uploaded_at
    assert element.paths_of(file.file_id)[1].read_bytes() == edited.file_bytes
    assert element.store.get(file.file_id, element.clock.now()).attributes == edited


def test_parallel_edits_are_all_counted_and_none_is_torn(element: SmallElement) -> None:
    file = element.put(b"x")
    patches = [AttributesPatch(frozenset({"description"}), description=str(i)) for i in range(200)]
    waiting = [
        element.store.edit(file.file_id, patch, None, element.clock.now()) for patch in patches
    ]
    revisions = [future.result().revision for future in waiting]
    assert revisions == list(range(2, 202))
    assert json.loads(element.paths_of(file.file_id)[1].read_text())["revision"] == 201


def test_only_one_of_many_edits_of_the_same_revision_succeeds(element: SmallElement) -> None:
    file = element.put(b"x")
    patch = AttributesPatch(frozenset({"description"}), description="d")
    waiting = [element.store.edit(file.file_id, patch, 1, element.clock.now()) for _ in range(20)]
    failures = [type(future.exception()) for future in waiting]
    assert failures.count(type(None)) == 1
    assert failures.count(PreconditionFailed) == 19


def test_keys_of_a_later_format_survive_an_edit(element: SmallElement) -> None:
    file = element.put(b"x")
    content, attributes = element.paths_of(file.file_id)
    told = json.loads(attributes.read_text()) | {"colour": "green", "later": {"a": [1]}}
    element.close()
    attributes.write_text(json.dumps(told, sort_keys=True, ensure_ascii=False) + "\n")
    element.open(rebuild=True)
    element.edit(file.file_id, description="new")
    assert json.loads(attributes.read_text()) == told | {"description": "new", "revision": 2}
    assert content.read_bytes() == b"x"


def test_a_deleted_file_is_gone_for_every_call(element: SmallElement) -> None:
    file = element.put(b"x")
    deleted = element.delete(file.file_id)
    assert (deleted.status, deleted.revision, deleted.deleted_at) == (
        "deleted",
        2,
        element.clock.now(),
    )
    for call in (
        lambda: element.store.get(file.file_id, element.clock.now()),
        lambda: element.body(file.file_id),
        lambda: element.edit(file.file_id, description="d"),
        lambda: element.delete(file.file_id),
        lambda: element.put(b"x", file_id=file.file_id),
    ):
        with pytest.raises(FileGone) as gone:
            call()
        assert gone.value.file_status == "deleted"


def test_a_deleted_file_is_gone_and_not_a_matter_of_mode(tmp_path: Path) -> None:
    with SmallElement(tmp_path / "se", settings={"initial_mode": "rw"}).open() as element:
        file = element.put(b"x", ttl_days=1)
        element.mode("ro")
        element.clock.advance(days=2)
        with pytest.raises(FileGone):
            element.delete(file.file_id)
        with pytest.raises(NotFound):
            element.delete(uuid.uuid4())
        with pytest.raises(ModeNotAllowed):
            element.put(b"new")


def test_from_expires_at_on_a_file_answers_gone_and_lists_as_expired(element: SmallElement) -> None:
    file = element.put(b"x", ttl_days=1)
    element.clock.advance(days=1)
    with pytest.raises(FileGone) as gone:
        element.body(file.file_id)
    assert gone.value.file_status == "expired"
    assert json.loads(element.items()[0])["status"] == "expired"
    assert element.items(status="active") == []
    assert len(element.items(status="expired")) == 1


def test_an_unknown_file_is_not_found(element: SmallElement) -> None:
    for call in (
        lambda: element.store.get(uuid.uuid4(), element.clock.now()),
        lambda: element.body(uuid.uuid4()),
        lambda: element.edit(uuid.uuid4(), description="d"),
        lambda: element.delete(uuid.uuid4()),
    ):
        with pytest.raises(NotFound):
            call()


def test_not_found_only_when_index_and_disk_agree(element: SmallElement) -> None:
    file = element.put(b"x")
    content, _ = element.paths_of(file.file_id)
    stranger = uuid.UUID(file.file_id.hex[:4] + uuid.uuid4().hex[4:])
    content.with_name(content.name.replace(str(file.file_id), str(stranger))).write_bytes(b"?")
    with pytest.raises(FileDamaged):
        element.store.get(stranger, element.clock.now())


def test_abandon_closes_an_absent_id_for_uploads_under_way_and_later(element: SmallElement) -> None:
    draft = element.draft(declared_bytes=200_000)
    upload = element.store.begin_upload(draft, element.clock.now())
    upload.write(b"x" * 200_000)
    assert element.abandon(draft.file_id) is None
    with pytest.raises(FileGone) as gone:
        upload.commit(element.clock.now()).result()
    assert gone.value.file_status == "abandoned"
    with pytest.raises(FileGone):
        element.put(b"later", file_id=draft.file_id)
    element.reopen()
    with pytest.raises(FileGone):
        element.put(b"after a restart", file_id=draft.file_id)
    assert element.abandon(draft.file_id) is None
    assert element.names_under("incoming") == element.names_under("files") == []


def test_abandon_gives_a_present_file_back_in_any_mode(tmp_path: Path) -> None:
    with SmallElement(tmp_path / "se", settings={"initial_mode": "rw"}).open() as element:
        file = element.put(b"x")
        element.mode("ro")
        element.mode("ar")
        assert element.abandon(file.file_id) == file
        absent = uuid.uuid4()
        assert element.abandon(absent) is None


def test_missing_and_cut_bytes_are_never_served(element: SmallElement) -> None:
    cut, missing = element.put(b"0123456789"), element.put(b"0123456789")
    element.paths_of(cut.file_id)[0].write_bytes(b"01234")
    element.paths_of(missing.file_id)[0].unlink()
    for file in (cut, missing):
        with pytest.raises(FileDamaged):
            element.body(file.file_id)
    element.put(b"something after it")
    assert element.store.get(cut.file_id, element.clock.now()).damaged == "size_mismatch"
    assert element.store.get(missing.file_id, element.clock.now()).damaged == "missing_file"


def test_nothing_is_visible_before_it_is_durable(tmp_path: Path) -> None:
    with SmallElement(tmp_path / "se", open_medium=GatedMedium).open() as element:
        medium = element.store.element.disk.medium
        assert isinstance(medium, GatedMedium)
        kept = element.put(b"kept")
        draft = element.draft()
        with medium.hold_log_syncs() as held:
            upload = element.store.begin_upload(draft, element.clock.now())
            upload.write(b"new")
            waiting = upload.commit(element.clock.now())
            held.wait_until_reached()
            with pytest.raises(NotFound):
                element.store.get(draft.file_id, element.clock.now())
            with pytest.raises(NotFound):
                element.body(draft.file_id)
            assert len(element.items()) == 1
            assert element.body(kept.file_id) == b"kept"
            assert not waiting.done()
        waiting.result()
        assert element.body(draft.file_id) == b"new"


def test_the_clock_of_the_tests_stands_still() -> None:
    clock = Clock()
    assert clock.now() == clock.now()
