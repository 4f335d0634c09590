"""A first load leaves search indexes out and builds them at its end, whoever dies in between."""

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from apps.registry import applying, checks, feed, indexes, rebuilding, rounds, sync, tasks
from apps.registry.models import FileRecord, SyncRun, WaitingIndex
from apps.registry.tests import make
from apps.registry.tests.worker_process import WorkerProcess, own_database_url
from artstore import database, health
from artstore.tests.live import eventually

PATIENCE_SECONDS = 120


def asked(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


# What every load keeps: keys, syncs, uploads, and the list as it is shown unasked.
KEPT = {
    "registry_filerecord_pkey",
    "record_of_element",
    "record_begun_on_element",
    "record_uploading_lease",
    "query_by_time",
}


def indexes_there() -> dict[str, str]:
    """Every index that can be used, by name."""
    return dict(
        asked(
            "SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_index i"
            " JOIN pg_class c ON c.oid = i.indexrelid"
            " WHERE i.indrelid = 'registry_filerecord'::regclass AND i.indisvalid"
        )
    )


def usable() -> dict[str, str]:
    """Those of them that a load may leave out."""
    return {name: text for name, text in indexes_there().items() if name not in KEPT}


@pytest.fixture
def before(keys: None, settings: Any) -> Iterator[dict[str, str]]:
    """The search indexes of every test, and back again after this one; two files are many here."""
    settings.ARTSTORE_FIRST_LOAD_FILES = 2
    found = usable()
    assert found.keys() == indexes_there().keys() - KEPT
    assert {"query_text", "query_by_name", "query_by_checksum"} <= found.keys()
    yield found
    SyncRun.objects.all().delete()
    indexes.build_due()
    assert usable() == found


@pytest.fixture
def loading(site: Any) -> Any:
    """An element with two files, of none of which there is a record."""
    site.files = [site.put(tags=["blue"]), site.put()]
    return site


@pytest.fixture
def during(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """`during(act)`: it happens before the first page of the next run is applied."""

    def plan(act: Callable[[], None]) -> None:
        def first(page: feed.Page, scope: applying.Scope) -> applying.Applied:
            if not done:
                done.append(True)
                # As another process does it: this one holds the run.
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(_apart, act).result()
            return apply_page(page, scope)

        done: list[bool] = []
        apply_page = applying.apply_page
        monkeypatch.setattr(applying, "apply_page", first)

    return plan


def _apart(act: Callable[[], None]) -> None:
    try:
        act()
    finally:
        database.release()


def test_a_first_load_leaves_search_indexes_out_and_ends_with_all_of_them(
    before: dict[str, str], loading: Any, during: Callable[..., None]
) -> None:
    seen: list[Any] = []
    waiting = WaitingIndex.objects.values_list("name", flat=True)
    during(lambda: seen.extend([indexes_there().keys(), set(waiting)]))
    run = loading.sync(full=True)
    assert (run.status, run.files_added) == ("succeeded", 2)
    assert seen == [KEPT, set(before)]
    assert (usable(), WaitingIndex.objects.count()) == (before, 0)
    assert loading.differences() == []


def test_indexes_stay_where_there_is_any_record_or_the_files_are_few(
    before: dict[str, str], loading: Any, during: Callable[..., None], settings: Any
) -> None:
    seen: list[Any] = []
    make.record(make.element())
    during(lambda: seen.append(usable()))
    assert loading.sync(full=True).status == "succeeded"
    FileRecord.objects.all().delete()
    settings.ARTSTORE_FIRST_LOAD_FILES = 3
    during(lambda: seen.append(usable()))
    assert loading.sync(full=True).status == "succeeded"
    settings.ARTSTORE_FIRST_LOAD_FILES = 0
    FileRecord.objects.all().delete()
    during(lambda: seen.append(usable()))
    assert loading.sync(full=True).status == "succeeded"
    assert seen == [before, before, before]


def test_a_table_in_use_is_not_waited_for_and_the_load_goes_on_with_its_indexes(
    before: dict[str, str], loading: Any, during: Callable[..., None], caplog: Any
) -> None:
    seen: list[Any] = []
    during(lambda: seen.append(usable()))
    with psycopg.connect(own_database_url()) as reader:
        reader.execute("SELECT count(*) FROM registry_filerecord")
        assert loading.sync(full=True).files_added == 2
    assert seen == [before]
    assert "goes on with every index" in caplog.text


def test_files_are_uploaded_and_found_while_indexes_are_left_out(
    before: dict[str, str],
    loading: Any,
    during: Callable[..., None],
    service_token: Callable[..., str],
) -> None:
    token = service_token("files:read")
    found: dict[str, Any] = {}

    def search(**body: Any) -> list[str]:
        headers = {"authorization": f"Bearer {token}"}
        answer = Client().post("/api/v1/search", body, "application/json", headers=headers)
        assert answer.status_code == 200, answer.content
        return [item["file_id"] for item in answer.json()["items"]]

    def act() -> None:
        one = make.record(make.element(), original_filename="Annual report.pdf", tags=["red"])
        for body in (
            {},
            {"sort_by": "original_filename", "query": "annual report.pdf", "mode": "exact"},
            {"uploaded_by": one.uploaded_by, "file_extension": "pdf", "sort_by": "size"},
            {"query": "annual", "mode": "fulltext"},
            {"query": "ual rep", "mode": "partial"},
            {"query": "re", "mode": "partial"},
            {"tags": ["red"]},
        ):
            found[str(body)] = (search(**body), [str(one.file_id)])

    during(act)
    assert loading.sync(full=True).status == "succeeded"
    assert len(found) == 7
    assert all(got == wanted for got, wanted in found.values()), found
    assert search(tags=["blue"]) == [str(loading.files[0].file_id)]
    assert FileRecord.objects.count() == 3
    assert usable() == before


def test_indexes_wait_for_the_last_of_two_loads(
    before: dict[str, str], loading: Any, start_site: Callable[..., Any]
) -> None:
    other = start_site("se-two")
    other.put()
    open_run = sync.claim(other.element, sync.Request(sync.SyncTrigger.MANUAL, full=True))
    assert loading.sync(full=True).status == "succeeded"
    assert (usable(), indexes.due()) == ({}, False)
    report = sync.run(open_run.pk)
    assert report is not None
    assert report.succeeded
    assert usable() == before


def test_two_elements_at_once_fill_an_empty_registry_and_leave_it_with_every_index(
    before: dict[str, str], start_site: Callable[..., Any]
) -> None:
    sites = [start_site(f"se-{name}", 200) for name in ("one", "two")]
    report = rebuilding.rebuild()
    assert report.succeeded, report.outcomes
    assert report.files == FileRecord.objects.count() == 400
    assert [site.differences() for site in sites] == [[], []]
    assert (usable(), WaitingIndex.objects.count()) == (before, 0)


def test_a_load_that_fails_builds_the_indexes_too(
    before: dict[str, str],
    loading: Any,
    during: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(4):
        loading.put()
    monkeypatch.setattr(feed, "PAGE_ITEMS", 1)
    monkeypatch.setattr(feed, "GATHERED_PAGES", 1)
    during(loading.node.kill)
    failed = loading.sync(full=True)
    loading.node.start()
    assert failed.status == "failed"
    assert failed.files_added < 6
    assert (usable(), WaitingIndex.objects.count()) == (before, 0)


# --- whoever dies in between ---


@contextmanager
def seen_ids_held() -> Iterator[None]:
    """A first load waits in the middle of its first page."""
    with psycopg.connect(own_database_url()) as holder:
        holder.execute("LOCK TABLE registry_seenfile IN SHARE MODE")
        yield
        holder.rollback()


def a_page_waits() -> bool:
    waiting = (
        "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'registry_seenfile'::regclass"
    )
    return bool(asked(waiting))


@pytest.fixture
def killed(before: dict[str, str], loading: Any, tmp_path: Path) -> SyncRun:
    """The run of a worker that was killed with its indexes left out."""
    # Its tombstone is written down among the seen ids.
    loading.client().delete_file(loading.put().file_id)
    loading.client().collect_garbage(dry_run=False)
    few = {"ARTSTORE_SYNC_LEASE_SECONDS": "2", "ARTSTORE_FIRST_LOAD_FILES": "2"}
    with WorkerProcess(tmp_path / "worker.log", **few) as worker:
        run = sync.claim(loading.element, sync.Request(sync.SyncTrigger.PERIODIC, full=True))
        with seen_ids_held():
            worker.give(run.pk)
            eventually(a_page_waits, f"a page waits: {worker.log()}", PATIENCE_SECONDS)
            worker.kill()
    assert {one.name for one in WaitingIndex.objects.all()} == set(before)
    assert usable() == {}
    return run


def closed(run: SyncRun) -> bool:
    SyncRun.abandon_lost()
    return sync.get(run.pk).status == "abandoned"


def test_beat_has_built_what_a_killed_worker_left_out(
    killed: SyncRun, before: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: list[bool] = []
    monkeypatch.setattr(tasks.build_indexes, "delay", lambda: asked_for.append(True))
    monkeypatch.setattr(rounds, "_claim_if_due", lambda *_: None)
    assert not indexes.due()
    eventually(lambda: closed(killed), "the run is closed", PATIENCE_SECONDS)
    tasks.start_due_syncs()
    assert asked_for == [True]
    tasks.build_indexes()
    assert (usable(), WaitingIndex.objects.count()) == (before, 0)
    tasks.start_due_syncs()
    assert asked_for == [True]


def test_the_run_after_a_killed_one_ends_with_every_record_and_every_index(
    killed: SyncRun, before: dict[str, str], loading: Any
) -> None:
    eventually(lambda: closed(killed), "the run is closed", PATIENCE_SECONDS)
    run = loading.sync(full=True)
    assert (run.status, run.files_added) == ("succeeded", 2)
    assert (usable(), WaitingIndex.objects.count()) == (before, 0)
    assert loading.differences() == []


def left_out() -> None:
    indexes.leave_out()
    assert usable() == {}


def test_a_build_that_was_broken_off_is_done_again(before: dict[str, str]) -> None:
    left_out()
    statement = before["query_tags"].replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
    with (
        psycopg.connect(own_database_url()) as writer,
        psycopg.connect(own_database_url(), autocommit=True) as builder,
    ):
        # It waits for whoever wrote before it, and is cut off there.
        writer.execute("LOCK TABLE registry_filerecord IN ROW EXCLUSIVE MODE")
        builder.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            builder.execute(statement)
    invalid = asked("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid")
    assert invalid == [("query_tags",)]
    indexes.build_due()
    assert (usable(), WaitingIndex.objects.count()) == (before, 0)


def cut_off(statement: str) -> bool:
    """Ends a statement that waits for others' transactions, if there is one that begins so."""
    return bool(
        asked(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            f" AND query LIKE '{statement}%' AND pid <> pg_backend_pid()"
        )
    )


def test_a_build_whose_connection_is_cut_is_left_to_the_next(
    before: dict[str, str], caplog: Any
) -> None:
    left_out()

    def build_and_go_on() -> None:
        indexes.build_due()
        assert WaitingIndex.objects.exists()

    with ThreadPoolExecutor(1) as pool, psycopg.connect(own_database_url()) as writer:
        writer.execute("LOCK TABLE registry_filerecord IN ROW EXCLUSIVE MODE")
        building = pool.submit(_apart, build_and_go_on)
        cut = functools.partial(cut_off, "CREATE INDEX CONCURRENTLY")
        eventually(cut, "the build waits, and is ended", PATIENCE_SECONDS)
        building.result()
    assert "could not be" in caplog.text
    assert (usable(), WaitingIndex.objects.count()) == ({}, len(before))
    indexes.build_due()
    assert (usable(), WaitingIndex.objects.count()) == (before, 0)


def test_indexes_wait_until_they_have_statistics_too(before: dict[str, str]) -> None:
    left_out()
    with connection.cursor() as cursor:
        for statement in before.values():
            cursor.execute(statement)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(own_database_url()) as other:
        other.execute("LOCK TABLE registry_filerecord IN SHARE UPDATE EXCLUSIVE MODE")
        building = pool.submit(_apart, indexes.build_due)
        cut = functools.partial(cut_off, "ANALYZE registry_filerecord")
        eventually(cut, "the statistics wait, and are cut off", PATIENCE_SECONDS)
        building.result()
    assert WaitingIndex.objects.count() == len(before)
    indexes.build_due()
    assert (usable(), WaitingIndex.objects.count()) == (before, 0)


def test_an_index_built_by_one_who_died_before_saying_so_is_not_built_again(
    before: dict[str, str],
) -> None:
    left_out()
    asked_oid = "SELECT 'query_tags'::regclass::oid"
    with connection.cursor() as cursor:
        cursor.execute(before["query_tags"])
    [oid] = asked(asked_oid)
    indexes.build_due()
    assert asked(asked_oid) == [oid]
    assert (usable(), WaitingIndex.objects.count()) == (before, 0)


def test_only_one_builds_at_a_time_and_the_others_do_not_wait(before: dict[str, str]) -> None:
    left_out()
    with psycopg.connect(own_database_url(), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [indexes._BUILDER])
        indexes.build_due()
        assert usable() == {}
    eventually(lambda: indexes.build_due() or usable() == before, "built", PATIENCE_SECONDS)


def test_what_cannot_be_built_is_told_in_the_log_and_keeps_nothing_else_from_it(
    before: dict[str, str], caplog: Any
) -> None:
    left_out()
    WaitingIndex.objects.create(
        name="a_bad_one", definition="CREATE INDEX a_bad_one ON nowhere (x)"
    )
    indexes.build_due()
    assert "could not be" in caplog.text
    assert usable() == before
    call_command("migrate", "registry", verbosity=0)
    assert [one.name for one in WaitingIndex.objects.all()] == ["a_bad_one"]
    WaitingIndex.objects.all().delete()


def test_a_load_keeps_its_indexes_while_somebody_builds(before: dict[str, str]) -> None:
    """Who builds takes rows away, and would take those of this load with them."""
    with psycopg.connect(own_database_url()) as builder:
        builder.execute("SELECT pg_advisory_lock(%s)", [indexes._BUILDER])
        indexes.leave_out()
    assert (usable(), WaitingIndex.objects.count()) == (before, 0)


def test_a_limit_on_statements_does_not_stop_a_build(before: dict[str, str]) -> None:
    left_out()
    with ThreadPoolExecutor(1) as pool, psycopg.connect(own_database_url()) as writer:
        writer.execute("LOCK TABLE registry_filerecord IN ROW EXCLUSIVE MODE")
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '200ms'")
        pool.submit(lambda: (over_the_limit(), writer.rollback()))
        indexes.build_due()
    assert asked("SHOW statement_timeout") == [("0",)]
    assert usable() == before


def over_the_limit() -> None:
    """Returns when a build has waited for longer than that."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%'"
        " AND state = 'active' AND now() - query_start > interval '300 ms'"
    )
    with psycopg.connect(own_database_url(), autocommit=True) as watcher:
        eventually(
            lambda: watcher.execute(waiting).fetchone() == (1,), "it waits", PATIENCE_SECONDS
        )


def test_migrating_waits_for_who_builds_already(
    before: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    left_out()
    builder = psycopg.connect(own_database_url())
    builder.execute("SELECT pg_advisory_lock(%s)", [indexes._BUILDER])
    looks: list[Any] = []

    def pass_time(_seconds: float) -> None:
        looks.append(usable())
        builder.close()

    monkeypatch.setattr(indexes.time, "sleep", pass_time)
    call_command("migrate", "registry", verbosity=0)
    assert looks
    assert set(map(str, looks)) == {"{}"}
    assert (usable(), WaitingIndex.objects.count()) == (before, 0)


def test_migrating_builds_what_waits_first_whichever_way_it_goes(before: dict[str, str]) -> None:
    left_out()
    try:
        call_command("migrate", "registry", "0005", verbosity=0)
        assert usable() == before
    finally:
        call_command("migrate", verbosity=0)
    left_out()
    call_command("migrate", "query", "0004", verbosity=0)
    # With one that only the migration before this one had.
    assert usable().items() > before.items()
    call_command("migrate", verbosity=0)
    assert (usable(), WaitingIndex.objects.count()) == (before, 0)


def test_readiness_tells_that_indexes_wait(before: dict[str, str]) -> None:
    checks.check_indexes()
    left_out()
    with pytest.raises(health.Degraded, match="search indexes"):
        checks.check_indexes()


def test_a_second_load_of_a_registry_emptied_meanwhile_leaves_them_out_again(
    before: dict[str, str], loading: Any, during: Callable[..., None]
) -> None:
    assert loading.sync(full=True).status == "succeeded"
    FileRecord.objects.all().delete()
    seen: list[Any] = []
    during(lambda: seen.append(usable()))
    assert loading.sync(full=True).files_added == 2
    assert (seen, usable()) == ([{}], before)
