"""At 100 000 rows every search mode and filter is answered from an index."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker

from apps.query import search
from apps.query.asking import SearchMode, SearchQuery, SortBy, SortOrder
from apps.query.tests.made_records import make_records

# The records are made once, below each test's own transaction.
pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
ROWS = 100_000


@pytest.fixture(scope="module")
def many_records(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Made once for the module, in a transaction that is never committed."""
    with django_db_blocker.unblock(), transaction.atomic():
        make_records(ROWS)
        yield
        transaction.set_rollback(True)


FULL = SearchMode.FULLTEXT
ASKED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "exact": {"query": "Annual_report-2026.pdf", "mode": SearchMode.EXACT},
    "partial": {"query": "турб"},
    "partial three letters": {"query": "rep"},
    "partial common": {"query": "report"},
    "partial absent": {"query": "qqzzxx"},
    "partial two letters": {"query": "re"},
    "partial two letters absent": {"query": "qq"},
    "partial one letter": {"query": "о"},
    "fulltext rare": {"query": "AB-1235", "mode": FULL},
    "fulltext common": {"query": "report", "mode": FULL},
    "fulltext russian": {"query": "годовые отчеты", "mode": FULL},
    "fulltext by time": {"query": "report", "mode": FULL, "sort_by": SortBy.UPLOADED_AT},
    "fulltext none": {"query": "unheardof", "mode": FULL},
    "filename": {"filename": "клап"},
    "extension": {"file_extension": "parquet"},
    "extension absent": {"file_extension": "nope"},
    "tags": {"tags": ("common",)},
    "tags rare": {"tags": ("AB-1234",)},
    "tags absent": {"tags": ("nope",)},
    "metadata": {"metadata": {"project": "p77"}},
    "metadata nested": {"metadata": {"nested": {"ok": True}}},
    "metadata absent": {"metadata": {"project": "nope"}},
    "uploader": {"uploaded_by": "sa_1"},
    "uploader rare": {"uploaded_by": "sa_1999"},
    "uploader absent": {"uploaded_by": "sa_nope"},
    "retention": {"retention_policy": "permanent"},
    "expired": {"status": "expired"},
    "deleted": {"status": "deleted"},
    "size": {"min_size": 1000, "max_size": 100_000},
    "size open": {"min_size": 999_999_000},
    "time": {"uploaded_after": dt.datetime(2026, 10, 30, tzinfo=dt.UTC)},
    "time long ago": {"uploaded_before": dt.datetime(2000, 1, 1, tzinfo=dt.UTC)},
    "type": {"content_type": "image/png"},
    "type absent": {"content_type": "image/none"},
    "checksum": {"checksum": "0" * 64},
    "by name": {"sort_by": SortBy.ORIGINAL_FILENAME},
    "by name backwards": {"sort_by": SortBy.ORIGINAL_FILENAME, "sort_order": SortOrder.DESC},
    "by size": {"sort_by": SortBy.SIZE, "sort_order": SortOrder.ASC},
    "several": {"query": "отчёт", "mode": FULL, "tags": ("common",), "content_type": "image/png"},
}


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes_of(inner)


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("part", ["page", "total"])
def test_no_search_scans_the_table(many_records: None, name: str, part: str) -> None:
    with transaction.atomic():
        search.set_limits()
        statement = search.statements(SearchQuery(**ASKED[name], limit=50), NOW)[part]
        plan = json.loads(statement.explain(format="json", analyze=True))[0]["Plan"]
    scans = [node for node in nodes_of(plan) if node["Node Type"] == "Seq Scan"]
    assert scans == []
    # A page reads rows in proportion to the page, or to what matches, not to the table.
    wasted = sum(node.get("Rows Removed by Filter", 0) for node in nodes_of(plan))
    assert wasted < ROWS / 4, plan


def test_two_letters_that_match_nothing_read_nothing(many_records: None) -> None:
    """A two-letter substring that matches nothing once scanned for 1.5 s."""
    statement = search.statements(SearchQuery(query="qq"), NOW)["page"]
    with transaction.atomic():
        search.set_limits()
        plan = json.loads(statement.explain(format="json", analyze=True))[0]["Plan"]
    assert sum(node.get("Rows Removed by Filter", 0) for node in nodes_of(plan)) < 100


def test_totals_are_exact_up_to_ten_thousand_and_estimated_beyond(many_records: None) -> None:
    few = search.run(SearchQuery(metadata={"project": "p77"}, limit=5), NOW)
    assert (few.total, few.total_is_estimate) == (few_by_hand(), False)
    many = search.run(SearchQuery(limit=5), NOW)
    assert many.total_is_estimate
    assert many.total == pytest.approx(ROWS * 0.9, rel=0.1)


def few_by_hand() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "select count(*) from registry_filerecord"
            " where status = 'active' and metadata ->> 'project' = 'p77'"
        )
        return int(cursor.fetchone()[0])


def test_relevance_ranks_only_the_newest_thousand(many_records: None) -> None:
    asked = SearchQuery(query="report", mode=FULL, limit=1000)
    page = search.run(asked, NOW)
    assert len(page.hits) == search.RANKED_FILES
    assert page.total > search.RANKED_FILES
    newest = search.run(
        SearchQuery(query="report", mode=FULL, limit=1000, sort_by=SortBy.UPLOADED_AT), NOW
    )
    assert {hit.record.file_id for hit in page.hits} == {hit.record.file_id for hit in newest.hits}


def test_a_search_that_takes_too_long_is_stopped(many_records: None, settings: Any) -> None:
    settings.ARTSTORE_SEARCH_TIMEOUT_SECONDS = 0.001
    with pytest.raises(Exception, match="longer than") as stopped:
        search.run(SearchQuery(query="report", mode=FULL, limit=1000), NOW)
    assert stopped.value.status == 503
