"""The processes that read an element's attributes for a rebuild, and the short way of reading one of them.

Both must tell what the long way in one process tells, and leave nothing behind however they end.
"""

import json
import os
import shutil
import signal
import socket
import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_node import reconcile
from storage_node.attributes import LARGEST, AttributesCorrupt, FileAttributes, UploadDraft, stamp
from storage_node.attributes_text import glance
from storage_node.disk import _LOOK_BYTES
from storage_node.errors import RefusedToStart
from storage_node.index_rebuild import NEW_FILE, WORTH_LEAVES, ToldToStop
from storage_node.index_schema import INDEX_FILE
from storage_node.leaf_readers import usable_cores
from storage_node.leaf_rows import harvest
from storage_node.tests.conftest import MakeNode, eventually
from storage_node.tests.node_process import NodeProcess
from storage_node.tests.small_element import SmallElement

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
)
METADATA = st.dictionaries(TEXTS, st.recursive(SCALARS | TEXTS, st.lists, max_leaves=4), max_size=4)
FILES = st.builds(
    lambda draft, size, days, description: replace(
        FileAttributes.of_upload(draft, size, "0" * 64, AT + timedelta(days=days)),
        description=description,
    ),
    st.builds(
        UploadDraft,
        file_id=st.uuids(),
        uploaded_by=TEXTS,
        original_filename=TEXTS,
        tags=st.lists(TEXTS, max_size=3).map(tuple),
        metadata=METADATA,
        retention_policy=st.sampled_from(("temporary", "permanent")),
    ),
    st.integers(0, LARGEST),
    st.integers(0, 5000),
    st.none() | TEXTS,
)


# The short way of reading


def agrees(raw: bytes) -> bool:
    """Whether the short way told anything; what it tells is what the long way tells."""
    seen = glance(raw)
    if seen is None:
        return False
    file = FileAttributes.from_json(raw)
    assert (seen.id_text, seen.stored_name) == (file.id_text, file.stored_name)
    assert (seen.status, seen.size, seen.revision) == (file.status, file.size, file.revision)
    assert seen.expires_at == (None if file.expires_at is None else stamp(file.expires_at))
    assert seen.updated_at == stamp(file.updated_at)
    assert seen.wire_json == file.wire_json
    return True


@given(FILES)
def test_a_glance_tells_what_decoding_and_encoding_would(file: FileAttributes) -> None:
    agrees(file.file_bytes)
    agrees(file.deleted(AT).file_bytes)


@given(FILES, st.data())
def test_of_a_text_that_was_changed_anywhere_a_glance_tells_the_same_or_nothing(
    file: FileAttributes, data: st.DataObject
) -> None:
    raw = file.file_bytes
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 4)))
    put = data.draw(
        st.sampled_from((b"", b'"', b"\\", b"{", b"}", b", ", b"0", b"9", b"\xff", b" "))
    )
    changed = raw[:start] + put + raw[end:]
    try:
        FileAttributes.from_json(changed)
    except (AttributesCorrupt, UnicodeDecodeError):
        assert glance(changed) is None
    else:
        agrees(changed)


def test_a_glance_is_enough_for_what_people_write() -> None:
    words = {
        "description": 'Two lines:\n\t"quoted" \\ slashed, «по-русски», 表 🙂',
        "tags": ("release", 'a "b"', "отчёт"),
        "metadata": {"job": 7, "ok": True, "deep": {"list": [1, 2.5, None]}, "}, ": '", "'},
    }
    draft = UploadDraft(uuid.uuid4(), "sa_pipeline", 'отчёт "2026".pdf', **words)  # type: ignore[arg-type]  # a mixed dict
    file = FileAttributes.of_upload(draft, 12, "ab" * 32, AT)
    assert agrees(file.file_bytes)
    assert agrees(file.deleted(AT).file_bytes)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"2026-03-01T12:00:00.000000Z"', b'"2026-02-30T12:00:00.000000Z"'),
        (b'"revision": 1,', b'"revision": 0,'),
        (b'"revision": 1,', b'"revision": 01,'),
        (b'"size": 12,', b'"size": -12,'),
        (b'"size": 12,', b'"size": 12.0,'),
        (b'"size": 12,', b'"size": 1000000000000000,'),
        (b'"status": "active"', b'"status": "damaged"'),
        (b'"metadata": {"a": 1}', b'"metadata": {"a": 1, "a": 1}'),
        (b'"metadata": {"a": 1}', b'"metadata": {"b": 1, "a": 1}'),
        (b'"metadata": {"a": 1}', b'"metadata": {"a": 1}, "metadata": {"a": 1}'),
        (b'"metadata": {"a": 1}', b'"metadata": {"a": 1}, "later": {}'),
        (b'"metadata": {"a": 1}', b'"metadata": {"a": NaN}'),
        (b'"metadata": {"a": 1}', b'"metadata": {"a": %b1%b}' % (b"[" * 5000, b"]" * 5000)),
        (b'"format": 1', b'"format": 2'),
        (b"}\n", b"}"),
        (b"}\n", b"}\n\n"),
    ],
)
def test_whatever_differs_from_what_this_program_writes_is_not_for_a_glance(
    before: bytes, after: bytes
) -> None:
    draft = UploadDraft(uuid.uuid4(), "tester", "a.txt", metadata={"a": 1})
    raw = FileAttributes.of_upload(draft, 12, "ab" * 32, AT).file_bytes
    assert agrees(raw)
    assert before in raw
    assert glance(raw.replace(before, after)) is None


