"""What this process remembers of records, and for how long at most it may be wrong."""

import datetime as dt
import io
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from apps.query.cache import RecordCache, records
from apps.query.tests.made_files import NOW, stored
from apps.registry import editing, elements, sync, written
from apps.registry.editing import FileEdit
from apps.registry.models import FileRecord, StorageElement, SyncTrigger
from apps.registry.tests import make

pytestmark = pytest.mark.django_db

LIFE = dt.timedelta(seconds=30)


@pytest.fixture
def file_id(element: StorageElement, tmp_path: Path) -> uuid.UUID:
    """A file on a real node, known to the cache."""
    (tmp_path / "a.bin").write_bytes(b"content")
    out = io.StringIO()
    call_command("upload_file", str(tmp_path / "a.bin"), "--tag", "old", stdout=out)
    found = uuid.UUID(out.getvalue().strip())
    assert tags_in_cache(found) == ["old"]
    return found


def tags_in_cache(file_id: uuid.UUID) -> list[str] | None:
    record = records.get(file_id, NOW)
    return record.tags if record else None


def test_an_edit_through_this_process_is_seen_at_once(
    file_id: uuid.UUID, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        editing.edit_file(file_id, FileEdit({"tags": ["new"]}), make.principal(), timezone.now())
    assert tags_in_cache(file_id) == ["new"]


def test_a_deletion_through_this_process_is_seen_at_once(
    file_id: uuid.UUID, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        editing.delete_file(file_id, make.principal(), timezone.now())
    found = records.get(file_id, NOW)
    assert found is not None
    assert found.status == "deleted"


def test_what_a_sync_in_this_process_changed_is_seen_at_once(
    site: Any,
    element: StorageElement,
    file_id: uuid.UUID,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    answer = site.node_session().request(
        "PATCH", f"/api/v1/files/{file_id}", json={"tags": ["there"]}
    )
    assert answer.status_code == 200
    with django_capture_on_commit_callbacks(execute=True):
        run = sync.claim(element, sync.Request(SyncTrigger.MANUAL, full=True))
        assert sync.run(run.pk) is not None
    assert tags_in_cache(file_id) == ["there"]


def test_a_changed_address_of_an_element_is_seen_at_once(
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    element = make.element()
    file_id = make.record(element).file_id
    assert _element_of(file_id).name != "renamed"
    with django_capture_on_commit_callbacks(execute=True):
        edit = elements.ElementEdit(name="renamed")
        elements.edit(element.pk, edit, make.principal(), timezone.now())
    assert _element_of(file_id).name == "renamed"


def _element_of(file_id: uuid.UUID) -> StorageElement:
    record = records.get(file_id, NOW)
    assert record is not None
    assert record.storage_element is not None
    return record.storage_element


def test_what_another_process_changed_is_seen_when_the_entrys_life_ends() -> None:
    cache = RecordCache()
    record = stored("a.bin", tags=["old"])
    cache.get(record.file_id, NOW)
    # As another process writes: nothing in this one is told.
    FileRecord.objects.filter(pk=record.pk).update(tags=["new"])
    late = cache.get(record.file_id, NOW + LIFE - dt.timedelta(microseconds=1))
    over = cache.get(record.file_id, NOW + LIFE)
    assert late is not None
    assert over is not None
    assert (late.tags, over.tags) == (["old"], ["new"])


def test_reading_an_entry_does_not_lengthen_its_life() -> None:
    cache = RecordCache()
    record = stored("a.bin", tags=["old"])
    for second in range(0, 30, 5):
        cache.get(record.file_id, NOW + dt.timedelta(seconds=second))
    FileRecord.objects.filter(pk=record.pk).update(tags=["new"])
    over = cache.get(record.file_id, NOW + LIFE)
    assert over is not None
    assert over.tags == ["new"]


def test_a_record_and_its_element_are_read_as_django_reads_them(element: StorageElement) -> None:
    described = stored("a.bin", storage_element=element, metadata={"a": [1, None]}, tags=["x", "y"])
    orphan = stored("b.bin")
    for record in (described, orphan):
        found = RecordCache().get(record.pk, NOW)
        wanted = FileRecord.objects.select_related("storage_element").get(pk=record.pk)
        assert found is not None
        assert columns_of(found) == columns_of(wanted)
        assert not found.get_deferred_fields() - {"search_vector", "name_key"}
        if wanted.storage_element is None:
            assert found.storage_element is None
        else:
            assert found.storage_element is not None
            assert columns_of(found.storage_element) == columns_of(wanted.storage_element)


def columns_of(row: FileRecord | StorageElement) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def test_a_file_that_is_not_there_is_asked_for_again_every_time() -> None:
    cache = RecordCache()
    file_id = uuid.uuid4()
    assert cache.get(file_id, NOW) is None
    stored("now.bin", file_id=file_id)
    assert cache.get(file_id, NOW) is not None


def test_a_record_read_while_it_was_being_changed_is_not_believed(
    django_capture_on_commit_callbacks: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = RecordCache()
    record = stored("a.bin", tags=["old"])
    read = FileRecord.objects.visible().get

    def read_then_be_overtaken(file_id: uuid.UUID) -> FileRecord:
        found = read(pk=file_id)
        FileRecord.objects.filter(pk=file_id).update(tags=["new"])
        with django_capture_on_commit_callbacks(execute=True):
            written.changes.note(file_id)
        return found

    monkeypatch.setattr("apps.query.cache._read", read_then_be_overtaken)
    cache.get(record.file_id, NOW)
    monkeypatch.undo()
    found = cache.get(record.file_id, NOW)
    assert found is not None
    assert found.tags == ["new"]


def test_the_cache_is_bounded_and_forgets_what_was_not_asked_for_longest(settings: Any) -> None:
    settings.ARTSTORE_QUERY_CACHE_FILES = 2
    cache = RecordCache()
    first, second, third = (stored(f"{n}.bin", tags=["old"]).file_id for n in range(3))
    for file_id in (first, second, first, third):
        cache.get(file_id, NOW)
    FileRecord.objects.update(tags=["new"])
    tags = {}
    for file_id in (first, third, second):
        found = cache.get(file_id, NOW)
        assert found is not None
        tags[file_id] = found.tags
    assert tags == {first: ["old"], third: ["old"], second: ["new"]}


def test_changes_that_were_forgotten_count_for_every_record(
    django_capture_on_commit_callbacks: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(written, "REMEMBERED_RECORDS", 2)
    changes = written.RecordChanges()
    first, untouched = uuid.uuid4(), uuid.uuid4()
    before = changes.count
    with django_capture_on_commit_callbacks(execute=True):
        changes.note(first)
    assert changes.changed_since(first, before)
    assert not changes.changed_since(untouched, before)
    with django_capture_on_commit_callbacks(execute=True):
        changes.note(uuid.uuid4())
        changes.note(uuid.uuid4())
    assert changes.changed_since(first, before)
    assert changes.changed_since(untouched, before)
    assert not changes.changed_since(untouched, changes.count)


def test_a_change_that_was_rolled_back_is_none(django_capture_on_commit_callbacks: Any) -> None:
    changes = written.RecordChanges()
    with django_capture_on_commit_callbacks(execute=False) as promised:
        changes.note(uuid.uuid4())
    assert len(promised) == 1
    assert changes.count == 0
