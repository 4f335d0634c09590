"""What `bench.search` times, and how: one process's clients, four processes' clients, and the plans.

Needs a filled registry under it; imports models, so it is imported when that is up.
"""

import contextlib
import datetime as dt
import enum
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection
from django.test import Client
from django.utils import timezone

from apps.admin import service_accounts, tokens
from apps.query import search
from apps.query.tests import asked
from artstore.pooling import PooledConnection
from bench.rounds import RESULTS, Row

CLIENTS = 4
# Each kind is asked so often per round, with other words each time.
ASKS = 4
THREE_LETTERS = ("partial, three letters", "partial, three letters, russian")
TABLE = "registry_filerecord"
NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)


Rounds = list[dict[str, list[float]]]


@dataclass
class Times:
    """Milliseconds by kind, round after round."""

    rounds: Rounds = field(default_factory=list)

    def of(self, kind: str) -> list[float]:
        return [value for one in self.rounds for value in one[kind]]

    def per_round(self, kinds: list[str], share: float) -> list[float]:
        """A percentile over the kinds, one value per round."""
        return [
            percentile([value for kind in kinds for value in one[kind]], share)
            for one in self.rounds
        ]


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def kinds(only: str) -> list[str]:
    return [kind for kind in asked.ASKED if only in kind]


def page(kind: str, number: int) -> None:
    search.page(asked.query(kind, number), NOW)


def total(kind: str, number: int) -> None:
    search.run(asked.query(kind, number), NOW)


class Http:
    """The REST view, from the bytes of a request to those of its answer, in this process."""

    def __init__(self) -> None:
        now = timezone.now()
        draft = service_accounts.NewAccount(f"bench-{time.time_ns()}", ["files:read"])
        account = service_accounts.create(draft, None, now).account
        token = tokens.service_token(account, ["files:read"], None, now).token
        self._client = Client(headers={"authorization": f"Bearer {token}"}, SERVER_NAME="localhost")

    @staticmethod
    def can(kind: str) -> bool:
        """The element is no filter of the REST contract."""
        return "element_id" not in asked.ASKED[kind](0)

    def __call__(self, kind: str, number: int) -> None:
        body = {name: _json(value) for name, value in asked.ASKED[kind](number).items()}
        answer = self._client.post(
            "/api/v1/search", {**body, "limit": 50}, content_type="application/json"
        )
        if answer.status_code != 200:
            raise RuntimeError(f"{kind}: {answer.status_code} {answer.content[:200]!r}")


@contextlib.contextmanager
def pooled() -> Iterator[None]:
    """Connections of a pool, as web processes have them: without one, each body that is read costs another connection."""
    kept: Any = connection
    settings = kept.settings_dict
    without = settings["OPTIONS"], settings["CONN_MAX_AGE"]
    pool = {"min_size": 1, "max_size": 1, "connection_class": PooledConnection}
    kept.close()
    settings |= {"OPTIONS": {**without[0], "pool": pool}, "CONN_MAX_AGE": 0}
    try:
        yield
    finally:
        kept.close()
        kept.close_pool()
        settings["OPTIONS"], settings["CONN_MAX_AGE"] = without


