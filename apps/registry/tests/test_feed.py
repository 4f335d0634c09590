"""The change feed as pages: several answers given on as one, and what happens where one of them fails."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from apps.registry import applying, copying, feed
from apps.registry.attributes import Tombstone
from apps.registry.errors import NodeFailure
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
    stored = {site.put().file_id for _ in range(9)}
    pages = read(site)
    assert [page.items for page in pages] == [8, 1]
    assert {file_id for page in pages for file_id in page.files} == stored
    assert [page.totals is None for page in pages] == [True, False]


def test_nobody_waits_for_an_element_that_answers_slowly(
    site: Any, small_answers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "GATHERED_SECONDS", -1.0)
    for _ in range(5):
        site.put()
    assert [page.items for page in read(site)] == [2, 2, 1]


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
    page = feed.Page("e", 2, has_more=True, totals=None, items=2)
    page.files = {edited.file_id: edited, gone.file_id: gone}
    newer = make.attributes(file_id=edited.file_id, revision=2)
    totals = feed.Totals(1, (1, 1, 1))
    later = feed.Page("e", 4, has_more=False, totals=totals, items=3, rejected=[rejected])
    later.files = {edited.file_id: newer}
    buried = Tombstone(gone.file_id, "deleted", gone.updated_at)
    later.tombstones = {gone.file_id: buried}
    feed._join(page, later)
    assert page.files == {edited.file_id: newer}
    assert (page.tombstones, page.rejected) == ({gone.file_id: buried}, [rejected])
    assert (page.items, page.next_since, page.has_more, page.totals) == (5, 4, False, totals)


def test_a_page_written_out_holds_every_character_as_it_was(db: None) -> None:
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
    page = feed.Page("e", 1, has_more=False, totals=None, items=len(files))
    page.files = {one.file_id: one for one in files}
    element = make.element()
    applying.write_out(page)
    assert page.lines == copying.lines(files, page)
    applied = applying.apply_page(page, applying.Scope(uuid.uuid4(), element.pk, None, False, True))
    assert (applied.added, applied.rejected) == (len(files), [])
    records = make.seen_records(element)
    for one in files:
        kept = records[one.file_id]
        assert kept.original_filename == one.original_filename
        assert (kept.content_type, kept.uploaded_by) == (one.content_type, one.uploaded_by)
        assert (kept.description, tuple(kept.tags)) == (one.description, one.tags)
        assert (kept.metadata, kept.expires_at) == (one.metadata, one.expires_at)
