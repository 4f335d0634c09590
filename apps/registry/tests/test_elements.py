"""Registering, editing, removing and operating elements, against real nodes and against impostors."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from apps.admin.models import AuditEvent
from apps.registry import elements, probing
from apps.registry.elements import ElementEdit, Registration
from apps.registry.errors import (
    ElementInUse,
    ElementMismatch,
    ElementNotFound,
    ElementTaken,
    ElementUrlRefused,
    NodeAnswerInvalid,
    NodeConfirmationRequired,
    NodeFailure,
    NodeIdentityChanged,
    NodeInvalidTransition,
    NodeUnreachable,
)
from apps.registry.models import FileRecord, StorageElement, SyncRun, element_id_of
from apps.registry.tests import make
from apps.registry.tests.scripted import IDENTITY, Line, ScriptedServer
from artstore.errors import ValidationError
from storage_node.tests.node_process import Certificates

INFO = {"contract": 1, "mode": "edit", "status": "ok", "version": "9"}


def impostor(info: dict[str, Any], headers: str = IDENTITY) -> Callable[[Line], None]:
    """Answers everything with this info."""

    def script(line: Line) -> None:
        while line.read_some():
            line.answer("200 OK", json.dumps(info), headers)

    return script


def forget(element: StorageElement) -> Registration:
    """Take the row away, so that the running node can be registered by the verb."""
    StorageElement.objects.filter(pk=element.pk).delete()
    return Registration("By hand", element.url, element.ca_pem)


def test_discovery_says_what_the_node_says_and_stores_nothing(start_site: Any) -> None:
    site = start_site(SE_MODE="rw")
    registration = forget(site.element)
    found = elements.discover(registration.url, registration.ca_pem)
    assert (found.storage_id, found.mode, found.status) == ("se-test", "rw", "ok")
    assert not found.registered
    assert not StorageElement.objects.exists()


def test_registering_probes_the_element_claims_a_full_sync_and_is_audited(start_site: Any) -> None:
    site = start_site()
    done = elements.register(forget(site.element), make.principal(), timezone.now())
    assert done.element.pk == element_id_of("se-test")
    assert (done.element.status, done.element.mode) == ("online", "edit")
    assert done.element.capacity_bytes == 10 * 2**30
    assert done.element.last_probe_at is not None
    assert (done.run.kind, done.run.trigger, done.run.status) == (
        "full",
        "registration",
        "running",
    )
    event = AuditEvent.objects.get(action="element.register")
    assert (event.actor, event.target) == ("someone", "element:se-test")


def test_one_storage_id_or_url_is_registered_once(site: Any) -> None:
    again = Registration("again", site.element.url, site.element.ca_pem)
    with pytest.raises(ElementTaken):
        elements.register(again, make.principal(), timezone.now())
    by_name = Registration(
        "again", site.element.url.replace("127.0.0.1", "localhost"), again.ca_pem
    )
    with pytest.raises(ElementTaken):
        elements.register(by_name, make.principal(), timezone.now())
    assert StorageElement.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("ca_pem", ["nonsense", "-----BEGIN PRIVATE KEY-----", "x" * 70_000])
def test_a_pin_that_is_no_certificate_is_refused_without_repeating_it(ca_pem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        elements.discover("https://127.0.0.1:1", ca_pem)
    assert ca_pem not in str(caught.value)


# --- issue 5, "wrong URL", and prior art 24 and 26 ---


@pytest.mark.django_db
@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1", "https://169.254.169.254", "https://[fe80::1]", "file:///etc/passwd"],
)
def test_prior_art_26_discovery_does_not_follow_any_url(url: str) -> None:
    with pytest.raises(ElementUrlRefused):
        elements.discover(url)


WRONG_ANSWERS: dict[str, tuple[Callable[[Line], None], type[Exception]]] = {
    "another element": (impostor(INFO | {"storage_id": "se-fake"}), ElementMismatch),
    "html": (impostor(INFO, headers=""), NodeAnswerInvalid),
    "silence": (lambda line: line.read_to_end() and None, NodeUnreachable),
}


@pytest.mark.parametrize("what", WRONG_ANSWERS)
def test_prior_art_24_a_url_that_leads_elsewhere_is_refused_and_touches_no_record(
    site: Any, certificates: Certificates, settings: Any, what: str
) -> None:
    settings.ARTSTORE_NODE_STALL_SECONDS = 0.2
    stored = site.put()
    site.sync()
    script, failure = WRONG_ANSWERS[what]
    with ScriptedServer(certificates, script) as server:
        edit = ElementEdit(url=server.url)
        with pytest.raises(failure):
            elements.edit(site.element.pk, edit, make.principal(), timezone.now())
        assert b"uthorization" not in server.received()
    site.element.refresh_from_db()
    assert site.element.url == site.node.base_url
    assert site.record(stored.file_id).status == "active"


def test_prior_art_26_no_token_goes_to_whatever_answers_at_a_registered_url(
    site: Any, certificates: Certificates
) -> None:
    """The address of a registered element is taken over by something that says it is another."""
    stored = site.put()
    site.sync()
    with ScriptedServer(certificates, impostor(INFO)) as server:
        StorageElement.objects.update(url=server.url)
        site.element.refresh_from_db()
        run = site.sync(full=True)
        probing.probe(site.element, timezone.now())
        assert server.lines, "it was asked"
        assert b"uthorization" not in server.received()
    assert run.status == "failed"
    assert site.element.status == "offline"
    assert site.record(stored.file_id).status == "active"


def test_prior_art_26_nor_to_one_that_says_the_right_name_under_a_certificate_not_trusted(
    site: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    identity = (
        f"X-ArtStore-Storage-Id: se-test\r\nX-ArtStore-Instance-Id: {site.element.instance_id}\r\n"
    )
    others = Certificates.make(tmp_path_factory.mktemp("others"))
    with ScriptedServer(others, impostor(INFO, identity)) as server:
        StorageElement.objects.update(url=server.url)
        site.element.refresh_from_db()
        probing.probe(site.element, timezone.now())
        assert server.received() == b""
    assert site.element.status == "offline"
    assert "certificate" in site.element.status_reason


def test_prior_art_26_an_endless_answer_is_neither_read_nor_echoed(
    db: None, certificates: Certificates
) -> None:
    def script(line: Line) -> None:
        line.head()
        line.send(f"HTTP/1.1 200 OK\r\n{IDENTITY}Connection: close\r\n\r\n")
        for _ in range(1000):
            line.send(b"secret of the intranet " * 1000)

    with ScriptedServer(certificates, script) as server:
        with pytest.raises(NodeAnswerInvalid) as caught:
            elements.discover(server.url, certificates.ca.read_text())
        assert "secret" not in str(caught.value)


def test_a_new_instance_waits_for_confirmation_and_is_synced_in_full_after_it(
    site: Any,
) -> None:
    stored = site.put()
    site.sync()
    real = site.element.instance_id
    StorageElement.objects.update(instance_id="of-another-life")
    element = probing.probe(elements.get(site.element.pk), timezone.now())
    assert (element.status, element.offered_instance_id) == ("offline", real)
    site.element.refresh_from_db()
    client = site.client()
    with pytest.raises(NodeIdentityChanged):
        client.get_file(stored.file_id)
    wrong = ElementEdit(accept_instance_id="some-other")
    with pytest.raises(ElementMismatch):
        elements.edit(element.pk, wrong, make.principal(), timezone.now())
    accept = ElementEdit(accept_instance_id=real)
    accepted = elements.edit(element.pk, accept, make.principal(), timezone.now())
    assert (accepted.status, accepted.offered_instance_id) == ("online", "")
    assert (accepted.epoch, accepted.cursor) == ("", 0)
    run = site.sync()
    assert (run.kind, run.status) == ("full", "succeeded")
    assert AuditEvent.objects.filter(action="element.edit").exists()


def test_a_changed_pin_is_audited_without_its_text(site: Any) -> None:
    edit = ElementEdit(ca_pem=site.element.ca_pem)
    elements.edit(site.element.pk, edit, make.principal(), timezone.now())
    details = AuditEvent.objects.get(action="element.edit").details
    assert details["ca_pem"] == "changed"
    assert "CERTIFICATE" not in json.dumps(details)


def test_renaming_asks_nobody(db: None) -> None:
    element = make.element()
    edited = elements.edit(element.pk, ElementEdit(name="New"), make.principal(), timezone.now())
    assert edited.name == "New"


def test_maintenance_is_the_operators_word_and_a_probe_does_not_end_it(site: Any) -> None:
    edit = ElementEdit(maintenance=True)
    assert elements.edit(site.element.pk, edit, make.principal(), timezone.now()).status == (
        "maintenance"
    )
    assert probing.probe(elements.get(site.element.pk), timezone.now()).status == "maintenance"
    over = ElementEdit(maintenance=False)
    assert elements.edit(site.element.pk, over, make.principal(), timezone.now()).status == "online"


# --- removing: prior art 25 ---


def test_prior_art_25_removing_an_element_with_active_files_needs_force(db: None) -> None:
    element = make.element()
    make.record(element)
    with pytest.raises(ElementInUse):
        elements.remove(element.pk, make.principal(), timezone.now(), force=False)
    assert StorageElement.objects.filter(pk=element.pk).exists()


def test_prior_art_25_removing_by_force_keeps_the_records_as_deleted(db: None) -> None:
    element = make.element()
    active, expired = make.record(element), make.record(element, status="expired")
    deleted = make.record(element, status="deleted")
    uploading = make.record(element, status="deleted")
    FileRecord.objects.filter(pk=uploading.pk).update(status="uploading")
    SyncRun.objects.create(storage_element=element, trigger="manual", kind="full")
    assert elements.remove(element.pk, make.principal(), timezone.now(), force=True) == 2
    for row in (active, expired):
        row.refresh_from_db()
        assert (row.status, row.deletion_reason) == ("deleted", "element_removed")
        assert row.storage_element_id is None
    deleted.refresh_from_db()
    assert deleted.deletion_reason == "user"
    assert not FileRecord.objects.filter(pk=uploading.pk).exists()
    assert SyncRun.objects.get().storage_element_id is None
    assert AuditEvent.objects.get(action="element.remove").details["records"] == 2


def test_an_element_without_active_files_goes_without_force(db: None) -> None:
    element = make.element()
    make.record(element, status="deleted")
    elements.remove(element.pk, make.principal(), timezone.now(), force=False)
    with pytest.raises(ElementNotFound):
        elements.get(element.pk)


def test_elements_are_found_by_either_name(db: None) -> None:
    element = make.element("se-named")
    assert elements.find("se-named").pk == elements.find(str(element.pk)).pk == element.pk
    for unknown in ("se-other", str(uuid.uuid4())):
        with pytest.raises(ElementNotFound):
            elements.find(unknown)


# --- the node's own acts ---


def test_a_mode_change_is_the_nodes_and_the_row_follows(start_site: Any) -> None:
    site = start_site(SE_MODE="rw")
    person = make.principal()
    change = elements.change_mode(site.element.pk, ("ro", False), person, timezone.now())
    assert (change.previous_mode, change.current_mode) == ("rw", "ro")
    assert elements.get(site.element.pk).mode == "ro"
    with pytest.raises(NodeConfirmationRequired):
        elements.change_mode(site.element.pk, ("rw", False), person, timezone.now())
    with pytest.raises(NodeInvalidTransition):
        elements.change_mode(site.element.pk, ("edit", True), person, timezone.now())
    elements.change_mode(site.element.pk, ("rw", True), person, timezone.now())
    assert AuditEvent.objects.filter(action="element.mode").count() == 2


def test_reconcile_and_garbage_are_passed_on_and_audited(site: Any) -> None:
    stored = site.put()
    site.client().delete_file(stored.file_id)
    person = make.principal()
    planned = elements.collect_garbage(site.element.pk, person, timezone.now(), dry_run=True)
    assert planned["dry_run"] is True
    assert not AuditEvent.objects.filter(action="element.collect_garbage").exists()
    elements.collect_garbage(site.element.pk, person, timezone.now(), dry_run=False)
    assert AuditEvent.objects.filter(action="element.collect_garbage").exists()
    elements.start_reconcile(site.element.pk, person, timezone.now())
    assert AuditEvent.objects.filter(action="element.reconcile").exists()
    assert "findings" in elements.last_reconcile(site.element.pk)


def test_a_failed_act_counts_like_a_failed_probe(site: Any) -> None:
    # Not `stop`: the node is shared, and starts again on the port it has claimed.
    site.node.kill()
    with pytest.raises(NodeFailure):
        elements.change_mode(site.element.pk, ("ro", False), make.principal(), timezone.now())
    assert elements.get(site.element.pk).status == "offline"