def _json(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return list(value)
    return value.isoformat() if isinstance(value, dt.datetime) else value


def measure(ask: Callable[[str, int], None], wanted: list[str], rounds: int) -> tuple[Times, Times]:
    """Times by the clock and times of processors, this process's and its server process's.

    Every kind in turn, so that a noisy moment hits them alike; the first round is a rehearsal.
    """
    clock, processors = Times(), Times()
    for round_number in range(rounds + 1):
        found = {kind: _timed(ask, kind, round_number) for kind in wanted}
        if round_number:
            for times, part in ((clock, 0), (processors, 1)):
                times.rounds.append({kind: [one[part] for one in found[kind]] for kind in wanted})
    return clock, processors


def _timed(
    ask: Callable[[str, int], None], kind: str, round_number: int
) -> list[tuple[float, float]]:
    taken = []
    connection.ensure_connection()
    server = Path(f"/proc/{connection.connection.info.backend_pid}/schedstat")
    for number in range(round_number * ASKS, (round_number + 1) * ASKS):
        began, busy = time.perf_counter(), _busy_ms(server)
        ask(kind, number)
        taken.append(((time.perf_counter() - began) * 1000, _busy_ms(server) - busy))
    return taken


def _busy_ms(server: Path) -> float:
    """What this thread and that server process have run so far; a view gives its connection back, and with it the process."""
    ran = 0.0
    with contextlib.suppress(OSError):
        ran = int(server.read_text().split()[0]) / 1e6
    return ran + time.thread_time() * 1000


def measure_together(wanted: list[str], rounds: int) -> Times:
    """Four processes at once, each with its own connection, each beginning elsewhere in the list."""
    connection.close()
    context = multiprocessing.get_context("fork")
    results: Any = context.SimpleQueue()
    processes = [
        context.Process(target=_one_of_several, args=(number, wanted, rounds, results))
        for number in range(CLIENTS)
    ]
    for process in processes:
        process.start()
    several = [results.get() for _process in processes]
    for process in processes:
        process.join()
    together = Times()
    for index in range(rounds):
        together.rounds.append(
            {kind: [v for one in several for v in one[index][kind]] for kind in wanted}
        )
    return together


def _one_of_several(number: int, wanted: list[str], rounds: int, results: Any) -> None:
    start = number * len(wanted) // CLIENTS
    turned = wanted[start:] + wanted[:start]
    times, _processors = measure(lambda kind, n: total(kind, n + number), turned, rounds)
    results.put(times.rounds)


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes_of(inner)


def write_plans(wanted: list[str], name: str) -> tuple[Path, list[str]]:
    """The nodes of every plan, as run, into one file; and which of them scan the table."""
    lines, scanning = [], []
    for kind in wanted:
        for part, plan in search.plans(asked.query(kind, 1), NOW, options=", ANALYZE").items():
            nodes = list(nodes_of(plan))
            lines.append(f"{kind}; {part}: {' < '.join(_node(node) for node in nodes)}")
            if any(
                node["Node Type"] == "Seq Scan" and node.get("Relation Name") == TABLE
                for node in nodes
            ):
                scanning.append(f"{kind}: {part}")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / name
    path.write_text("\n".join(lines) + "\n")
    return path, scanning


def _node(node: dict[str, Any]) -> str:
    """A node in a few words: what it does, by which index, how many rows it gave and passed over."""
    words = [node["Node Type"], node.get("Index Name", "")]
    rows = f"{node['Actual Rows'] * node['Actual Loops']:.0f}"
    passed_over = node.get("Rows Removed by Filter", 0) * node["Actual Loops"]
    counts = f"({rows}, -{passed_over:.0f})" if passed_over else f"({rows})"
    return " ".join([*filter(None, words), counts])


def rows(label: str, times: Times, wanted: list[str], bars: tuple[str, str]) -> list[Row]:
    """The two rows of the speed table about these times; three-letter substrings have their own."""
    usual = [kind for kind in wanted if kind not in THREE_LETTERS]
    made = []
    for share, bar in ((0.5, bars[0]), (0.95, bars[1])):
        note = _slowest(times, usual, share)
        values = times.per_round(usual, share)
        made.append(Row(f"search, {label}, p{share * 100:.0f}", "ms", bar, values, note=note))
    return made


def _slowest(times: Times, wanted: list[str], share: float) -> str:
    of = {kind: percentile(times.of(kind), share) for kind in wanted}
    kind = max(of, key=lambda kind: of[kind])
    return f"slowest kind: {kind}, {of[kind]:.0f} ms"


def kinds_table(measured: dict[str, Times], wanted: list[str]) -> list[str]:
    """Every kind with its own p50 and p95, as a Markdown table."""
    names = list(measured)
    lines = [
        f"| kind | {' | '.join(f'{name} p50, p95' for name in names)} |",
        "|---" * (len(names) + 1) + "|",
    ]
    for kind in wanted:
        cells = []
        for times in measured.values():
            values = times.of(kind) if times.rounds and kind in times.rounds[0] else []
            cells.append(
                f"{statistics.median(values):.1f}, {percentile(values, 0.95):.1f}"
                if values
                else "-"
            )
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return lines
