"""Drill: the power goes while a real node works on a real filesystem, in the middle of a load or right after an answer."""

import random
import signal
import time
from collections.abc import Iterable, Iterator

import pytest

from storage_node.tests.conftest import MakeNode
from storage_node.tests.drill_load import Load
from storage_node.tests.drill_report import rounds, say
from storage_node.tests.loop_image import LoopImage, NoLoopMounts
from storage_node.tests.node_process import NodeProcess

SETTINGS = {"SE_LOG_SIZE": "4MiB", "SE_LOG_LEVEL": "warning", "SE_TOMBSTONE_KEEP": "1s"}
SETTINGS |= {"PYTHONFAULTHANDLER": "1"}
ACKNOWLEDGED_A_ROUND = 150


@pytest.fixture
def powered(make_node: MakeNode) -> Iterator[tuple[NodeProcess, LoopImage]]:
    """A node, not yet started, whose data directory lies on an image of its own."""
    node = make_node(start=False, **SETTINGS)
    try:
        image = LoopImage(node.data_dir, 128 * 2**20)
    except NoLoopMounts as why:
        pytest.skip(f"power cuts need a loop-mounted ext4 image: {why}")
    yield node, image
    node.__exit__()
    image.close()


def start_again(node: NodeProcess) -> None:
    """As `start`; a node that hangs instead leaves the stacks of its threads in its log."""
    try:
        node.start()
    except RuntimeError as error:
        if node.process is not None and node.process.poll() is None:
            node.process.send_signal(signal.SIGABRT)
            node.process.wait()
        raise RuntimeError(node.log()[-6000:]) from error


def power_cuts(node: NodeProcess, image: LoopImage, numbers: Iterable[int]) -> tuple[int, int]:
    """(rounds, acknowledged changes): after each cut, mount and start everything acknowledged is there and whole."""
    node.start()
    load, done = Load(node, seed=random.randrange(10**6)), 0
    for number in numbers:
        acknowledged = load.acknowledged
        load.start(housekeeping=number % 4 == 3)
        load.wait_for(acknowledged + ACKNOWLEDGED_A_ROUND)
        if number % 2:
            time.sleep(random.uniform(0, 0.3))
            image.cut_power()
        else:
            # Nothing is under way any more: the last thing that happened is an acknowledgement.
            load.stop()
            image.cut_power()
        node.kill()
        load.join()
        image.power_on()
        start_again(node)
        faults = load.check()
        assert faults.all == [], f"round {number}, seed {load.seed}"
        done += 1
    return done, load.acknowledged


def test_a_power_cut_in_a_load_or_right_after_an_answer_takes_nothing_acknowledged(
    powered: tuple[NodeProcess, LoopImage],
) -> None:
    """The quick form: one cut right after the last answer, one under load."""
    done, acknowledged = power_cuts(*powered, range(2))
    assert acknowledged >= done * ACKNOWLEDGED_A_ROUND


@pytest.mark.drill
def test_in_150_power_cuts_every_acknowledged_change_is_there_every_time(
    powered: tuple[NodeProcess, LoopImage],
) -> None:
    done, acknowledged = power_cuts(*powered, rounds(150))
    say(
        f"power cut: {done} of {done} rounds with every acknowledged change present, at least "
        f"{ACKNOWLEDGED_A_ROUND} a round, {acknowledged} in all"
    )
