"""What the console's pages cost over a million records: queries, bytes of HTML, milliseconds.

    python -m bench.console_pages [--records 1000000] [--rounds 5] [--folder /tmp/...]

Every list page, as an admin sees it, through the whole Django stack in this process. The records are
those of `bench.search`, made once and kept. Pages that ask an element over the network are left out.
"""

import argparse
import importlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import filled_registry
from bench.rounds import RESULTS, Row, report

MOST_QUERIES = 12
MOST_BYTES = 100 * 1024


def main() -> int:
    """Measure and write table and pages; 1 when a page is over its bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=filled_registry.DEFAULT_FOLDER)
    arguments = parser.parse_args()
    with filled_registry.ground(arguments.folder, arguments.records) as filled:
        # Reads models, which need the server that is up only now.
        driven: Any = importlib.import_module("bench.console_driven")
        costs = driven.drive(arguments.rounds)
        version = filled_registry.server_version(filled)
    stem = f"{datetime.now(UTC):%Y-%m-%d}-console-pages-{filled.count}-each"
    table = RESULTS / f"{stem}.md"
    RESULTS.mkdir(exist_ok=True)
    table.write_text("\n".join(driven.table(costs)) + "\n")
    remarks = [
        f"{filled.count} records, {len(costs)} pages, each by itself: {table.name}",
        f"{version}, shared_buffers 1GB",
    ]
    report(f"console-pages-{filled.count}", _rows(costs, arguments.rounds), remarks)
    over = [c for c in costs if c.queries > MOST_QUERIES or c.size_bytes >= MOST_BYTES]
    return 1 if over else 0


def _rows(costs: list[Any], rounds: int) -> list[Row]:
    busiest = max(costs, key=lambda cost: cost.queries)
    most = max(costs, key=lambda cost: cost.statements)
    largest = max(costs, key=lambda cost: cost.size_bytes)
    slowest = max(costs, key=lambda cost: sorted(cost.milliseconds)[rounds // 2])
    kib = largest.size_bytes / 1024
    return [
        Row("console, most queries of a page", "", "<= 12", [busiest.queries], note=busiest.name),
        Row(
            "console, most statements, transactions' own included",
            "",
            "<= 12",
            [most.statements],
            note=most.name,
        ),
        Row("console, largest page", "KiB", "< 100 KiB", [kib], note=largest.name),
        Row("console, slowest page", "ms", "", slowest.milliseconds, note=slowest.name),
    ]


if __name__ == "__main__":
    sys.exit(main())