# Readers beside the process


def spread(element: SmallElement) -> None:
    """Files of every kind, over enough directories for readers to be worth their while."""
    for number in range(40):
        element.put(os.urandom(number), description=str(number), metadata={"number": number})
    corrupt, wrong, lost, bare, copied = (element.put(b"harmed") for _ in range(5))
    element.delete(bare.file_id)
    element.paths_of(corrupt.file_id)[1].write_text("{")
    element.paths_of(wrong.file_id)[0].write_bytes(b"WRONG")
    reconcile.run(element.store, element.clock.now(), "test")
    element.paths_of(lost.file_id)[0].unlink()
    content, attributes = element.paths_of(copied.file_id)
    leaf = element.path / "files" / bare.file_id.hex[:2] / bare.file_id.hex[2:4]
    for path in (content, attributes):
        # Attributes in a directory that is not theirs.
        shutil.copy(path, leaf / path.name)
    (leaf / f".{bare.file_id}").write_bytes(b"half")
    element.close()
    make_wide(element.path)


def make_wide(data_dir: Path) -> None:
    """Directories enough for readers to be worth their while."""
    for number in range(WORTH_LEAVES):
        leaf = data_dir / f"files/{number >> 8:02x}/{number & 255:02x}"
        leaf.mkdir(parents=True, exist_ok=True)


def rows(element: SmallElement) -> tuple[list[Any], list[Any]]:
    """All the index holds but what is new with each rebuild."""
    with closing(sqlite3.connect(element.path / INDEX_FILE)) as connection:
        files = connection.execute("SELECT * FROM files ORDER BY seq").fetchall()
        totals = connection.execute("SELECT * FROM totals").fetchall()
        state = connection.execute("SELECT newest_at, held, position FROM state").fetchall()
    return files, totals + state


@pytest.fixture
def wide(element: SmallElement) -> SmallElement:
    """An element of many directories, not open."""
    spread(element)
    return element


def reopened(element: SmallElement, readers: int) -> tuple[list[Any], list[Any]]:
    element.settings["index_readers"] = readers
    element.open(rebuild=True)
    element.close()
    return rows(element)


def test_readers_make_the_index_that_one_process_makes(wide: SmallElement) -> None:
    alone = reopened(wide, 0)
    assert len(alone[0]) == 45
    assert {row[10] for row in alone[0]} >= {
        "corrupt_attributes",
        "size_mismatch",
        "missing_file",
    }
    for readers in (1, 2, 3):
        assert reopened(wide, readers) == alone


@pytest.mark.parametrize("words", [b'{"a": NaN}', b'{"a": 1e999}', b'{"a": "\\ud800"}'])
def test_words_that_nobody_can_be_answered_with_are_corrupt_attributes(
    element: SmallElement, words: bytes
) -> None:
    attributes = element.paths_of(element.put(b"x").file_id)[1]
    element.close()
    attributes.write_bytes(
        attributes.read_bytes().replace(b'"metadata": {}', b'"metadata": ' + words)
    )
    element.open(rebuild=True)
    assert element.counts() == {"damaged": 1}


def test_text_behind_what_a_glance_takes_in_is_damage(element: SmallElement) -> None:
    attributes = element.paths_of(element.put(b"x").file_id)[1]
    element.close()
    before, none = attributes.read_bytes(), b'"description": null'
    text = b"x" * (_LOOK_BYTES - len(before) + len("null") - len('""'))
    raw = before.replace(none, none.replace(b"null", b'"%b"' % text))
    assert len(raw) == _LOOK_BYTES
    assert agrees(raw)
    attributes.write_bytes(raw + b"garbage")
    element.open(rebuild=True)
    assert element.counts() == {"damaged": 1}


def children(pid: int | str = "self") -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(pid) for path in found for pid in path.read_text().split()]


