"""Files of small uploads written by a process of their own: readers, checkpoints, later changes and its sudden end."""

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from uuid import UUID

import pytest

from storage_node.changes import Committed
from storage_node.placing import wait_for_leftover
from storage_node.tests.conftest import eventually
from storage_node.tests.small_element import SmallElement


@pytest.fixture
def element(tmp_path: Path) -> Iterator[SmallElement]:
    """An element whose small files are placed apart."""
    with SmallElement(tmp_path / "data").open() as made:
        made.store.place_apart()
        yield made


def placing_process(element: SmallElement) -> int:
    apart = element.store.committer._apart
    assert apart is not None
    return apart._process.pid


def upload(element: SmallElement, body: bytes) -> "Future[Committed]":
    """A small upload, answered or not; nobody waits for its files."""
    begun = element.store.begin_upload(element.draft(declared_bytes=len(body)), element.clock.now())
    begun.write(body)
    return begun.commit(element.clock.now())


def id_of(answer: "Future[Committed]") -> UUID:
    return answer.result().attributes.file_id


def test_a_later_change_finds_the_files_of_every_upload_before_it_in_their_places(
    element: SmallElement,
) -> None:
    answers = [upload(element, b"%d" % number) for number in range(300)]
    element.settle()
    for number, answer in enumerate(answers):
        content, attributes = element.paths_of(id_of(answer))
        assert content.read_bytes() == b"%d" % number
        assert attributes.read_bytes() == answer.result().attributes.file_bytes
    assert not element.store.committer.bodies


def test_until_its_files_are_written_a_reader_gets_a_file_from_memory_and_no_checkpoint_passes_it(
    element: SmallElement,
) -> None:
    before = element.store.element.log.last_lsn
    os.kill(placing_process(element), signal.SIGSTOP)
    try:
        answer = upload(element, b"on its way")
        content, _ = element.paths_of(id_of(answer))
        assert not content.exists()
        assert element.body(id_of(answer)) == b"on its way"
        element.store.checkpoint()
        assert element.store.element.log.checkpoint_lsn <= before
    finally:
        os.kill(placing_process(element), signal.SIGCONT)
    element.settle()
    assert content.read_bytes() == b"on its way"
    element.store.checkpoint()
    assert element.store.element.log.checkpoint_lsn > before


def test_the_node_itself_writes_what_a_killed_process_was_given_and_all_that_comes_after(
    element: SmallElement,
) -> None:
    os.kill(placing_process(element), signal.SIGSTOP)
    answers = [upload(element, b"given")]
    id_of(answers[0])
    os.kill(placing_process(element), signal.SIGKILL)
    eventually(lambda: not element.store.committer.bodies)
    answers += [upload(element, b"later") for _ in range(20)]
    element.settle()
    bodies = [element.paths_of(id_of(answer))[0].read_bytes() for answer in answers]
    assert bodies == [b"given"] + [b"later"] * 20
    assert element.store.element.health.failure is None


def test_a_file_that_the_process_can_not_write_is_written_by_the_node(
    element: SmallElement,
) -> None:
    os.kill(placing_process(element), signal.SIGSTOP)
    answer = upload(element, b"twice")
    content, attributes = element.paths_of(id_of(answer))
    # The process writes the content, fails at a directory in place of the attributes, and says so; the node then
    # fails too: what is durable and can not be applied degrades the element and stays readable.
    attributes.mkdir()
    os.kill(placing_process(element), signal.SIGCONT)
    eventually(lambda: element.store.element.health.failure)
    assert element.body(id_of(answer)) == b"twice"
    attributes.rmdir()
    element.crash()
    element.open()
    assert content.read_bytes() == b"twice"
    assert attributes.read_bytes() == answer.result().attributes.file_bytes


def test_stopping_leaves_no_process_and_no_file_behind(element: SmallElement) -> None:
    process_id = placing_process(element)
    answers = [upload(element, b"last") for _ in range(50)]
    ids = [id_of(answer) for answer in answers]
    element.close()
    assert not Path(f"/proc/{process_id}").exists()
    element.open()
    assert all(element.paths_of(file_id)[0].read_bytes() == b"last" for file_id in ids)


def test_a_new_node_waits_for_the_process_of_one_that_was_killed(tmp_path: Path) -> None:
    order: list[str] = []
    with SmallElement(tmp_path / "data").open() as element:
        medium = element.store.directory.disk.medium
        leftover = medium.open_directory("wal")
        fcntl.flock(leftover, fcntl.LOCK_EX)

        def start() -> None:
            wait_for_leftover(medium)
            order.append("goes on")

        starting = threading.Thread(target=start)
        starting.start()
        order.append("lets go")
        os.close(leftover)
        starting.join()
    assert order == ["lets go", "goes on"]
