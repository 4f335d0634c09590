"""Taking hold of a directory: what is refused and with which hint, initialising, restoring, verifying, format 1."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from storage_node import directory, medium, reconcile
from storage_node.directory import Identity
from storage_node.errors import RefusedToStart
from storage_node.medium import Medium
from storage_node.records import Kind
from storage_node.tests.faulty_medium import FaultyMedium
from storage_node.tests.small_element import START, SmallElement, sha256
from storage_node.verify import verify
from storage_node.wal_scan import replayed, scan

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).parent / "data"


def claim(element: SmallElement, **changes: object) -> None:
    directory.claim(replace(element.options(), **changes), START).close()  # type: ignore[arg-type]


def test_a_second_writing_process_is_refused(element: SmallElement) -> None:
    with pytest.raises(RefusedToStart, match="in use"):
        claim(element)


def test_an_empty_directory_is_initialised_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.mkdir()
    element = SmallElement(path)
    with pytest.raises(RefusedToStart, match="SE_INIT=1"):
        claim(element, init=False)
    assert list(path.iterdir()) == []
    claim(element)
    claim(element, init=False)


def test_a_directory_with_something_in_it_and_no_node_json_is_never_initialised(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mounted-wrong"
    path.mkdir()
    (path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(RefusedToStart, match="right disk"):
        claim(SmallElement(path))
    assert [entry.name for entry in path.iterdir()] == ["holiday.jpg"]


def test_a_lost_mount_does_not_look_like_a_new_element(element: SmallElement) -> None:
    element.put(b"x")
    element.close()
    (element.path / "node.json").unlink()
    with pytest.raises(RefusedToStart, match=r"node\.json"):
        claim(element)


def test_a_missing_directory_is_refused_unless_it_is_to_be_made(tmp_path: Path) -> None:
    element = SmallElement(tmp_path / "a" / "b")
    with pytest.raises(RefusedToStart, match="mounted"):
        claim(element, init=False)
    claim(element)


def test_another_elements_directory_is_refused(element: SmallElement) -> None:
    element.close()
    with pytest.raises(RefusedToStart, match="belongs to element"):
        claim(element, storage_id="se-other")


@pytest.mark.parametrize("text", ["", "{", '{"format": 1}', "[]"])
@pytest.mark.parametrize("name", ["node.json", "mode.json"])
def test_unreadable_identity_or_mode_is_refused(
    element: SmallElement, name: str, text: str
) -> None:
    element.close()
    (element.path / name).write_text(text)
    with pytest.raises(RefusedToStart, match="can not be read"):
        claim(element)


def test_a_later_format_is_refused(element: SmallElement) -> None:
    element.close()
    told = json.loads((element.path / "node.json").read_text())
    (element.path / "node.json").write_text(json.dumps(told | {"format": 2}))
    with pytest.raises(RefusedToStart, match="newer program"):
        claim(element)


@pytest.mark.parametrize("gone", ["wal", "files", "mode.json"])
def test_a_directory_that_lost_something_is_refused(element: SmallElement, gone: str) -> None:
    element.put(b"x")
    element.close()
    path = element.path / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(RefusedToStart):
        claim(element)


def test_files_without_log_are_refused_with_the_hint_accept_restored(element: SmallElement) -> None:
    element.put(b"x")
    element.close()
    shutil.rmtree(element.path / "wal")
    with pytest.raises(RefusedToStart, match="accept-restored"):
        element.open()


def test_a_restored_copy_is_accepted_with_a_new_life_and_all_its_files(
    element: SmallElement, tmp_path: Path
) -> None:
    files = [element.put(b"x" * size) for size in (0, 10, 100_000)]
    element.delete(element.put(b"d").file_id)
    instance, epoch = element.store.directory.instance_id, element.store.epoch
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("node.json", "mode.json", "files", "quarantine"):
        source = element.path / name
        shutil.copytree(source, copy / name) if source.is_dir() else shutil.copy(
            source, copy / name
        )
    restored = SmallElement(copy)
    assert directory.accept_restored(restored.options(), START) != instance
    restored.open()
    assert restored.store.directory.instance_id != instance
    assert restored.store.epoch != epoch
    assert restored.counts() == {"active": 3, "deleted": 1}
    for file in files:
        assert len(restored.body(file.file_id)) == file.size
    assert reconcile.run(restored.store, START, "test")["items"] == []
    restored.crash()
    restored.open()
    restored.crash()


def test_accept_restored_gives_a_damaged_log_up_and_keeps_the_files(element: SmallElement) -> None:
    file = element.put(b"kept")
    element.close()
    for segment in (element.path / "wal").glob("*.seg"):
        segment.write_bytes(b"\xff" * 8192)
    with pytest.raises(RefusedToStart):
        element.open()
    directory.accept_restored(element.options(), START)
    element.open()
    assert element.body(file.file_id) == b"kept"


def test_accept_restored_refuses_what_is_no_copy_of_a_node(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(RefusedToStart, match=r"no node\.json"):
        directory.accept_restored(SmallElement(tmp_path / "x").options(), START)


def test_an_initialisation_cut_short_can_be_repeated(tmp_path: Path) -> None:
    element = SmallElement(tmp_path / "se", open_medium=FaultyMedium)

    class Cut(FaultyMedium):
        def rename(self, source: str, target: str) -> None:
            if target == "node.json":
                raise OSError(5, "cut")
            super().rename(source, target)

    with pytest.raises(RefusedToStart):
        claim(element, open_medium=Cut)
    assert not (tmp_path / "se" / "node.json").exists()
    element.open().put(b"x")
    element.crash()


def test_network_filesystems_are_refused_unless_forced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(medium, "filesystem_type", lambda _path: "nfs4")
    element = SmallElement(tmp_path / "se")
    with pytest.raises(RefusedToStart, match="network filesystem"):
        claim(element)
    claim(element, allow_network_fs=True)


def test_this_machines_filesystem_has_a_name(tmp_path: Path) -> None:
    assert medium.filesystem_type(tmp_path) != ""


def test_a_copy_of_the_keys_is_kept_byte_for_byte(element: SmallElement) -> None:
    assert element.store.directory.read_keys_copy() is None
    element.store.directory.save_keys_copy(b'{"keys": [1]}')
    element.store.directory.save_keys_copy(b'{"keys": [2]}')
    element.reopen()
    assert element.store.directory.read_keys_copy() == b'{"keys": [2]}'


# verify


def script(path: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "verify_directory.py"), str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_verify_and_the_standalone_script_agree_about_a_directory_in_order(
    element: SmallElement,
) -> None:
    element.put(b"x")
    element.put(b"", original_filename="ж" * 255)
    element.delete(element.put(b"d").file_id)
    element.close()
    before = {name: (element.path / name).stat().st_mtime_ns for name in element.names_under(".")}
    said: list[str] = []
    assert verify(element.path, said.append) == 0
    assert "nothing to replay" in said[0]
    assert script(element.path) == (0, "0 findings\n")
    assert {
        name: (element.path / name).stat().st_mtime_ns for name in element.names_under(".")
    } == before


def test_verify_and_the_standalone_script_find_every_kind_of_fault(element: SmallElement) -> None:
    missing, cut, wrong, corrupt = (element.put(b"bytes") for _ in range(4))
    element.paths_of(missing.file_id)[0].unlink()
    element.paths_of(cut.file_id)[0].write_bytes(b"by")
    element.paths_of(wrong.file_id)[0].write_bytes(b"BYTES")
    element.paths_of(corrupt.file_id)[1].write_text("{")
    (element.paths_of(cut.file_id)[0].parent / "stray").write_bytes(b"?")
    element.close()
    said: list[str] = []
    assert verify(element.path, said.append) == 5
    code, printed = script(element.path)
    assert code == 1
    for name in (
        "missing_file",
        "size_mismatch",
        "checksum_mismatch",
        "corrupt_attributes",
        "orphaned_file",
    ):
        assert any(line.startswith(name) for line in said)
        assert sum(line.startswith(name) for line in printed.splitlines()) == 1


def test_verify_says_first_that_the_log_was_not_replayed(element: SmallElement) -> None:
    element.put(b"x")
    said: list[str] = []
    verify(element.path, said.append)
    assert said[0].startswith("log not replayed: 1 ")


def test_verify_refuses_what_can_not_be_opened(tmp_path: Path) -> None:
    with pytest.raises(RefusedToStart):
        verify(tmp_path / "nothing", print)


# Format 1, a contract over time


@pytest.mark.parametrize("name", ["format-1", "format-1-all"])
def test_a_directory_of_format_1_opens(tmp_path: Path, name: str) -> None:
    """As git gives it: no empty directories, no index; some changes are only in its log. `format-1-all` has files of every status,
    unknown keys, a quarantine, and unreplayed records with a body inside, a part, an edit, a purge and a closed id."""
    made, path = DATA / name, tmp_path / name
    shutil.copytree(made, path)
    said: list[str] = []
    verify(path, said.append)
    assert said[0].startswith("log not replayed: ")
    element = SmallElement(path, settings={"storage_id": f"se-{name}", "init": False}).open()
    expected = json.loads((DATA / f"{name}.json").read_text())
    told = sorted(
        (json.loads(item) for item in element.items(limit=1000)),
        key=lambda item: str(item["file_id"]),
    )
    assert told == expected["files"]
    assert element.store.info(START).mode == expected["mode"]
    for item in told:
        if item["status"] == "active":
            assert sha256(element.body(UUID(item["file_id"]))) == item["checksum"]
    assert element.names_under("incoming") == []
    assert reconcile.run(element.store, START, "test")["findings"] == expected["findings"]
    element.crash()
    # The standalone script checks the same bytes, and finds what the node finds.
    script = subprocess.run(
        [sys.executable, ROOT / "docs" / "verify_directory.py", path],
        capture_output=True,
        text=True,
        check=False,
    )
    found = {finding: script.stdout.count(f"{finding} ") for finding in expected["findings"]}
    assert found == expected["findings"], script.stdout
    assert script.returncode == int(any(expected["findings"].values()))


def test_a_directory_of_format_1_holds_what_it_is_there_to_show(tmp_path: Path) -> None:
    path = tmp_path / "format-1-all"
    shutil.copytree(DATA / "format-1-all", path)
    before = tree(path)
    log_id = Identity.from_json((path / "node.json").read_bytes()).log_id
    medium = Medium(path)
    found = scan(medium, log_id)
    kinds = {record.kind for _, record in replayed(medium, found, found.checkpoint_lsn + 1)}
    assert kinds == {Kind.PUT, Kind.SET, Kind.PURGE, Kind.TOMBSTONE}
    assert tree(path) == before
    medium.close()
    element = SmallElement(path, settings={"storage_id": "se-format-1-all", "init": False}).open()
    assert element.counts() == {"active": 4, "expired": 1, "deleted": 1, "damaged": 2}
    notes = [json.loads(note.read_text()) for note in (path / "quarantine").rglob("note.json")]
    assert {note["finding"] for note in notes} == {"orphaned_file", "corrupt_attributes"}
    [kept] = [
        json.loads(attributes.read_text())
        for attributes in (path / "files").rglob("future_*.attr.json")
    ]
    # Written by replay, with the edit that was only in the log; keys of a later version are still there.
    assert kept["description"] == "edited, the unknown keys stay"
    assert (kept["legal_hold"]["by"], kept["zz_later"]) == ("court", 7)
    element.crash()


def tree(path: Path) -> dict[str, bytes]:
    return {
        str(found.relative_to(path)): found.read_bytes()
        for found in path.rglob("*")
        if found.is_file()
    }
