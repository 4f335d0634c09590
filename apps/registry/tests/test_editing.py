"""Editing and deleting through the element, registering single files, and lazy cleanup."""

import datetime as dt
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from apps.admin.models import AuditEvent
from apps.registry import cleanup, editing, elements, registering
from apps.registry.cleanup import Verdict
from apps.registry.editing import FileEdit
from apps.registry.errors import (
    ElementNotWilling,
    FileHeldElsewhere,
    FileNotFound,
    NodeModeNotAllowed,
    NodeUnreachable,
)
from apps.registry.models import FileRecord, StorageElement
from apps.registry.tests import make
from apps.registry.tests.scripted import IDENTITY, Line, ScriptedServer
from artstore.errors import ValidationError
from storage_node.tests.node_process import Certificates


def edit(file_id: uuid.UUID, **changes: Any) -> FileRecord:
    return editing.edit_file(file_id, FileEdit(changes), make.principal(), timezone.now())


def delete(file_id: uuid.UUID) -> FileRecord:
    return editing.delete_file(file_id, make.principal(), timezone.now())


@pytest.fixture
def stored(site: Any) -> Any:
    """A file on the node and in the registry."""
    said = site.put(tags=["old"], description="old")
    site.sync()
    return said


def test_an_edit_changes_element_and_record_alike_and_is_audited(site: Any, stored: Any) -> None:
    record = edit(stored.file_id, tags=["new", "ё"], metadata={"a": [1]}, description=None)
    said = site.client().get_file(stored.file_id).attributes
    assert (record.tags, record.metadata, record.description) == (["new", "ё"], {"a": [1]}, None)
    assert record.stored_revision == said.revision == 2
    assert record.updated_at == said.updated_at
    event = AuditEvent.objects.get(action="file.edit")
    assert event.target == f"file:{stored.file_id}"
    assert event.details == {"about": ["description", "metadata", "tags"]}


def test_an_edit_leaves_alone_what_it_does_not_name(stored: Any) -> None:
    record = edit(stored.file_id, description="new")
    assert record.tags == ["old"]


def test_description_tags_and_metadata_have_one_limit_together(stored: Any) -> None:
    edit(stored.file_id, metadata={"k": "x" * 11_000})
    with pytest.raises(ValidationError, match="12 KiB"):
        edit(stored.file_id, tags=["y" * 64] * 20)


def test_prior_art_22_a_deleted_file_stays_deleted_after_the_next_sync_and_its_bytes_are_freed(
    site: Any, stored: Any
) -> None:
    used = site.client().get_info().body["capacity"]["used_bytes"]
    record = delete(stored.file_id)
    assert (record.status, record.deletion_reason) == ("deleted", "user")
    site.sync(full=True)
    assert site.record(stored.file_id).status == "deleted"
    freed = elements.collect_garbage(
        site.element.pk, make.principal(), timezone.now(), dry_run=False
    )
    assert freed["freed_files"] == 1
    assert site.client().get_info().body["capacity"]["used_bytes"] < used
    site.sync(full=True)
    assert site.record(stored.file_id).status == "deleted"
    assert AuditEvent.objects.get(action="file.delete").target == f"file:{stored.file_id}"


def test_a_file_that_is_no_more_is_not_found(site: Any, stored: Any) -> None:
    delete(stored.file_id)
    for act in (lambda: edit(stored.file_id, tags=[]), lambda: delete(stored.file_id)):
        with pytest.raises(FileNotFound):
            act()
    assert editing.get(stored.file_id).status == "deleted", "it can still be looked at"


def test_a_file_deleted_behind_our_back_is_not_found_and_the_record_waits_for_sync(
    site: Any, stored: Any
) -> None:
    site.client().delete_file(stored.file_id)
    with pytest.raises(FileNotFound):
        edit(stored.file_id, tags=[])
    assert site.record(stored.file_id).status == "active"


def test_an_upload_under_way_is_no_file_yet(site: Any) -> None:
    row = make.record(site.element)
    FileRecord.objects.filter(pk=row.pk).update(status="uploading")
    for act in (lambda: edit(row.pk, tags=[]), lambda: delete(row.pk), lambda: editing.get(row.pk)):
        with pytest.raises(FileNotFound):
            act()


def test_a_mode_that_does_not_allow_it_is_the_nodes_refusal(start_site: Callable[..., Any]) -> None:
    site = start_site(SE_MODE="rw").synced()
    stored = site.put()
    site.sync()
    with pytest.raises(NodeModeNotAllowed):
        delete(stored.file_id)
    assert site.record(stored.file_id).status == "active"


def test_a_dead_element_is_a_failure_that_changes_nothing(site: Any, stored: Any) -> None:
    site.node.kill()
    with pytest.raises(NodeUnreachable):
        edit(stored.file_id, tags=[])
    assert site.record(stored.file_id).tags == ["old"]
    assert elements.get(site.element.pk).status == "offline"


def test_a_file_whose_element_was_removed_cannot_be_edited(db: None) -> None:
    row = make.record(None)
    with pytest.raises(ElementNotWilling):
        edit(row.pk, tags=[])


# --- registering a file that is already on an element ---


def register(site: Any, file_id: uuid.UUID) -> tuple[FileRecord, bool]:
    return registering.register_file(file_id, site.element.pk, make.principal(), timezone.now())


def test_a_file_on_an_element_is_registered_once_and_repeated_calls_find_it(site: Any) -> None:
    said = site.put(tags=["here"])
    record, created = register(site, said.file_id)
    assert created
    assert (record.status, record.tags, record.stored_revision) == ("active", ["here"], 1)
    assert register(site, said.file_id)[1] is False
    assert AuditEvent.objects.filter(action="file.register").count() == 1


