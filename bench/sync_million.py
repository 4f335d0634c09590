"""Syncs of one element with a million files: into an empty registry, into an equal one, and of a thousand changes.

`python -m bench.sync_million [--files 1000000] [--rounds 3] [--keep FOLDER]`. A round at a million files takes about five minutes on two
quiet cores and one at 100 000 half a minute; `--files 10000 100000 1000000` shows how cost grows. Its own PostgreSQL
with every index of the product and fsync on, its own node over TLS; the syncs are the worker's own verbs. The changes
sync meets a vacuumed table, as every later one does. Prints Markdown.
"""

import argparse
import importlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import django

from bench import sync_ground

ROUNDS = 3
HEAD = "| work | reference | ratio | bar | spread | note |\n|---|---|---|---|---|---|\n"


@dataclass
class Rounds:
    """What each round took, in seconds, and what it cost."""

    files: int
    reference: list[float] = field(default_factory=list)
    empty: list[Any] = field(default_factory=list)
    equal: list[Any] = field(default_factory=list)
    changes: list[Any] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)
    differences: int = 0


def measure(files: int, rounds: int, folder: Path, element_folder: Path) -> Rounds:
    """All rounds at one size."""
    with sync_ground.postgres_server(folder) as postgres_pid:
        django.setup()
        work = importlib.import_module("bench.sync_rounds")
        jwks = work.prepared()
        with sync_ground.node_with_files(element_folder, jwks, files) as node:
            element = work.register(node)
            found = Rounds(files)
            for number in range(rounds):
                _round(work, element, postgres_pid, found)
                sys.stderr.write(
                    f"round {number + 1} of {rounds} at {files} files: {_last(found)}\n"
                )
            found.differences = work.differences(element)
            return found


def _round(work: Any, element: Any, postgres_pid: int, found: Rounds) -> None:
    work.empty_records()
    found.reference.append(work.reference(element))
    with work.Stopwatch(postgres_pid) as watch:
        work.synced(element, full=True)
    found.empty.append(watch.spent)
    before = work.record_writes()
    with work.Stopwatch(postgres_pid) as watch:
        work.synced(element, full=True)
    found.equal.append(watch.spent)
    found.writes.append(sum(work.record_writes()) - sum(before))
    work.change_files(element, work.CHANGES)
    work.vacuum()
    with work.Stopwatch(postgres_pid) as watch:
        run = work.synced(element, full=False)
    if (run.kind, run.changes_applied) != ("changes", min(work.CHANGES, found.files)):
        raise RuntimeError(f"a {run.kind} sync applied {run.changes_applied} changes")
    found.changes.append(watch.spent)


def _last(found: Rounds) -> str:
    return (
        f"reference {found.reference[-1]:.1f} s, empty {found.empty[-1]}, equal {found.equal[-1]},"
        f" changes {found.changes[-1]}, {found.writes[-1]} records written by the equal sync"
    )


def rows(found: Rounds) -> list[str]:
    """The lines of the table for one size."""
    empty = [spent.seconds for spent in found.empty]
    equal = [spent.seconds for spent in found.equal]
    changes = [spent.seconds for spent in found.changes]
    rates = [found.files / seconds for seconds in empty]
    size = f"{found.files:,} files"
    return [
        _row(
            f"full sync of {size} into an empty registry: {statistics.median(rates):,.0f} files/s",
            _quotients(empty, found.reference),
            ">= 10,000 (15,000) files/s",
            _cost(found.empty, found.files),
        ),
        _row(
            f"full sync of {size} into an equal registry: {statistics.median(equal):.1f} s",
            _quotients(equal, found.reference),
            "<= 2.5, 0 records written",
            f"{max(found.writes)} records written; {_cost(found.equal, found.files)}",
        ),
        _row(
            f"changes sync of 1,000 among {size}: {statistics.median(changes):.2f} s",
            _quotients(equal, changes),
            ">= 100 x faster than full",
            f"against the equal full sync; {found.differences} differences at the end",
            reference="full sync",
        ),
    ]


def _quotients(values: Sequence[float], references: Sequence[float]) -> list[float]:
    return [value / other for value, other in zip(values, references, strict=True)]


def _cost(spent: Sequence[Any], files: int) -> str:
    own = statistics.median(one.own_cpu for one in spent) / files * 1e6
    server = statistics.median(one.postgres_cpu for one in spent) / files * 1e6
    return f"CPU per file: {own:.0f} us here, {server:.0f} us in PostgreSQL"


def _row(
    work: str, ratios: list[float], bar: str, note: str, reference: str = "listing alone + COPY"
) -> str:
    spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
    return f"| {work} | {reference} | {statistics.median(ratios):.2f} | {bar} | {spread} | {note} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--keep", type=Path, help="a folder where the element is kept for the next time"
    )
    given = parser.parse_args()
    sys.stdout.write(HEAD)
    sys.stdout.flush()
    if len(given.files) > 1:
        for files in given.files:
            _in_a_process_of_its_own(files, given)
        return
    with tempfile.TemporaryDirectory(prefix="artstore-bench-") as folder:
        kept = (given.keep or Path(folder)) / f"node-{given.files[0]}"
        found = measure(given.files[0], given.rounds, Path(folder), kept)
    sys.stdout.write("\n".join(rows(found)) + "\n")


def _in_a_process_of_its_own(files: int, given: argparse.Namespace) -> None:
    """Django serves one database for the life of a process."""
    command = [sys.executable, "-m", "bench.sync_million", "--files", str(files)]
    command += ["--rounds", str(given.rounds)] + (["--keep", str(given.keep)] if given.keep else [])
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    sys.stdout.write(done.stdout.removeprefix(HEAD))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
