"""What anybody sees who looks into the directory of a working node: whole files, whole attributes, and no third thing."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from storage_node import reconcile
from storage_node.medium import Medium
from storage_node.names import is_unfinished
from storage_node.tests.small_element import SmallElement
from storage_node.verify import verify

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "verify_directory.py"
SMALL, STREAMED = b"s" * 9000, b"l" * 70_000
BODIES = {hashlib.sha256(body).hexdigest() for body in (SMALL, STREAMED)}
FILE = UUID("aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa")


class HalvingMedium(Medium):
    """Stops in the middle of each write, and before each change of a name, for somebody to look."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.looks = 0

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> None:
        half = len(data) // 2
        super().write(fd, bytes(data[:half]))
        self._look()
        super().write(fd, bytes(data[half:]))

    def rename(self, source: str, target: str) -> None:
        self._look()
        super().rename(source, target)
        self._look()

    def _look(self) -> None:
        self.looks += 1
        for path in (self.data_dir / "files").rglob("*"):
            if path.is_file() and not is_unfinished(path.name):
                assert_whole(path)


def assert_whole(path: Path) -> None:
    if not path.name.endswith(".attr.json"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in BODIES
        return
    told = json.loads(path.read_bytes())
    content = path.with_name(told["stored_name"])
    assert hashlib.sha256(content.read_bytes()).hexdigest() == told["checksum"]


def test_rule_1_nobody_ever_sees_half_of_a_file_or_of_its_attributes(tmp_path: Path) -> None:
    with SmallElement(tmp_path / "se", open_medium=HalvingMedium).open() as element:
        file = element.put(SMALL, file_id=FILE)
        element.put(STREAMED, pieces=3)
        element.edit(file.file_id, description="д" * 900)
        element.delete(file.file_id)
        element.settle()
        for name in element.names_under("files"):
            if str(FILE) in name:
                (element.path / name).unlink()
        # Replay writes all of it again, while a person looks on.
        element.reopen()
        medium = element.store.element.disk.medium
        assert isinstance(medium, HalvingMedium)
        assert medium.looks > 6
        assert element.store.element.health.failure is None


@pytest.fixture
def leftover(tmp_path: Path) -> Path:
    """Where a kill leaves what was being written of FILE."""
    return tmp_path / "se" / "files" / "aa" / "aa" / f".{FILE}"


CHANGES: dict[str, Callable[[SmallElement], object]] = {
    "an upload": lambda _element: None,
    "an edit": lambda element: element.edit(FILE, description="d"),
    "a delete": lambda element: element.delete(FILE),
}


@pytest.mark.parametrize("change", CHANGES)
def test_rule_4_what_was_being_written_is_gone_after_a_replay(
    tmp_path: Path, leftover: Path, change: str
) -> None:
    with SmallElement(tmp_path / "se").open() as element:
        element.put(SMALL, file_id=FILE)
        if change != "an upload":
            element.store.checkpoint()
        CHANGES[change](element)
        element.settle()
        leftover.write_bytes(SMALL[:100])
        element.reopen()
        assert not leftover.exists()
        assert verify(element.path, lambda _line: None) == 0


def test_what_is_being_written_is_no_finding_and_a_restored_copy_is_rid_of_it(
    tmp_path: Path, leftover: Path
) -> None:
    with SmallElement(tmp_path / "se").open() as element:
        element.put(SMALL, file_id=FILE)
        element.store.checkpoint()
        leftover.write_bytes(SMALL[:100])
        report = reconcile.run(element.store, element.clock.now(), "test")
        assert report["items"] == []
        assert verify(element.path, lambda _line: None) == 0
        script = [sys.executable, str(SCRIPT), str(element.path)]
        done = subprocess.run(script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "0 findings\n")
        assert leftover.exists()
        element.close()
        element.open(rebuild=True)
        assert not leftover.exists()
        assert element.body(FILE) == SMALL
