"""An element is restored from a backup copy: the registry follows only when told to, and deletes nothing in bulk unasked."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from apps.registry import elements, probing
from apps.registry.models import FileRecord
from apps.registry.tests import make
from apps.registry.tests.site import Site

COPIED = ("files", "quarantine", "node.json", "mode.json")


def back_up(site: Site, into: Path) -> None:
    """As `storage-node.md` says: the running node's files and identity, never log or index."""
    into.mkdir()
    for name in COPIED:
        source = site.node.data_dir / name
        if source.is_dir():
            shutil.copytree(source, into / name)
        else:
            shutil.copy2(source, into / name)


def restore(site: Site, copy: Path) -> str:
    """Put the copy in the directory's place and have the node accept it; its new instance_id."""
    site.node.kill()
    shutil.rmtree(site.node.data_dir)
    shutil.copytree(copy, site.node.data_dir)
    done = site.node.run("accept-restored")
    assert done.returncode == 0, done.stderr
    site.node.start()
    found = probing.probe(site.element, timezone.now())
    assert found.status == "offline", "another life of the element waits for a person's word"
    return found.offered_instance_id


def accept(site: Site, instance_id: str) -> None:
    change = elements.ElementEdit(accept_instance_id=instance_id)
    elements.edit(site.element.pk, change, make.principal(), timezone.now())


def statuses() -> dict[str, int]:
    found: dict[str, int] = {}
    for status in FileRecord.objects.values_list("status", flat=True):
        found[status] = found.get(status, 0) + 1
    return found


@pytest.mark.parametrize(
    ("lost", "asks"), [pytest.param(2, False, marks=pytest.mark.drill), (5, True)]
)
def test_a_restored_copy_is_followed_without_a_mass_deletion_unasked(
    start_site: Any, tmp_path: Path, settings: Any, lost: int, asks: bool
) -> None:
    settings.ARTSTORE_SYNC_MISSING_FILES = 3
    site = start_site("se-restored", SE_MODE="edit")
    kept = [site.put(f"kept {number}".encode()) for number in range(10)]
    site.node.restart()  # small bodies are in the log until a checkpoint
    back_up(site, tmp_path / "copy")
    site.client().edit_file(kept[0].file_id, {"tags": ["after the copy"]})
    for number in range(lost):
        site.put(f"after the copy {number}".encode())
    site.synced()
    before = statuses()
    offered = restore(site, tmp_path / "copy")
    refused = site.sync(full=True)
    assert refused.status == "failed"
    assert statuses() == before, "nothing happens before the new instance is accepted"
    accept(site, offered)
    run = site.sync()
    assert (run.kind, run.new_epoch) == ("full", True)
    if asks:
        assert (run.status, run.files_missing) == ("needs_confirmation", lost)
        assert statuses() == before
        run = site.sync(full=True, allow_mass_delete=True)
    assert (run.status, run.files_marked_deleted) == ("succeeded", lost)
    assert statuses() == {"active": len(kept), "deleted": lost}
    assert site.record(kept[0].file_id).tags == [], "the element is the truth, also about the past"
    assert site.differences() == []
