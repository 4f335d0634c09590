"""Runs every measurement, one after the other, into one file: `bench/results/<date>.md`.

    python -m bench.runner [name ...]        all of bench/, or the named modules; this is `make bench`

A module of bench/ is a measurement when it can be run by itself and calls `rounds.report`. One that fails is named at the end, and the others
still run. Nothing is measured here. All of them work below one directory that is removed at the very end: see
`rounds.scratch`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.rounds import GATHERED, RESULTS, SCRATCH, machine_lines

HERE = Path(__file__).parent
_CAN_BE_RUN = '\nif __name__ == "__main__":'
_REPORTS = " report("


def measurements() -> list[str]:
    """Names of the modules that are measurements."""
    others = (path for path in HERE.glob("*.py") if path != Path(__file__))
    texts = {path.stem: path.read_text() for path in others}
    return sorted(name for name, text in texts.items() if _CAN_BE_RUN in text and _REPORTS in text)


def run(names: list[str], result: Path) -> list[str]:
    """Runs the named measurements; returns those that failed."""
    failed = []
    with tempfile.TemporaryDirectory(
        prefix="artstore-bench-", dir=os.environ.get(SCRATCH), ignore_cleanup_errors=True
    ) as directory:
        environment = os.environ | {GATHERED: str(result), SCRATCH: directory}
        for name in names:
            began = time.monotonic()
            sys.stderr.write(f"{name}\n")
            command = [sys.executable, "-m", f"bench.{name}"]
            done = subprocess.run(command, env=environment, check=False)
            sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
            if done.returncode:
                failed.append(name)
                with result.open("a") as file:
                    file.write(f"## {name}\n\nended with {done.returncode}: no figures.\n\n")
    return failed


def main() -> int:
    """Everything into one file; 1 when a measurement failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*")
    names = parser.parse_args().names or measurements()
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    result = RESULTS / f"{now:%Y-%m-%d}.md"
    head = [f"# Measurements of {now:%Y-%m-%d %H:%M} UTC", "", *machine_lines()]
    head += [f"- load {os.getloadavg()[0]:.1f} at the beginning; `make bench`", ""]
    result.write_text("\n".join(head) + "\n")
    failed = run(names, result)
    sys.stderr.write(f"{result}\n")
    if failed:
        sys.stderr.write(f"failed: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
