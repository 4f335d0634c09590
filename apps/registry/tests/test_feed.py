"""The change feed as pages: several answers given on as one, and what happens where one of them fails."""

import dataclasses
import datetime as dt
import gc
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.registry import answers, applying, feed, listed
from apps.registry.attributes import FileAttributes, Tombstone
from apps.registry.errors import NodeFailure
from apps.registry.models import FileRecord, SyncRun
from apps.registry.tests import make

AWKWARD = ("tab\there", "back\\slash", "line\r\nbreak", '"quoted", {braces}', "\\N", "ё № «»", "")


@pytest.fixture
def small_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "PAGE_ITEMS", 2)


def pages_of(site: Any) -> Iterator[feed.Page]:
    """What is new since the element was synced."""
    site.element.refresh_from_db()
    return feed.pages(site.client(), site.element.cursor, site.element.epoch)


def read(site: Any) -> list[feed.Page]:
    return list(pages_of(site))


def test_answers_that_come_soon_are_given_on_together(site: Any, small_answers: None) -> None:
    stored = {site.put().file_id for _ in range(17)}
    pages = read(site)
    assert [page.items for page in pages] == [16, 1]
    assert {uuid.UUID(file_id) for page in pages for file_id in page.files} == stored
    assert [page.totals is None for page in pages] == [True, False]


def test_nobody_waits_for_an_element_that_answers_slowly(
    site: Any, small_answers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "GATHERED_SECONDS", -1.0)
    for _ in range(5):
        site.put()
    assert [page.items for page in read(site)] == [2, 2, 1]


