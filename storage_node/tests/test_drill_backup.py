"""Drill: a node's directory is copied while it works, restored elsewhere, and every file of the copy is whole."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from storage_node.tests.conftest import MakeNode
from storage_node.tests.drill_load import Load, Wire, listing
from storage_node.tests.drill_report import rounds, say
from storage_node.tests.node_process import REPOSITORY, NodeProcess

SETTINGS = {"SE_LOG_SIZE": "4MiB", "SE_LOG_LEVEL": "warning", "SE_TOMBSTONE_KEEP": "1s"}
Takes = Callable[[Path, Path], bool]
COPIED = ("node.json", "mode.json", "files", "quarantine")


def copy(source: Path, target: Path, takes: Takes) -> None:
    """One pass of docs/operations.md, what `rsync -a` does: names that vanish or change meanwhile are no error."""
    for path in sorted(source.rglob("*")):
        inner = path.relative_to(source)
        there = target / inner
        if inner.parts[0] not in COPIED or not takes(path, there):
            continue
        try:
            if path.is_dir():
                there.mkdir(parents=True, exist_ok=True)
            elif not there.exists() or _looks(there) != _looks(path):
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, there)
        except FileNotFoundError:
            continue


def _looks(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


PASSES: tuple[Takes, ...] = (
    lambda path, _there: not path.name.endswith(".attr.json"),
    lambda _path, _there: True,
)


def back_up_and_restore(make_node: MakeNode) -> tuple[int, int]:
    """(files acknowledged before the copy began and still there, files of the copy), checked one by one."""
    node = make_node(**SETTINGS)
    load = Load(node)
    load.start(housekeeping=True)
    load.wait_for(200)
    before = set(load.present())
    restored = make_node(start=False, storage_id=node.storage_id, **SETTINGS)
    restored.data_dir.mkdir(parents=True)
    for takes in PASSES:
        copy(node.data_dir, restored.data_dir, takes)
    load.wait_for(load.acknowledged + 50)
    load.stop()
    untouched = before & set(load.present())
    return len(untouched), assert_whole(restored, node, load, untouched)


def assert_whole(restored: NodeProcess, node: NodeProcess, load: Load, untouched: set[str]) -> int:
    """The copy is accepted, verified by both verifiers, served, and holds what was there all the time."""
    refused = restored.run("serve")
    assert refused.returncode != 0
    assert "accept-restored" in refused.stderr
    assert restored.run("accept-restored").returncode == 0
    script = [sys.executable, str(REPOSITORY / "docs" / "verify_directory.py")]
    verified = subprocess.run(
        [*script, str(restored.data_dir)], capture_output=True, text=True, check=False
    )
    # Bytes freed between the passes have no attributes in the copy; nothing else may be found.
    found = verified.stdout.splitlines()[:-1] if verified.returncode else []
    assert all(line.startswith("orphaned_file ") for line in found), verified.stdout
    again = restored.run("verify", str(restored.data_dir))
    assert again.stdout.count("orphaned_file") == len(found)
    restored.start()
    wire, original = (Wire(one, one.token(), load.context) for one in (restored, node))
    infos = [one.ask("GET", "/api/v1/info") for one in (wire, original)]
    assert infos[0]["storage_id"] == infos[1]["storage_id"]
    assert infos[0]["instance_id"] != infos[1]["instance_id"]
    told = {item["file_id"]: item for item in listing(wire)}
    sent = {file_id: known for files in load.files for file_id, known in files.items()}
    for file_id, item in told.items():
        # What was deleted, or was there already gone when the copy came by, is allowed; other bytes never are.
        assert (item["checksum"], item["size"]) == (sent[file_id].checksum, sent[file_id].size)
        if item["status"] == "active":
            assert wire.call("GET", f"/api/v1/files/{file_id}/download")[0] == 200
    assert untouched <= told.keys()
    report = wire.ask("POST", "/api/v1/maintenance/reconcile?wait=true")
    # Put aside, never shown as files.
    assert report["findings"] == dict.fromkeys(report["findings"], 0) | {
        "orphaned_file": len(found)
    }
    wire.close()
    original.close()
    return len(told)


def test_a_copy_made_under_load_is_accepted_and_every_file_in_it_is_whole(
    make_node: MakeNode,
) -> None:
    untouched, copied = back_up_and_restore(make_node)
    assert 0 < untouched <= copied


@pytest.mark.drill
def test_copies_made_under_load_are_whole_every_time(make_node: MakeNode) -> None:
    count = files = 0
    for _ in rounds(10):
        count += 1
        files += back_up_and_restore(make_node)[1]
    say(
        f"backup: {count} copies under load, accepted and verified: {files} of {files} files whole, none of those "
        f"there all the time missing"
    )
