"""Alternating rounds of measurements, their medians and spread, and the lines of a result file."""

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
ROUNDS = 5


@dataclass
class Row:
    """One line of the speed table: a value per round, as a ratio of the reference of the same round where there is one."""

    work: str
    unit: str
    bar: str
    values: list[float] = field(default_factory=list)
    references: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Per round."""
        return [
            value / reference for value, reference in zip(self.values, self.references, strict=True)
        ]

    def line(self) -> str:
        """As a table row: median, the rounds' range, the reference's median, the ratio's median and range."""
        middle = statistics.median(self.values)
        cells = [
            self.work,
            f"{middle:.4g} {self.unit} ({min(self.values):.4g}-{max(self.values):.4g})",
        ]
        if self.references:
            ratios = self.ratios
            cells += [
                f"{statistics.median(self.references):.4g} {self.unit}",
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
            ]
        else:
            cells += ["-", "-"]
        return f"| {' | '.join([*cells, self.bar])} |"


def alternate(
    rounds: int, measurements: Mapping[str, Callable[[], float]]
) -> dict[str, list[float]]:
    """Every measurement once per round, in turn, so that a noisy minute hits them alike. The first round is a rehearsal."""
    values: dict[str, list[float]] = {name: [] for name in measurements}
    for number in range(rounds + 1):
        for name, measure in measurements.items():
            value = measure()
            sys.stderr.write(f"  round {number} {name}: {value:.4g}\n")
            if number:
                values[name].append(value)
    return values


def report(name: str, rows: list[Row], remarks: list[str]) -> Path:
    """Write `results/<date>-<name>.md` with machine, versions, command, table and raw numbers."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    path = RESULTS / f"{now:%Y-%m-%d}-{name}.md"
    lines = [
        f"# {name}, {now:%Y-%m-%d %H:%M} UTC",
        "",
        f"- machine: {os.cpu_count()} cores, {platform.platform()}, load {os.getloadavg()[0]:.1f} at the end",
        f"- versions: Python {platform.python_version()}, {_version('nginx', '-v')}, {_version('wrk', '-v')}, {_version('curl', '--version')}",
        f"- command: `{' '.join([Path(sys.executable).name, *sys.argv])}`",
        *[f"- {remark}" for remark in remarks],
        "",
        "| work | median (range) | reference | ratio | bar (goal) |",
        "|---|---|---|---|---|",
        *[row.line() for row in rows],
        "",
        "Raw rounds:",
        "",
        *[
            f"- {row.work}: {json.dumps([round(v, 2) for v in row.values])} against {json.dumps([round(v, 2) for v in row.references])}"
            for row in rows
        ],
    ]
    path.write_text("\n".join(lines) + "\n")
    sys.stdout.write(path.read_text())
    return path


def _version(program: str, flag: str) -> str:
    try:
        done = subprocess.run([program, flag], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"no {program}"
    return (done.stdout + done.stderr).strip().splitlines()[0][:60]