def test_long_answers_are_not_gathered(
    site: Any, small_answers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four of the longest would be a quarter of a gigabyte of text."""
    for _ in range(7):
        site.put(metadata={"long": "x" * 2000})
    monkeypatch.setattr(feed, "GATHERED_BYTES", 8000)
    pages = read(site)
    assert [page.items for page in pages] == [4, 3]
    assert all(page.size_bytes > 4000 for page in pages)


def test_what_was_read_before_an_answer_failed_is_given_on_and_then_the_failure(
    site: Any, small_answers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        site.put()
    read_page = feed.read_page

    def broken_answer(answer: Any, since: int) -> feed.Page:
        if not answer.body["has_more"]:
            answer.body["items"] = "none"
        return read_page(answer, since)

    monkeypatch.setattr(feed, "read_page", broken_answer)
    pages = pages_of(site)
    assert next(pages).items == 4
    with pytest.raises(NodeFailure):
        next(pages)


def test_garbage_is_looked_for_again_once_a_page_is_there_or_is_not_to_be_had(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put()
    read_page = feed.read_page
    collecting = []

    def watched(answer: Any, since: int) -> feed.Page:
        collecting.append(gc.isenabled())
        if len(collecting) > 1:
            raise answers.invalid("is broken")
        return read_page(answer, since)

    monkeypatch.setattr(feed, "read_page", watched)
    assert len(read(site)) == 1
    assert gc.isenabled()
    with pytest.raises(NodeFailure):
        read(site)
    assert gc.isenabled()
    assert collecting == [False, False]


def test_pages_of_two_epochs_are_never_joined(
    site: Any, small_answers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        site.put()
    read_page = feed.read_page

    def rebuilt_meanwhile(answer: Any, since: int) -> feed.Page:
        page = read_page(answer, since)
        page.epoch = "another" if since > site.element.cursor else page.epoch
        return page

    monkeypatch.setattr(feed, "read_page", rebuilt_meanwhile)
    first = next(pages_of(site))
    assert (first.epoch, first.items) == (site.element.epoch, 2)


def test_what_is_said_later_of_a_file_counts() -> None:
    edited, gone = make.attributes(), make.attributes()
    rejected = feed.Rejected(uuid.uuid4(), "bad")
    page = make.page(edited, gone, has_more=True)
    newer = make.attributes(file_id=edited.file_id, revision=2)
    totals = feed.Totals(1, (1, 1, 1))
    later = make.page(newer, totals=totals, items=3, rejected=[rejected])
    later.next_since = 4
    buried = {str(gone.file_id): Tombstone(gone.file_id, "deleted", gone.updated_at)}
    later.tombstones = dict(buried)
    feed._join(page, later)
    assert page.files == {str(edited.file_id): listed.written(newer)}
    assert (page.tombstones, page.rejected) == (buried, [rejected])
    assert (page.items, page.next_since, page.has_more, page.totals) == (5, 4, False, totals)


def test_a_file_said_after_its_tombstone_is_there_in_one_page_or_in_two() -> None:
    back = make.attributes()
    freed = Tombstone(back.file_id, "deleted", back.updated_at)
    page = make.page(has_more=True)
    page.tombstones = {str(back.file_id): freed}
    feed._join(page, make.page(back))
    assert (set(page.files), page.tombstones) == ({str(back.file_id)}, {})

    once = feed.Page("e", 1, has_more=True, totals=None)
    said = {"file_id": str(back.file_id), "status": "deleted", "at": back.updated_at.isoformat()}
    listing = dict(zip(FileAttributes.__slots__, listed.written(back).split("\t"), strict=True))
    texts = {"description": None, "tags": [], "metadata": {}, "ttl_days": None, "expires_at": None}
    numbers = {"size": back.size, "revision": back.revision}
    for item in ({"tombstone": said}, {"file": listing | texts | numbers}):
        feed._sort_in(once, item)
    assert (set(once.files), once.tombstones) == ({str(back.file_id)}, {})


@pytest.mark.parametrize("many", ["1e400", "Infinity"])
def test_totals_beyond_any_number_are_not_understood(many: str) -> None:
    counts = {"files": float(many), "bytes": 0, "revisions": 0}
    with pytest.raises(NodeFailure):
        feed._totals({"active": counts})


@pytest.mark.parametrize("fresh", [False, True])
def test_a_page_written_out_holds_every_character_as_it_was(db: None, fresh: bool) -> None:
    files = [
        make.attributes(
            original_filename=text or "x",
            content_type=text or "x",
            uploaded_by=text or "x",
            description=text,
            tags=(text, text),
            metadata={text: [text, None, 1.5, True]},
        )
        for text in AWKWARD
    ]
    files.append(make.attributes(description=None, tags=(), metadata={}))
    page = make.page(*files)
    element = make.element()
    scope = applying.Scope(uuid.uuid4(), element.pk, timezone.now(), False, True, fresh)
    applying.write_out(page, scope)
    assert bool(page.records) == fresh
    applied = applying.apply_page(page, scope)
    assert (applied.added, applied.rejected) == (len(files), [])
    records = make.seen_records(element)
    for one in files:
        kept = records[one.file_id]
        assert kept.original_filename == one.original_filename
        assert (kept.content_type, kept.uploaded_by) == (one.content_type, one.uploaded_by)
        assert (kept.description, tuple(kept.tags)) == (one.description, one.tags)
        assert (kept.metadata, kept.expires_at) == (one.metadata, one.expires_at)


def test_new_files_of_a_new_element_are_put_in_as_they_are_and_count_as_seen(db: None) -> None:
    element = make.element()
    run = SyncRun.objects.create(storage_element=element, trigger="manual", kind="full")
    scope = applying.Scope(run.pk, element.pk, run.started_at, False, True, fresh=True)
    said = [make.attributes(status=status) for status in ("active", "expired", "deleted")]
    page = make.page(*said, items=5)
    freed = Tombstone(uuid.uuid4(), "deleted", timezone.now())
    page.tombstones = {str(freed.file_id): freed}
    page.rejected = [feed.Rejected(uuid.uuid4(), "bad")]
    applying.write_out(page, scope)
    with CaptureQueriesContext(connection) as queries:
        applied = applying.apply_page(page, scope)
    assert (applied.added, applied.updated, len(applied.rejected)) == (3, 0, 1)
    assert applying.count_seen(scope) == 4
    records = make.seen_records(element)
    reasons = {row.status: row.deletion_reason for row in records.values()}
    assert reasons == {"active": "", "expired": "expired", "deleted": "user"}
    assert {row.activated_at for row in records.values()} == {run.started_at}
    assert applying.count_missing(scope) == 0
    assert any("sync_page" in query["sql"] for query in queries)


def test_of_files_put_in_as_new_one_listed_again_counts_once_and_one_freed_since_not_at_all(
    db: None,
) -> None:
    element = make.element()
    run = SyncRun.objects.create(storage_element=element, trigger="manual", kind="full")
    scope = applying.Scope(run.pk, element.pk, run.started_at, False, True, fresh=True)
    make.record(make.element(), activated_at=run.started_at)
    kept, edited, freed = (make.attributes() for _ in range(3))
    first = make.page(kept, edited, freed, has_more=True)
    later = make.page(dataclasses.replace(edited, revision=2, tags=("new",)), items=2)
    later.tombstones = {str(freed.file_id): Tombstone(freed.file_id, "deleted", timezone.now())}
    seen = []
    for page in (first, later):
        applying.write_out(page, scope)
        applying.apply_page(page, scope)
        seen.append(applying.count_seen(scope))
    assert seen == [3, 2]
    assert make.seen_records(element)[edited.file_id].tags == ["new"]
    assert make.seen_records(element)[freed.file_id].status == "deleted"
    assert applying.count_missing(scope) == 0


@pytest.mark.parametrize("holder", ["another element", "this element, newer", "a value refused"])
def test_a_page_with_something_that_is_not_new_is_compared_row_by_row(
    db: None, holder: str
) -> None:
    element = make.element()
    run = SyncRun.objects.create(storage_element=element, trigger="manual", kind="full")
    scope = applying.Scope(run.pk, element.pk, run.started_at, False, True, fresh=True)
    said = [make.attributes() for _ in range(3)]
    if holder == "another element":
        make.record(make.element(), file_id=said[0].file_id, checksum="0" * 64)
    elif holder == "this element, newer":
        make.record(element, file_id=said[0].file_id, status="active", stored_revision=9)
    else:
        said[0] = make.attributes(uploaded_at=dt.datetime(1, 1, 1, tzinfo=dt.UTC), size=2**63)
    page = make.page(*said)
    applying.write_out(page, scope)
    applied = applying.apply_page(page, scope)
    assert (applied.added, applying.count_seen(scope)) == (2, 3)
    assert {row.pk for row in FileRecord.objects.all()} >= {one.file_id for one in said[1:]}
