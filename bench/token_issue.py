"""What a token costs: CPU of the one web process per `POST /auth/token`, as `make up` runs it.

Its own system in its own directory, one client on one connection. CPU is read from /proc, so the
client's and PostgreSQL's work is not counted; PostgreSQL's is said beside it.
"""

import argparse
import statistics
import sys
import time
from dataclasses import dataclass

from artstore.tests.live import LiveSystem
from bench import whole_system

ROUNDS = 5
REQUESTS = 500
BAR_SECONDS = 0.005
# The door's own brake, so that a burst of a benchmark passes.
UNBRAKED = {
    "ARTSTORE_THROTTLE_NAME_PER_MINUTE": "1000000",
    "ARTSTORE_THROTTLE_ADDRESS_PER_MINUTE": "1000000",
}


@dataclass(frozen=True)
class Way:
    """One way to ask: how the client proves itself, and for which door."""

    name: str
    basic: bool
    resource: str = ""


WAYS = (
    Way("form", basic=False),
    Way("HTTP Basic", basic=True),
    Way(
        "form, for an element (`resource`)", basic=False, resource="urn:artstore:element:node-edit"
    ),
)


@dataclass(frozen=True)
class Spent:
    """Seconds per request."""

    web_cpu: float
    postgres_cpu: float
    elapsed: float


def measure(
    system: LiveSystem, credentials: tuple[str, str], way: Way, requests_count: int
) -> Spent:
    form = {"grant_type": "client_credentials"}
    if way.resource:
        form["resource"] = way.resource
    if not way.basic:
        form |= {"client_id": credentials[0], "client_secret": credentials[1]}
    pids = system.ready["pids"]
    programs = (pids["web"], pids["postgres"])
    with system.session(None) as session:
        before = [whole_system.cpu_seconds(pid) for pid in programs]
        begun = time.perf_counter()
        for _ in range(requests_count):
            answer = session.post(
                f"{system.api}/auth/token",
                data=form,
                auth=credentials if way.basic else None,
                timeout=30,
            )
            answer.raise_for_status()
        elapsed = time.perf_counter() - begun
        after = [whole_system.cpu_seconds(pid) for pid in programs]
    spent = [(end - start) / requests_count for start, end in zip(before, after, strict=True)]
    return Spent(spent[0], spent[1], elapsed / requests_count)


def row(way: Way, rounds: list[Spent]) -> str:
    web = [1000 * spent.web_cpu for spent in rounds]
    middle = statistics.median(web)
    postgres = statistics.median(1000 * spent.postgres_cpu for spent in rounds)
    elapsed = statistics.median(1000 * spent.elapsed for spent in rounds)
    verdict = "holds" if middle < 1000 * BAR_SECONDS else "missed"
    cells = (
        f"`/auth/token`, {way.name}",
        "-",
        f"{middle:.2f} ms of CPU",
        f"< {1000 * BAR_SECONDS:.0f} ms ({verdict})",
        f"{min(web):.2f}-{max(web):.2f}",
        f"PostgreSQL {postgres:.2f} ms beside it, {elapsed:.1f} ms from asking to answer",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="per round")
    asked = parser.parse_args()
    rounds: dict[str, list[Spent]] = {way.name: [] for way in WAYS}
    with whole_system.running(**UNBRAKED) as (system, _):
        credentials = whole_system.account(system)
        for number in range(ROUNDS + 1):
            for way in WAYS:
                spent = measure(system, credentials, way, asked.requests)
                if number:  # the first round warms up
                    rounds[way.name].append(spent)
    lines = ["| work | reference | ratio | bar | spread | note |", "|---|---|---|---|---|---|"]
    lines += [row(way, rounds[way.name]) for way in WAYS]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
