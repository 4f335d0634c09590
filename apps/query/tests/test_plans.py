"""At 100 000 rows every search mode and filter is answered from an index."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker

from apps.query import search, statements
from apps.query.asking import SearchMode, SearchQuery, SortBy
from apps.query.tests import asked
from apps.query.tests.made_records import make_records
from apps.registry.tests import make

# The records are made once, below each test's own transaction.
pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
ROWS = 100_000


@pytest.fixture(scope="module")
def many_records(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Made once for the module, in a transaction that is never committed."""
    with django_db_blocker.unblock(), transaction.atomic():
        elements = [make.element(storage_id).pk for storage_id in asked.ELEMENTS]
        make_records(ROWS, elements)
        yield
        transaction.set_rollback(True)


FULL = SearchMode.FULLTEXT


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes_of(inner)


@pytest.mark.parametrize("kind", asked.ASKED)
def test_no_search_scans_the_table(many_records: None, kind: str) -> None:
    plans = search.plans(asked.query(kind, 1), NOW, options=", ANALYZE")
    for plan in plans.values():
        scans = [node for node in nodes_of(plan) if node["Node Type"] == "Seq Scan"]
        assert scans == []
        # A page reads rows in proportion to the page, or to what matches, not to the table.
        wasted = sum(node.get("Rows Removed by Filter", 0) for node in nodes_of(plan))
        assert wasted < ROWS / 4, plan


def test_two_letters_that_match_nothing_read_nothing(many_records: None) -> None:
    """A two-letter substring that matches nothing once scanned for 1.5 s."""
    plans = search.plans(SearchQuery(query="qq"), NOW, options=", ANALYZE")
    assert sum(node.get("Rows Removed by Filter", 0) for node in nodes_of(plans["page"])) < 100


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
    page = search.run(SearchQuery(query="report", mode=FULL, limit=1000), NOW)
    assert len(page.hits) == statements.RANKED_FILES
    assert page.total > statements.RANKED_FILES
    newest = search.run(
        SearchQuery(query="report", mode=FULL, limit=1000, sort_by=SortBy.UPLOADED_AT), NOW
    )
    assert {hit.record.file_id for hit in page.hits} == {hit.record.file_id for hit in newest.hits}


def test_a_search_that_takes_too_long_is_stopped(many_records: None, settings: Any) -> None:
    settings.ARTSTORE_SEARCH_TIMEOUT_SECONDS = 0.001
    with pytest.raises(Exception, match="longer than") as stopped:
        search.run(SearchQuery(query="report", mode=FULL, limit=1000), NOW)
    assert stopped.value.status == 503
