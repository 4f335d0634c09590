"""Alternating rounds of measurements, their medians and spread, and the lines of a result file.

Knows nothing of what is measured. `runner.py` gathers what the modules report into one file per day.
"""

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
ROUNDS = 5
# Set by the runner: a file that takes every module's section, instead of one file per module.
GATHERED = "BENCH_RESULTS"
# Set by the runner: a directory for everything, removed when the last measurement has ended.
SCRATCH = "BENCH_DIR"
TABLE_HEAD = (
    "| work | measured | reference | ratio | bar (goal) | spread | note |",
    "|---|---|---|---|---|---|---|",
)
_AT_LEAST = re.compile(r">= ([0-9.]+)")
_AT_MOST = re.compile(r"<=? ([0-9.]+)")


@dataclass
class Row:
    """One line of the speed table: a value per round, as a ratio of the reference of the same round where there is one."""

    work: str
    unit: str
    bar: str
    values: list[float] = field(default_factory=list)
    references: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        """Per round."""
        return [
            value / reference for value, reference in zip(self.values, self.references, strict=True)
        ]

    @property
    def judged(self) -> list[float]:
        """What the bar is about: ratios where there is a reference, else the values themselves."""
        return self.ratios if self.references else self.values

    @property
    def verdict(self) -> str:
        """Whether the median meets the first number of the bar; empty for a bar that names none."""
        middle = statistics.median(self.judged)
        if match := _AT_LEAST.match(self.bar):
            return "met" if middle >= float(match[1]) else "MISSED"
        if match := _AT_MOST.match(self.bar):
            return "met" if middle <= float(match[1]) else "MISSED"
        return ""

    def line(self) -> str:
        """As a table row: medians, and the range over the rounds."""
        judged, cells = self.judged, [self.work]
        cells.append(f"{statistics.median(self.values):.4g} {self.unit}")
        if self.references:
            cells += [
                f"{statistics.median(self.references):.4g} {self.unit}",
                f"{statistics.median(judged):.2f}",
            ]
        else:
            cells += ["-", "-"]
        spread = f"{min(judged):.3g}-{max(judged):.3g}"
        note = ", ".join(filter(None, (self.verdict, self.note)))
        return f"| {' | '.join([*cells, self.bar, spread, note])} |"


def alternate(
    rounds: int, measurements: Mapping[str, Callable[[], float]], rehearse: bool = True
) -> dict[str, list[float]]:
    """Every measurement once per round, in turn, so that a noisy minute hits them alike. The first round is a rehearsal
    and not counted, unless `rehearse` is off."""
    values: dict[str, list[float]] = {name: [] for name in measurements}
    for number in range(0 if rehearse else 1, rounds + 1):
        for name, measure in measurements.items():
            value = measure()
            sys.stderr.write(f"  round {number} {name}: {value:.4g}\n")
            if number:
                values[name].append(value)
    return values


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A directory to work in, removed afterwards; below the runner's it is left for the runner to remove, because ext4
    passes over inodes freed in the last minutes one by one, and that would slow whatever is measured next."""
    shared = os.environ.get(SCRATCH)
    path = Path(tempfile.mkdtemp(prefix=f"artstore-bench-{name}-", dir=shared))
    try:
        yield path
    finally:
        if shared is None:
            shutil.rmtree(path, ignore_errors=True)


def machine_lines() -> list[str]:
    """Where and with what it was measured."""
    versions = ", ".join(
        (
            f"Python {platform.python_version()}",
            _version("nginx", "-v"),
            _version("wrk", "-v"),
            _version("curl", "--version"),
        )
    )
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        f"- machine: {os.cpu_count()} cores ({_cpu_model()}), {memory_gib:.0f} GiB, {platform.platform()}",
        f"- versions: {versions}",
        f"- revision: {_said_by('git', 'rev-parse', '--short', 'HEAD')}",
    ]


def report(name: str, rows: list[Row], remarks: list[str]) -> Path:
    """Print the section of this measurement, and write it to `results/<date>-<name>.md` or to the file the runner gathers
    all sections in: command, table, raw numbers. Returns the file."""
    now = datetime.now(UTC)
    command = " ".join(["python", "-m", f"bench.{Path(sys.argv[0]).stem}", *sys.argv[1:]])
    section = [
        f"## {name}, {now:%Y-%m-%d %H:%M} UTC",
        "",
        f"- command: `{command}`; load {os.getloadavg()[0]:.1f} at the end",
        *[f"- {remark}" for remark in remarks],
        "",
        *TABLE_HEAD,
        *[row.line() for row in rows],
        "",
        "Raw rounds:",
        "",
        *[_raw(row) for row in rows],
        "",
    ]
    sys.stdout.write("\n".join(section) + "\n")
    sys.stdout.flush()
    gathered = os.environ.get(GATHERED)
    if gathered:
        path = Path(gathered)
        with path.open("a") as file:
            file.write("\n".join(section) + "\n")
        return path
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y-%m-%d}-{name}.md"
    path.write_text("\n".join([*machine_lines(), "", *section]) + "\n")
    return path


def _raw(row: Row) -> str:
    values = json.dumps([float(f"{value:.5g}") for value in row.values])
    if not row.references:
        return f"- {row.work}: {values} {row.unit}"
    references = json.dumps([float(f"{value:.5g}") for value in row.references])
    return f"- {row.work}: {values} against {references} {row.unit}"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(program: str, flag: str) -> str:
    return _said_by(program, flag)[:60]


def _said_by(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"no {command[0]}"
    said = (done.stdout + done.stderr).strip().splitlines()
    return said[0] if said else "unknown"
