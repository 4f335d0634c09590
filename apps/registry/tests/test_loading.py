"""Pages of a first load beside each other: what is written is what one after another writes, and a lost run writes nothing."""

import dataclasses
import datetime as dt
import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from apps.registry import applying, feed, sync
from apps.registry.attributes import Tombstone
from apps.registry.loading import ParallelLoad
from apps.registry.models import FileRecord, SyncRun
from apps.registry.tests import make
from apps.registry.tests.worker_process import own_database_url
from artstore import database
from artstore.tests.live import eventually

PATIENCE_SECONDS = 20
AT = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
FILES = tuple(uuid.UUID(int=number) for number in range(1, 7))


def page(number: int) -> feed.Page:
    return feed.Page("e", number, True, None, records=b"some")


# --- in which order ---


class Told:
    """What pages were put in or applied, in the order in which it began and ended."""

    def __init__(self, *misfits: int) -> None:
        self.misfits = misfits
        self.told: list[str] = []
        self.may_end = {number: threading.Event() for number in range(9)}

    def put_in(self, page: feed.Page) -> bool:
        self.told.append(f"begun {page.next_since}")
        assert self.may_end[page.next_since].wait(PATIENCE_SECONDS)
        fits = page.next_since not in self.misfits
        self.told.append(f"{'in' if fits else 'not in'} {page.next_since}")
        return fits

    def apply(self, page: feed.Page) -> None:
        self.told.append(f"applied {page.next_since}")


def test_two_pages_at_once_and_a_third_when_the_first_is_in() -> None:
    seen = Told()
    with ThreadPoolExecutor(1) as pool, ParallelLoad(seen.put_in, seen.apply) as load:
        giving = pool.submit(lambda: [load.give(page(number)) for number in (1, 2, 3)])
        seen.may_end[2].set()
        eventually(lambda: "in 2" in seen.told, "the second page is in")
        assert not giving.done()
        assert "begun 3" not in seen.told
        seen.may_end[1].set()
        giving.result(PATIENCE_SECONDS)
        seen.may_end[3].set()
    assert sorted(seen.told[:2]) == ["begun 1", "begun 2"]
    assert seen.told[2:4] == ["in 2", "in 1"]


@pytest.mark.parametrize(
    "alone",
    [
        {"records": b""},
        {"tombstones": {"x": Tombstone(uuid.uuid4(), "deleted", AT)}},
        {"rejected": [feed.Rejected(None, "bad")]},
        {"has_more": False},
    ],
)
def test_a_page_that_is_not_just_new_files_waits_for_all_before_it(alone: dict[str, Any]) -> None:
    seen = Told()
    for number in (1, 2):
        threading.Timer(0.05 * number, seen.may_end[number].set).start()
    with ParallelLoad(seen.put_in, seen.apply) as load:
        load.give(page(1))
        load.give(page(2))
        load.give(dataclasses.replace(page(3), **alone))
    assert seen.told[2:] == ["in 1", "in 2", "applied 3"]


def test_pages_that_do_not_fit_are_applied_in_their_order_when_nothing_else_is_under_way() -> None:
    seen = Told(1, 2)
    for number in (2, 1, 3):
        seen.may_end[number].set()
    with ParallelLoad(seen.put_in, seen.apply) as load:
        for number in (1, 2, 3):
            load.give(page(number))
        load.give(feed.Page("e", 4, False, None))
    assert seen.told.index("applied 1") < seen.told.index("applied 2") < seen.told.index("begun 3")
    assert max(map(seen.told.index, ("not in 1", "not in 2"))) < seen.told.index("applied 1")
    assert seen.told[-1] == "applied 4"


def test_an_error_reaches_whoever_gives_and_the_other_page_is_waited_for() -> None:
    ended: list[int] = []

    def put_in(page: feed.Page) -> bool:
        if page.next_since == 1:
            raise ValueError("broken")
        ended.append(page.next_since)
        return True

    def give_three(load: ParallelLoad) -> None:
        for number in (1, 2, 3):
            load.give(page(number))

    with pytest.raises(ValueError, match="broken"), ParallelLoad(put_in, ended.append) as load:
        give_three(load)
    assert ended == [2]


# --- what is written ---

# Pages as a feed would list them: a file that changes while pages are read is listed again, later and with a
# higher revision, until its tombstone comes.
listed = st.lists(
    st.lists(st.sampled_from(FILES), min_size=1, max_size=4, unique=True), min_size=1, max_size=6
)


def histories(pages: list[list[uuid.UUID]], buried: dict[uuid.UUID, int]) -> Iterator[feed.Page]:
    """`buried` says with which of its listings a file is a tombstone; it is not listed after that."""
    times = dict.fromkeys(FILES, 0)
    for number, ids in enumerate(pages, 1):
        made = feed.Page("e", number, True, None, items=len(ids))
        for file_id in ids:
            times[file_id] += 1
            ends = buried.get(file_id, 0)
            if ends and times[file_id] > ends:
                continue
            if times[file_id] == ends:
                made.tombstones[str(file_id)] = Tombstone(file_id, "deleted", AT)
                continue
            one = make.attributes(
                file_id=file_id, revision=times[file_id], uploaded_at=AT, updated_at=AT, size=7
            )
            made.files |= make.page(one).files
        yield made
    yield feed.Page("e", len(pages) + 1, False, None)


def rows() -> set[tuple[Any, ...]]:
    return set(
        FileRecord.objects.values_list(
            "file_id", "storage_element_id", "status", "stored_revision", "deletion_reason"
        )
    )