def test_registering_settles_an_upload_whose_answer_was_lost(site: Any) -> None:
    said = site.put()
    row = make.record(site.element, file_id=said.file_id)
    FileRecord.objects.filter(pk=row.pk).update(status="uploading")
    record, created = register(site, said.file_id)
    assert created
    assert record.status == "active"


def test_a_file_the_element_does_not_have_is_not_found(site: Any) -> None:
    with pytest.raises(FileNotFound):
        register(site, uuid.uuid4())
    deleted = site.put()
    site.client().delete_file(deleted.file_id)
    with pytest.raises(FileNotFound):
        register(site, deleted.file_id)


def test_registering_takes_nothing_from_another_element(site: Any) -> None:
    said = site.put()
    make.record(make.element(), file_id=said.file_id)
    with pytest.raises(FileHeldElsewhere):
        register(site, said.file_id)


def test_registering_brings_back_what_a_removed_element_left(site: Any) -> None:
    said = site.put()
    make.record(
        None,
        file_id=said.file_id,
        checksum=said.checksum,
        status="deleted",
        deletion_reason="element_removed",
    )
    record, created = register(site, said.file_id)
    assert created
    assert (record.status, record.storage_element_id) == ("active", site.element.pk)


# --- lazy cleanup ---


def test_lazy_cleanup_marks_a_file_the_node_says_is_gone(site: Any, stored: Any) -> None:
    record = site.record(stored.file_id)
    site.client().delete_file(stored.file_id)
    assert cleanup.settle_missing(record, timezone.now()) is Verdict.GONE
    record.refresh_from_db()
    assert (record.status, record.deletion_reason) == ("deleted", "missing_on_element")
    assert AuditEvent.objects.get(action="file.lazy_cleanup").actor == "artstore"
    assert cleanup.settle_missing(record, timezone.now()) is Verdict.GONE, "somebody was faster"


def test_lazy_cleanup_keeps_a_file_the_node_has_after_all(site: Any, stored: Any) -> None:
    record = site.record(stored.file_id)
    assert cleanup.settle_missing(record, timezone.now()) is Verdict.KEPT
    assert site.record(stored.file_id).status == "active"


def test_lazy_cleanup_believes_no_other_epoch(site: Any, stored: Any) -> None:
    site.client().delete_file(stored.file_id)
    StorageElement.objects.update(epoch="another")
    record = site.record(stored.file_id)
    assert cleanup.settle_missing(record, timezone.now()) is Verdict.KEPT
    assert site.record(stored.file_id).status == "active"


def test_lazy_cleanup_touches_no_row_that_changed_meanwhile(site: Any, stored: Any) -> None:
    record = site.record(stored.file_id)
    site.client().delete_file(stored.file_id)
    FileRecord.objects.update(stored_revision=7)
    assert cleanup.settle_missing(record, timezone.now()) is Verdict.KEPT
    assert site.record(stored.file_id).status == "active"


NO_PROOF = {
    "a proxy's bare 404": ("404 Not Found", "<h1>404</h1>", ""),
    "a bare 404 in our form": (
        "404 Not Found",
        json.dumps({"error": {"code": "NOT_FOUND", "message": ""}}),
        "",
    ),
    "an unknown route": (
        "404 Not Found",
        json.dumps({"error": {"code": "UNKNOWN_ROUTE", "message": ""}}),
        IDENTITY,
    ),
    "another instance": (
        "404 Not Found",
        json.dumps({"error": {"code": "NOT_FOUND", "message": ""}}),
        IDENTITY.replace("i-1", "i-2"),
    ),
    "a starting node": (
        "503 Service Unavailable",
        json.dumps({"error": {"code": "STARTING", "message": ""}}),
        IDENTITY,
    ),
}


@pytest.mark.parametrize("what", NO_PROOF)
def test_lazy_cleanup_takes_only_the_nodes_own_word(
    keys: None, certificates: Certificates, what: str
) -> None:
    status, body, headers = NO_PROOF[what]

    def script(line: Line) -> None:
        while line.read_some():
            if b"/info " in line.received.rsplit(b"\r\nHost", 1)[0].rsplit(b"GET", 1)[-1]:
                line.answer("200 OK", '{"contract": 1}')
            else:
                line.answer(status, body, headers)

    with ScriptedServer(certificates, script) as server:
        element = make.element(
            "se-fake",
            url=server.url,
            instance_id="i-1",
            epoch="e-1",
            ca_pem=certificates.ca.read_text(),
        )
        record = make.record(element)
        assert cleanup.settle_missing(record, timezone.now()) is Verdict.KEPT
    record.refresh_from_db()
    assert record.status == "active"


def test_an_element_that_loses_many_files_within_an_hour_is_not_believed_any_more(
    site: Any, settings: Any
) -> None:
    settings.ARTSTORE_LAZY_CLEANUPS_PER_HOUR = 2
    files = [site.put() for _ in range(4)]
    site.sync()
    for said in files:
        site.client().delete_file(said.file_id)
    now = timezone.now()
    verdicts = [cleanup.settle_missing(site.record(said.file_id), now) for said in files[:3]]
    assert verdicts == [Verdict.GONE, Verdict.GONE, Verdict.DOUBTED]
    assert site.record(files[2].file_id).status == "active"
    assert elements.get(site.element.pk).full_sync_reason
    later = now + dt.timedelta(hours=1)
    assert cleanup.settle_missing(site.record(files[3].file_id), later) is Verdict.GONE
    assert site.sync().kind == "full"
    assert elements.get(site.element.pk).full_sync_reason == ""


def test_a_record_without_an_element_is_left_alone(db: None) -> None:
    assert cleanup.settle_missing(make.record(None), timezone.now()) is Verdict.KEPT
