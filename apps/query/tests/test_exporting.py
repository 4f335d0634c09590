"""A search result as CSV: whole, in order, bounded, and harmless in a spreadsheet."""

import csv
import datetime as dt
import io
from typing import Any

import pytest

from apps.query import exporting, search
from apps.query.asking import SearchMode, SearchQuery, SortBy
from apps.query.tests.made_files import NOW, stored
from apps.registry.tests import make
from artstore.errors import ArtStoreError

pytestmark = pytest.mark.django_db


def rows(principal: Any = None, **asked: Any) -> list[dict[str, str]]:
    made = exporting.export(SearchQuery(**asked), principal or make.principal(), NOW)
    text = "".join(made.lines)
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


def test_a_line_holds_every_field_of_a_file() -> None:
    element = make.element()
    record = stored(
        "отчёт; «годовой», 2026.pdf",
        description='two\nlines, "quoted"',
        tags=["a,b", "ё"],
        metadata={"k": [1, "ё"]},
        storage_element=element,
        expires_at=NOW + dt.timedelta(days=1),
        ttl_days=2,
    )
    [row] = rows()
    assert row == {
        "file_id": str(record.file_id),
        "original_filename": "отчёт; «годовой», 2026.pdf",
        "content_type": "application/octet-stream",
        "size": "10",
        "checksum": "0" * 64,
        "uploaded_by": "sa_ci_1",
        "uploaded_at": "2026-11-21T12:00:00Z",
        "updated_at": "2026-11-21T12:00:00Z",
        "description": 'two\nlines, "quoted"',
        "tags": '["a,b", "ё"]',
        "metadata": '{"k": [1, "ё"]}',
        "status": "active",
        "retention_policy": "permanent",
        "ttl_days": "2",
        "expires_at": "2026-11-23T12:00:00Z",
        "storage_element_id": str(element.pk),
    }


def test_who_may_not_see_the_element_gets_no_column_of_it() -> None:
    stored("a.bin", storage_element=make.element())
    [row] = rows(make.principal(None, "files:read"))
    assert "storage_element_id" not in row


@pytest.mark.parametrize("begin", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])
def test_no_cell_is_run_as_a_formula(begin: str) -> None:
    stored(f"{begin}.csv", description=begin, content_type=begin, uploaded_by=begin)
    [row] = rows()
    for name in ("original_filename", "description", "content_type", "uploaded_by"):
        assert row[name].startswith(f"'{begin}")


def test_the_order_is_the_searches_and_no_page_end_loses_or_repeats_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "WALKED_FILES", 7)
    for number in range(23):
        stored(f"f{number:02}.bin", age_days=number % 5, size=number % 3)
    for sort in (SortBy.UPLOADED_AT, SortBy.SIZE, SortBy.ORIGINAL_FILENAME):
        page = search.run(SearchQuery(sort_by=sort), NOW)
        listed = [row["file_id"] for row in rows(sort_by=sort)]
        assert listed == [str(hit.record.file_id) for hit in page.hits]
        assert len(set(listed)) == 23


def test_an_export_begins_at_the_first_page_whatever_page_was_looked_at() -> None:
    for number in range(4):
        stored(f"{number}.bin", age_days=number)
    cursor = search.run(SearchQuery(limit=2), NOW).next_cursor
    assert len(rows(limit=2, offset=2)) == 4
    assert len(rows(limit=2, cursor=cursor)) == 4


def test_a_ranked_search_is_listed_newest_first() -> None:
    stored("old turbine turbine.bin", age_days=2)
    stored("new.bin", age_days=1, description="turbine")
    listed = rows(query="turbine", mode=SearchMode.FULLTEXT)
    assert [row["original_filename"] for row in listed] == ["new.bin", "old turbine turbine.bin"]


def test_a_result_too_long_is_cut_and_its_name_says_so(settings: Any) -> None:
    settings.ARTSTORE_EXPORT_FILES = 3
    for number in range(4):
        stored(f"{number}.bin", age_days=number)
    made = exporting.export(SearchQuery(), make.principal(), NOW)
    assert made.is_cut
    assert made.filename == "artstore-files-20261122-120000-first-3.csv"
    assert len(list(made.lines)) == 1 + 3
    settings.ARTSTORE_EXPORT_FILES = 4
    whole = exporting.export(SearchQuery(), make.principal(), NOW)
    assert (whole.is_cut, whole.filename) == (False, "artstore-files-20261122-120000.csv")
    assert len(list(whole.lines)) == 1 + 4


def test_an_empty_result_is_a_heading() -> None:
    assert rows(query="nothing is called this") == []


def test_a_search_that_makes_no_sense_is_refused_before_the_first_line() -> None:
    with pytest.raises(ArtStoreError, match="not valid"):
        exporting.export(SearchQuery(sort_by=SortBy.RELEVANCE), make.principal(), NOW)
