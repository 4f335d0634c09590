"""What drills have in common: how often they go round, how long they last, and the one line of result each prints."""

import os
import time
from collections.abc import Iterator
from pathlib import Path


def say(line: str) -> None:
    """Prints a line of result, and keeps it in the file that DRILL_RESULTS names."""
    print(line)
    results = os.environ.get("DRILL_RESULTS")
    if results:
        with Path(results).open("a") as file:
            file.write(line + "\n")


def rounds(count: int) -> Iterator[int]:
    """Numbers of rounds. DRILL_ROUNDS asks for fewer of them, DRILL_SECONDS for an end after so long; the line of result
    says how many there were."""
    began, limit_seconds = time.monotonic(), seconds(float("inf"))
    for number in range(int(os.environ.get("DRILL_ROUNDS", count))):
        if time.monotonic() - began > limit_seconds:
            return
        yield number


def seconds(default: float) -> float:
    """How long a load lasts, unless DRILL_SECONDS says otherwise."""
    return float(os.environ.get("DRILL_SECONDS", default))


def percentile(taken: list[float], share: float) -> float:
    """The value that `share` of `taken` do not exceed."""
    ordered = sorted(taken)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
