"""What drills have in common: how often they go round, how long they last, and the one line of result each prints."""

import os
from pathlib import Path


def say(line: str) -> None:
    """Prints a line of result, and keeps it in the file that DRILL_RESULTS names."""
    print(line)
    results = os.environ.get("DRILL_RESULTS")
    if results:
        with Path(results).open("a") as file:
            file.write(line + "\n")


def rounds(default: int) -> int:
    """How many rounds: DRILL_ROUNDS shortens a drill for a first look."""
    return int(os.environ.get("DRILL_ROUNDS", default))


def seconds(default: float) -> float:
    """How long a load lasts: DRILL_SECONDS shortens it for a first look."""
    return float(os.environ.get("DRILL_SECONDS", default))


def percentile(taken: list[float], share: float) -> float:
    """The value that `share` of `taken` do not exceed."""
    ordered = sorted(taken)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
