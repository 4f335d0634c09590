"""Drives the console's pages with a test client and counts. Imported when the registry is up."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.query.tests import asked
from apps.registry.models import FileRecord, SyncRun, element_id_of
from bench import filled_contents

_AROUND = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "SET LOCAL")


@dataclass(frozen=True)
class Cost:
    """One page: what it asked of the database, what it weighs, how long it took each round."""

    name: str
    queries: int
    # With those that begin, end and bound transactions.
    statements: int
    size_bytes: int
    milliseconds: list[float]
    # The statement that took longest, and its share.
    slowest_ms: float
    slowest: str


def addresses() -> Iterator[tuple[str, str]]:
    """Name and address of each page."""
    for name in ("dashboard", "elements", "runs", "users", "services", "keys", "audit", "account"):
        yield name, reverse(f"console:{name}")
    yield "runs, page 100", reverse("console:runs") + "?page=100"
    yield "audit, of one person", reverse("console:audit") + "?actor=someone"
    yield "audit, one action", reverse("console:audit") + "?action=file.edit"
    yield "audit, page 400", reverse("console:audit") + "?page=400"
    for title, fields in FILE_SEARCHES.items():
        yield f"files, {title}", f"{reverse('console:files')}?{urlencode(fields)}"
    for storage_id in (asked.ELEMENTS[0], asked.ELEMENTS[7]):
        element = reverse("console:elements-detail", args=[element_id_of(storage_id)])
        yield f"element {storage_id}", element
        files = reverse("console:elements-files", args=[element_id_of(storage_id)])
        yield f"files of element {storage_id}", files
    record = FileRecord.objects.filter(status="active").order_by("-uploaded_at")[0]
    yield "file", reverse("console:files-detail", args=[record.pk])
    yield "run", reverse("console:runs-detail", args=[SyncRun.objects.all()[0].pk])


FILE_SEARCHES = {
    "newest": {},
    "part of a name": {"query": asked.word(1)},
    "three letters": {"query": "rep"},
    "two letters": {"query": "re"},
    "words": {"query": "годовой отчет", "mode": "fulltext"},
    "a common word": {"query": "report", "mode": "fulltext"},
    "a tag": {"tags": "common"},
    "expired": {"status": "expired"},
    "by size": {"sort_by": "size"},
    "by name": {"sort_by": "original_filename"},
    "several filters": {"file_extension": "pdf", "min_size": "1 MiB", "uploaded_by": "sa_1"},
    "offset 10 000": {"offset": "10000"},
}


def drive(rounds: int) -> list[Cost]:
    client = Client(SERVER_NAME="localhost")
    client.force_login(filled_contents.admin())
    return [_cost(client, name, address, rounds) for name, address in addresses()]


def _cost(client: Client, name: str, address: str, rounds: int) -> Cost:
    with CaptureQueriesContext(connection) as captured:
        response = client.get(address)
    if response.status_code != 200:
        raise RuntimeError(f"{name}: {response.status_code} for {address}")
    # The log is emptied by the next request. Beginning, ending and bounding a transaction asks nothing.
    asked_for = [one for one in captured.captured_queries if not one["sql"].startswith(_AROUND)]
    queries, statements = len(asked_for), len(captured)
    slowest = max(asked_for, key=lambda query: float(query["time"]))
    taken = []
    for _round in range(rounds):
        began = time.perf_counter()
        client.get(address)
        taken.append((time.perf_counter() - began) * 1000)
    return Cost(
        name,
        queries,
        statements,
        len(response.content),
        taken,
        float(slowest["time"]) * 1000,
        " ".join(slowest["sql"].split())[:160],
    )


def table(costs: list[Cost]) -> list[str]:
    lines = [
        "| page | queries | all statements | KiB | p50 ms | worst ms | slowest statement, ms |",
        "|---" * 7 + "|",
    ]
    lines += [
        f"| {cost.name} | {cost.queries} | {cost.statements} | {cost.size_bytes / 1024:.1f} |"
        f" {statistics.median(cost.milliseconds):.0f} | {max(cost.milliseconds):.0f} |"
        f" {cost.slowest_ms:.0f}: `{cost.slowest.replace('|', '¦')}` |"
        for cost in costs
    ]
    return lines
