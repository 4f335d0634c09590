"""Search on a million made records: every mode and filter, alone and by four clients, with plans.

    python -m bench.search [--records 1000000] [--rounds 5] [--folder /tmp/...] [--only WORD]

`page`: the page's statement, rows made into records. `total`: the verb, count included. `http`: the
REST view in this process, from JSON to JSON. `CPU`: what this process and its server process ran, which
a busy machine hardly changes. The records are made once and kept in the folder.
`--records 10000` and `--records 100000` show how the cost grows.
"""

import argparse
import importlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import filled_registry
from bench.filled_registry import Filled
from bench.rounds import RESULTS, Row, report

USUAL_RECORDS = 1_000_000


def main() -> int:
    """Make the records if need be, measure, write table, kinds and plans; 1 when a plan scans."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=USUAL_RECORDS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=filled_registry.DEFAULT_FOLDER)
    parser.add_argument("--only", default="", help="kinds whose name contains this")
    parser.add_argument("--build", action="store_true", help="make the records and stop")
    arguments = parser.parse_args()
    with filled_registry.ground(arguments.folder, arguments.records) as filled:
        return 0 if arguments.build else _measure(filled, arguments.rounds, arguments.only)


def _measure(filled: Filled, rounds: int, only: str) -> int:
    # Reads models, which need the server that is up only now.
    at: Any = importlib.import_module("bench.search_measured")
    wanted = at.kinds(only)
    name = "search" if filled.count == USUAL_RECORDS else f"search-{filled.count}"
    stem = f"{datetime.now(UTC):%Y-%m-%d}-{name}"
    plans, scanning = at.write_plans(wanted, f"{stem}-plans.txt")
    http = at.Http()
    page, page_busy = at.measure(at.page, wanted, rounds)
    total, total_busy = at.measure(at.total, wanted, rounds)
    with at.pooled():
        over_http, _busy = at.measure(http, [kind for kind in wanted if http.can(kind)], rounds)
    measured = {
        "page": page,
        "page, CPU": page_busy,
        "total": total,
        "total, CPU": total_busy,
        "http": over_http,
        "four clients": at.measure_together(wanted, rounds),
    }
    table = RESULTS / f"{stem}-kinds.md"
    table.write_text("\n".join(at.kinds_table(measured, wanted)) + "\n")
    remarks = [
        f"{filled.count} records, {filled_registry.server_version(filled)}, shared_buffers 1GB; limit 50",
        f"each kind of search by itself: {table.name}; every plan: {plans.name}",
        f"plans that scan the table: {', '.join(scanning) or 'none'}",
    ]
    report(name, _rows(at, measured, wanted), remarks)
    return 1 if scanning else 0


def _rows(at: Any, measured: dict[str, Any], wanted: list[str]) -> list[Row]:
    over_http = [kind for kind in wanted if at.Http.can(kind)]
    made: list[Row] = [
        *at.rows("page alone", measured["page"], wanted, ("<= 10 ms", "<= 50 ms")),
        *at.rows("page alone, CPU", measured["page, CPU"], wanted, ("", "")),
        *at.rows("with total", measured["total"], wanted, ("<= 30 ms", "<= 100 ms")),
        *at.rows("with total, CPU", measured["total, CPU"], wanted, ("", "")),
        *at.rows("with total, through the REST view", measured["http"], over_http, ("", "")),
        *at.rows("with total, four clients", measured["four clients"], wanted, ("<= 60", "<= 200")),
    ]
    three = [kind for kind in at.THREE_LETTERS if kind in wanted]
    for label, bar in (("total", "<= 250 ms"), ("four clients", "<= 500 ms")):
        if three:
            values = measured[label].per_round(three, 0.95)
            made.append(Row(f"search, three letters, {label}, p95", "ms", bar, values))
    return made


if __name__ == "__main__":
    sys.exit(main())