@given(
    listed,
    st.dictionaries(st.sampled_from(FILES), st.integers(1, 3), max_size=3),
    st.lists(st.sampled_from((0.0, 0.0, 0.005, 0.02)), min_size=8, max_size=8),
    st.booleans(),
)
@hypothesis_settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_pages_beside_each_other_write_what_they_write_one_after_another(
    transactional_db: None,
    pages: list[list[uuid.UUID]],
    buried: dict[uuid.UUID, int],
    delays: list[float],
    new_epoch: bool,
) -> None:
    element = make.element()
    run = SyncRun.objects.create(storage_element=element, trigger="manual", kind="full")
    scope = applying.Scope(run.pk, element.pk, timezone.now(), new_epoch, True, True)
    delay = itertools.cycle(delays)

    def apply(page: feed.Page) -> None:
        with transaction.atomic():
            applying.apply_page(page, scope)

    def put_in(page: feed.Page) -> bool:
        time.sleep(next(delay))
        with transaction.atomic():
            return applying.put_in(page)

    def applied(give: Callable[[feed.Page], None]) -> set[tuple[Any, ...]]:
        FileRecord.objects.all().delete()
        for one in histories(pages, buried):
            applying.write_out(one, scope)
            give(one)
        return rows()

    try:
        one_after_another = applied(apply)
        with ParallelLoad(put_in, apply) as load:
            beside_each_other = applied(load.give)
        assert beside_each_other == one_after_another
    finally:
        FileRecord.objects.all().delete()
        element.delete()


# --- a whole load, from a real node ---


@pytest.fixture
def loading(site: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An element with thirty files in ten pages, of none of which there is a record."""
    settings.ARTSTORE_FIRST_LOAD_FILES = 2
    monkeypatch.setattr(feed, "PAGE_ITEMS", 3)
    monkeypatch.setattr(feed, "GATHERED_PAGES", 1)
    site.files = [site.put() for _ in range(30)]
    return site


def test_rule_1_files_that_change_throughout_a_load_by_two_connections_end_up_right(
    loading: Any,
) -> None:
    """Edited, deleted and added while pages are read, each listed again behind what was read."""
    client = loading.client()

    def churn() -> None:
        try:
            # Not for ever: a feed that is written faster than it is read has no end.
            for number, file in enumerate(loading.files[10:] * 5):
                client.edit_file(file.file_id, {"description": f"edit {number}"})
                if number == 5:
                    client.delete_file(loading.files[0].file_id)
                    loading.put(b"late")
        finally:
            database.release()

    with ThreadPoolExecutor(1) as pool:
        churning = pool.submit(churn)
        run = loading.sync(full=True)
        churning.result(PATIENCE_SECONDS)
    assert run.status == "succeeded", run.error
    assert loading.sync().status == "succeeded"
    assert loading.differences() == []


def test_two_connections_share_a_load_and_its_run_counts_every_file(
    loading: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backends: set[int] = set()
    put_in = applying.put_in
    together = threading.Barrier(2)

    def watched(page: feed.Page) -> bool:
        if threading.current_thread() is not threading.main_thread() and len(backends) < 2:
            backends.add(connection.connection.info.backend_pid)
            together.wait(PATIENCE_SECONDS)
        return put_in(page)

    monkeypatch.setattr(applying, "put_in", watched)
    run = loading.sync(full=True)
    assert (run.status, run.files_seen, run.files_added, run.files_unchanged) == (
        "succeeded",
        30,
        30,
        0,
    )
    assert run.cursor == loading.element.cursor
    assert len(backends) == 2
    assert loading.differences() == []


def test_rule_2_a_load_by_two_connections_that_is_declared_dead_writes_nothing_more(
    loading: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in = applying.put_in
    together = threading.Barrier(2)
    calls = itertools.count()

    def dead_meanwhile(page: feed.Page) -> bool:
        fits = put_in(page)
        if threading.current_thread() is threading.main_thread() or next(calls) < 2:
            return fits
        # Both have written their page, and neither has looked whose the run is.
        if together.wait(PATIENCE_SECONDS) == 0:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(_declare_dead).result()
        together.wait(PATIENCE_SECONDS)
        return fits

    monkeypatch.setattr(applying, "put_in", dead_meanwhile)
    loading.element.refresh_from_db()
    run = sync.claim(loading.element, sync.Request(sync.SyncTrigger.MANUAL, full=True))
    report = sync.run(run.pk)
    assert report is not None
    assert report.run.status == "abandoned"
    # What came before is told by the row, and is there.
    assert 0 < report.run.files_added == FileRecord.objects.count() < len(loading.files)


def test_a_load_whose_connections_are_all_cut_ends_as_failed(
    loading: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in = applying.put_in
    calls = itertools.count()

    def cut(page: feed.Page) -> bool:
        if next(calls) == 3:
            with psycopg.connect(own_database_url()) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        return put_in(page)

    monkeypatch.setattr(applying, "put_in", cut)
    loading.element.refresh_from_db()
    run = sync.claim(loading.element, sync.Request(sync.SyncTrigger.MANUAL, full=True))
    with pytest.raises(OperationalError):
        sync.run(run.pk)
    run.refresh_from_db()
    assert (run.status, bool(run.error)) == ("failed", True)
    monkeypatch.undo()
    assert loading.sync(full=True).status == "succeeded"
    assert loading.differences() == []


def _declare_dead() -> None:
    try:
        SyncRun.objects.filter(status="running").update(lease_expires_at=timezone.now())
        assert SyncRun.abandon_lost() == 1
    finally:
        database.release()
