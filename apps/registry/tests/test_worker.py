"""Syncs as real workers run them: one that is killed in the middle, and an hourly round among the dead and the silent."""

import datetime as dt
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from apps.registry import rounds, sync
from apps.registry.models import FileRecord, StorageElement, SyncRun
from apps.registry.tests import make
from apps.registry.tests.scripted import IDENTITY, Line, ScriptedServer
from apps.registry.tests.site import Site
from apps.registry.tests.worker_process import WorkerProcess, own_database_url
from artstore.tests.live import eventually
from storage_node.tests.drill_report import say
from storage_node.tests.node_process import Certificates

PATIENCE_SECONDS = 120


@contextmanager
def records_held() -> Iterator[None]:
    """Whoever writes a record waits until the block ends."""
    with psycopg.connect(own_database_url()) as holder:
        holder.execute("LOCK TABLE registry_filerecord IN SHARE ROW EXCLUSIVE MODE")
        yield
        holder.rollback()


def someone_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted"
            " AND relation = 'registry_filerecord'::regclass"
        )
        return bool(cursor.fetchone()[0])


def test_a_worker_process_killed_in_mid_run_is_noticed_and_the_next_round_catches_up(
    start_site: Callable[..., Site], tmp_path: Path
) -> None:
    site = start_site()
    files = [site.put() for _ in range(3)]
    settings = {"ARTSTORE_SYNC_LEASE_SECONDS": "2"}
    with WorkerProcess(tmp_path / "first.log", **settings) as worker:
        run = sync.claim(site.element, sync.Request(sync.SyncTrigger.PERIODIC))
        with records_held():
            worker.give(run.pk)
            eventually(someone_waits, f"a page waits: {worker.log()}", PATIENCE_SECONDS)
            worker.kill()
    assert sync.get(run.pk).status == "running"
    assert not FileRecord.objects.exists()
    later = timezone.now() + dt.timedelta(hours=2)
    due = eventually(lambda: rounds.open_due(later).runs, "a new run", PATIENCE_SECONDS)
    closed = sync.get(run.pk)
    assert (closed.status, closed.files_added) == ("abandoned", 0)
    assert "stopped renewing" in closed.error
    with WorkerProcess(tmp_path / "second.log", **settings) as worker:
        for run_id in due:
            worker.give(run_id)
        eventually(lambda: sync.get(due[0]).status == "succeeded", worker.log(), PATIENCE_SECONDS)
    assert len(due) == 1
    assert sync.get(due[0]).files_added == len(files)
    assert site.differences() == []


def open_runs() -> set[uuid.UUID | None]:
    """Elements whose sync is still open."""
    running = SyncRun.objects.filter(status="running")
    return set(running.values_list("storage_element_id", flat=True))


@pytest.mark.drill
def test_drill_a_round_of_twenty_elements_of_which_three_are_dead_and_two_nearly_silent(
    start_site: Callable[..., Site], certificates: Certificates, tmp_path: Path
) -> None:
    """A real worker takes the round; the fifteen end while the two that are nearly silent still go on."""
    well = [start_site(f"se-well-{number}", 100) for number in range(15)]
    dead = [make.element(f"se-dead-{number}") for number in range(3)]
    over = threading.Event()

    def one_byte_a_second(storage_id: str, line: Line) -> None:
        line.head()
        identity = IDENTITY.replace("se-fake", storage_id)
        line.send(f"HTTP/1.1 200 OK\r\n{identity}Content-Length: 9999\r\n\r\n")
        while not over.wait(1):
            line.send(" ")

    with (
        ScriptedServer(certificates, partial(one_byte_a_second, "se-silent-0")) as first,
        ScriptedServer(certificates, partial(one_byte_a_second, "se-silent-1")) as second,
        # Far longer than fifteen syncs take: what ends the silent ones is the test.
        WorkerProcess(tmp_path / "worker.log", ARTSTORE_NODE_ANSWER_SECONDS="900") as worker,
    ):
        silent = [
            make.element(
                f"se-silent-{number}",
                url=server.url,
                instance_id="i-1",
                ca_pem=certificates.ca.read_text(),
            )
            for number, server in enumerate((first, second))
        ]
        due = rounds.open_due(timezone.now())
        for run_id in due.runs:
            worker.give(run_id)
        eventually(lambda: open_runs() == {one.pk for one in silent}, "the others are done", 600)
        over.set()
        eventually(lambda: not open_runs(), "the silent ones are given up", 600)
    assert len(due.runs) == 20
    last = {run.storage_element_id: run for run in SyncRun.objects.all()}
    assert {last[site.element.pk].status for site in well} == {"succeeded"}
    assert {last[element.pk].status for element in [*dead, *silent]} == {"failed"}
    assert all(last[element.pk].error for element in [*dead, *silent])
    done = [last[site.element.pk].finished_at for site in well]
    assert FileRecord.objects.count() == 15 * 100
    assert set(StorageElement.objects.filter(status="offline")) == {*dead, *silent}
    began = min(run.started_at for run in last.values())
    say(
        f"round of 20 elements, 3 dead, 2 at a byte a second: the other 15 done after"
        f" {(max(done) - began).total_seconds():.1f} s while the silent ones went on; run rows say why"
    )
