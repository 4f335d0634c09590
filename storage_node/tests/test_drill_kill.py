"""Drill: kill -9 of a real node at random moments under sixteen callers that upload, edit and delete."""

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from storage_node.tests.conftest import MakeNode
from storage_node.tests.drill_load import Load
from storage_node.tests.drill_report import rounds, say
from storage_node.tests.node_process import NodeProcess

# A small log: checkpoints fall into every round, so kills meet them too.
SETTINGS = {"SE_LOG_SIZE": "4MiB", "SE_LOG_LEVEL": "warning", "SE_TOMBSTONE_KEEP": "1s"}


@dataclass
class Kills:
    """What the rounds came to."""

    rounds: int = 0
    acknowledged: int = 0
    seconds: float = 0.0


def kill_rounds(node: NodeProcess, numbers: Iterable[int]) -> Kills:
    """After each kill everything acknowledged is there, whole, and nothing else."""
    load, done = Load(node, seed=random.randrange(10**6)), Kills()
    began = time.monotonic()
    for number in numbers:
        acknowledged = load.acknowledged
        load.start(housekeeping=number % 2 == 1)
        load.wait_for(acknowledged + 16)
        time.sleep(random.uniform(0, 0.5))
        node.kill()
        load.join()
        node.start()
        faults = load.check()
        assert faults.all == [], f"round {number}, seed {load.seed}"
        done.rounds, done.acknowledged = done.rounds + 1, load.acknowledged
    done.seconds = time.monotonic() - began
    return done


def test_kill_9_under_uploads_edits_and_deletions_loses_nothing_and_leaves_nothing(
    make_node: MakeNode,
) -> None:
    """The quick form: two rounds, one of them with garbage collection and reconcile under way."""
    assert kill_rounds(make_node(**SETTINGS), range(2)).acknowledged >= 32


@pytest.mark.drill
def test_two_hundred_kills_lose_nothing_and_leave_nothing(make_node: MakeNode) -> None:
    done = kill_rounds(make_node(**SETTINGS), rounds(200))
    say(
        f"kill -9: {done.rounds} rounds, {done.acknowledged} acknowledged changes, 0 lost, 0 torn, 0 leftovers "
        f"({done.seconds / done.rounds:.1f} s a round)"
    )
