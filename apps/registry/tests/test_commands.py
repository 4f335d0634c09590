"""The operators' commands, against real nodes."""

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.registry import elements, tasks
from apps.registry.models import FileRecord, StorageElement, SyncRun
from apps.registry.tests import make


def run(*arguments: str, **options: Any) -> str:
    output = io.StringIO()
    call_command(*arguments, stdout=output, **options)
    return output.getvalue()


def test_register_element_with_its_ca_and_once(
    start_site: Callable[..., Any], tmp_path: Path
) -> None:
    site = start_site()
    site.put()
    StorageElement.objects.all().delete()
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(site.element.ca_pem)
    arguments = ("register_element", "Edit", site.element.url, "--ca-file", str(ca_file))
    assert "Registered se-test" in run(*arguments, "--wait")
    assert FileRecord.objects.filter(status="active").count() == 1
    assert "already" in run(*arguments, "--if-missing")
    with pytest.raises(CommandError, match="registered already"):
        run(*arguments)


@pytest.mark.django_db
def test_list_elements_as_text_and_json() -> None:
    make.element("se-one", name="One", mode="rw")
    assert "se-one" in run("list_elements")
    shown = json.loads(run("list_elements", "--json"))
    assert (shown["storage_id"], shown["mode"], shown["name"]) == ("se-one", "rw", "One")


def test_set_element_mode(start_site: Callable[..., Any]) -> None:
    start_site(SE_MODE="rw")
    assert "rw -> ro" in run("set_element_mode", "se-test", "ro")
    with pytest.raises(CommandError, match="Give --confirm"):
        run("set_element_mode", "se-test", "rw")
    assert "ro -> rw" in run("set_element_mode", "se-test", "rw", "--confirm")
    with pytest.raises(CommandError, match="no storage element"):
        run("set_element_mode", "se-unknown", "ro")


def test_sync_elements_says_what_it_did_and_fails_when_one_failed(site: Any) -> None:
    site.put()
    assert "1 added" in run("sync_elements", "se-test")
    assert "1 unchanged" in run("sync_elements", "--full")
    make.element("se-dead")
    output = io.StringIO()
    with pytest.raises(CommandError):
        call_command("sync_elements", stdout=output)
    assert "se-test: changes sync succeeded" in output.getvalue()
    assert "se-dead: full sync failed" in output.getvalue()


def test_a_command_prints_its_own_words_and_the_log_only_when_asked(
    site: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert len(run("sync_elements").splitlines()) == 1
    assert [record.message for record in caplog.records] == []
    run("sync_elements", verbosity=2)
    assert any(record.name == "apps.registry.sync" for record in caplog.records)


def test_sync_elements_may_write_off_many_missing_files(site: Any, settings: Any) -> None:
    settings.ARTSTORE_SYNC_MISSING_FILES = 0
    make.record(site.element)
    with pytest.raises(CommandError):
        run("sync_elements", "--full")
    assert "1 deleted" in run("sync_elements", "--allow-mass-delete")


def test_compare_element_prints_every_kind_of_difference_and_changes_nothing(site: Any) -> None:
    equal, edited, unknown, deleted, elsewhere = (site.put() for _ in range(5))
    site.sync()
    site.client().edit_file(edited.file_id, {"tags": ["new"]})
    FileRecord.objects.filter(pk=unknown.file_id).delete()
    FileRecord.objects.filter(pk=elsewhere.file_id).update(storage_element=make.element())
    site.client().delete_file(deleted.file_id)
    site.client().collect_garbage(dry_run=False)
    missing = make.record(site.element)
    waiting = site.put()
    row = make.record(site.element, file_id=waiting.file_id)
    FileRecord.objects.filter(pk=row.pk).update(status="uploading")
    before = list(FileRecord.objects.order_by("pk").values())
    runs = SyncRun.objects.count()
    output = io.StringIO()
    with pytest.raises(CommandError, match="differ"):
        call_command("compare_element", "se-test", stdout=output)
    text = output.getvalue()
    assert f"{edited.file_id}: differs in" in text
    assert f"{unknown.file_id}: not in the registry" in text
    assert f"{deleted.file_id}: deleted on the element" in text
    assert f"{elsewhere.file_id}: held by another element" in text
    assert f"{missing.pk}: missing on the element" in text
    assert f"{waiting.file_id}: still uploading" in text
    assert str(equal.file_id) not in text
    assert list(FileRecord.objects.order_by("pk").values()) == before
    assert SyncRun.objects.count() == runs


def test_compare_element_is_content_when_all_is_equal(site: Any) -> None:
    site.put()
    site.sync()
    assert "1 files, 1 equal, 0 differences" in run("compare_element", str(site.element.pk))


def test_rebuild_registry_fails_loudly_while_an_element_is_away(site: Any) -> None:
    site.put()
    site.node.kill()
    with pytest.raises(CommandError, match="when they are back"):
        run("rebuild_registry")
    site.node.start()
    assert "files/s" in run("rebuild_registry")
    assert FileRecord.objects.count() == 1
    assert elements.get(site.element.pk).last_full_sync_at is not None


def test_an_embedded_node_is_registered_once_and_not_again_after_an_operator_removed_it(
    start_site: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueued: list[str] = []
    monkeypatch.setattr(tasks.run_sync, "delay", enqueued.append)
    site = start_site()
    StorageElement.objects.all().delete()
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(site.element.ca_pem)
    node = ("--node", "se-test", "Edit", site.element.url)
    arguments = ("register_nodes", "--ca-file", str(ca_file), *node)
    assert "Registered se-test" in run(*arguments)
    assert run(*arguments) == ""
    elements.remove(site.element.pk, None, timezone.now(), force=True)
    assert "was removed by an operator" in run(*arguments)
    assert not StorageElement.objects.exists()
    run("register_element", "Edit", site.element.url, "--ca-file", str(ca_file))
    assert run(*arguments) == "", "it is back, at the address it had"
    assert len(enqueued) == 2, "each registration starts a full sync"