def test_a_reader_that_is_lost_costs_time_and_no_row(
    wide: SmallElement, caplog: pytest.LogCaptureFixture
) -> None:
    alone = reopened(wide, 0)
    killed: list[int] = []

    def kill_once() -> bool:
        if not killed:
            killed.extend(children())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
        return False

    wide.settings["index_readers"] = 2
    wide.open(rebuild=True, is_stopping=kill_once)
    wide.close()
    assert len(killed) == 2
    assert "made by one process" in caplog.text
    assert rows(wide) == alone


def test_readers_that_can_not_be_started_are_done_without(
    wide: SmallElement, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = reopened(wide, 0)
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert reopened(wide, 2) == alone


def test_what_a_reader_can_not_read_refuses_the_start_as_ever(wide: SmallElement) -> None:
    (wide.path / f"files/00/07/a_{uuid.uuid4()}.txt.attr.json").mkdir()
    for readers in (0, 2):
        wide.settings["index_readers"] = readers
        with pytest.raises(RefusedToStart, match="Is a directory"):
            wide.open(rebuild=True)
        assert not (wide.path / INDEX_FILE).exists()
    assert children() == []


def test_a_rebuild_that_is_not_wanted_any_more_ends_and_the_next_start_makes_it(
    wide: SmallElement,
) -> None:
    alone = reopened(wide, 0)
    for readers in (0, 2):
        wide.settings["index_readers"] = readers
        with pytest.raises(ToldToStop):
            wide.open(rebuild=True, is_stopping=lambda: True)
        assert not (wide.path / INDEX_FILE).exists()
        assert children() == []
    wide.open()
    wide.close()
    assert rows(wide) == alone
    assert not (wide.path / NEW_FILE).exists()


# A real node amid a rebuild


@dataclass
class HeldUp:
    """A node whose rebuild does not get past one file, who reads beside it, and how to let it go on."""

    node: NodeProcess
    readers: list[int]
    fifo: Path
    end: int

    def let_go(self) -> None:
        os.close(self.end)
        self.fifo.unlink()


@pytest.fixture
def held_up(make_node: MakeNode) -> HeldUp:
    node = make_node()
    node.session().put_file(b"kept").raise_for_status()
    node.stop()
    make_wide(node.data_dir)
    (node.data_dir / INDEX_FILE).unlink()
    fifo = node.data_dir / f"files/01/07/a_{uuid.uuid4()}.txt.attr.json"
    os.mkfifo(fifo)
    node.wait_for_ready = False
    node.start()
    node.wait_for_ready = True
    end = eventually(lambda: writing_end(fifo))
    assert node.process is not None
    return HeldUp(node, children(node.process.pid), fifo, end)


def writing_end(fifo: Path) -> int:
    """Can be opened only once somebody reads; 0 until then."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return 0


def runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_readers_end_with_a_node_that_is_killed_and_are_in_no_later_one_s_way(
    held_up: HeldUp,
) -> None:
    node = held_up.node
    assert len(held_up.readers) == usable_cores()
    node.kill()
    eventually(lambda: not any(map(runs, held_up.readers)))
    held_up.let_go()
    node.start()
    assert node.session().get("/api/v1/files").json()["total"] == 1


def test_a_node_told_to_end_amid_a_rebuild_ends_well_and_leaves_no_index(held_up: HeldUp) -> None:
    node = held_up.node
    assert node.process is not None
    for pid in (node.process.pid, *held_up.readers):
        # As systemd tells all processes of a unit.
        os.kill(pid, signal.SIGTERM)
    eventually(lambda: is_closed(node.port))
    held_up.let_go()
    assert node.process.wait(20) == 0
    eventually(lambda: not any(map(runs, held_up.readers)))
    assert not (node.data_dir / INDEX_FILE).exists()
    node.start()
    assert node.session().get("/api/v1/files").json()["total"] == 1


def is_closed(port: int) -> bool:
    """Whether nobody listens there any more: the signal has come through."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_leaves_are_read_without_changing_anything(element: SmallElement) -> None:
    file = element.put(b"x")
    leaf = f"files/{file.file_id.hex[:2]}/{file.file_id.hex[2:4]}"
    (element.path / leaf / f".{file.file_id}").write_bytes(b"half")
    before = element.names_under("files")
    found, newest_at, unfinished = harvest(element.store.element.disk, [leaf])
    assert [json.loads(row[-1])["file_id"] for row in found] == [str(file.file_id)]
    assert (newest_at, unfinished) == (stamp(file.updated_at), [f"{leaf}/.{file.file_id}"])
    assert element.names_under("files") == before
