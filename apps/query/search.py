"""Finding files: one page of hits, and how many there are.

What would cost too much is bounded: totals are counted up to 10 000 and estimated by the planner
beyond, relevance ranks the newest 1000 matches, a search that runs too long is stopped. Knows no
request; `asking.SearchQuery` holds plain values.
"""

import contextlib
import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.utils.translation import gettext as _

from apps.query import conditions, metrics, reading, statements
from apps.query.asking import SearchQuery, SortBy
from apps.query.errors import SearchTimedOut
from apps.query.sql import Sql
from apps.registry.models import FileRecord
from artstore import database, paging

T = TypeVar("T")
Row = tuple[Any, ...]
# A page read in order is soon full; see `_soonest`.
HOPED_SECONDS = 0.25
# In one page of a walk through all matches.
WALKED_FILES = 1000


@dataclass(frozen=True, slots=True)
class Hit:
    """One file found. `relevance` only where the search ranks."""

    record: FileRecord
    relevance: float | None


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of hits, and how many there are in all."""

    hits: list[Hit]
    total: int
    total_is_estimate: bool
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None


def run(query: SearchQuery, now: dt.datetime) -> SearchPage:
    """The page of files that `query` asks for."""
    check_order(query)
    with metrics.timed_search(query.mode):
        return _page(query, now)


def check_order(query: SearchQuery) -> None:
    """Refuse an order that the rest of the query cannot have."""
    if query.sort is SortBy.RELEVANCE:
        if not query.is_ranked:
            raise paging.bad_parameter("sort_by", _("Only a fulltext query has a relevance."))
        if query.cursor is not None:
            raise paging.bad_parameter("cursor", _("An order by relevance is paged by offset."))
    if query.cursor is not None and query.offset:
        raise paging.bad_parameter("cursor", _("Give a cursor or an offset, not both."))


def plans(query: SearchQuery, now: dt.datetime, options: str = "") -> dict[str, dict[str, Any]]:
    """How PostgreSQL answers the count and the page, for whoever wants to look."""

    def explained(statement: Sql, *seconds: float) -> dict[str, Any]:
        return reading.plan(statement, options, *seconds)

    ranked = query.sort is SortBy.RELEVANCE
    total = statements.count(query, statements.EXACT_TOTAL + 1, now)
    if ranked:
        total = statements.ranked_with_total(query, now)
    return {"total": explained(total), "page": _soonest(query, now, explained)}


def page(query: SearchQuery, now: dt.datetime) -> list[Hit]:
    """The page and one hit more, which tells whether it is the last."""
    return _hits(_soonest(query, now, reading.rows))


def _soonest(query: SearchQuery, now: dt.datetime, read: Callable[..., T]) -> T:
    """`read` the page as the planner sees fit, which is nearly always soon.

    It takes what matches to be spread evenly over the order. Where all of it stands at the far end,
    reading in order until the page is full goes through most of the table; then everything that
    matches is read whole instead and sorted.
    """
    in_order = statements.page(query, now)
    if conditions.match_in_order(query):
        return read(in_order)
    with contextlib.suppress(SearchTimedOut):
        return read(in_order, HOPED_SECONDS)
    return read(statements.page(query, now, in_order=False))


def _hits(rows: Sequence[Row]) -> list[Hit]:
    """A relevance stands behind the columns of a record, where there is one."""
    width = len(statements.COLUMNS)
    return [Hit(reading.record(row[:width]), row[width] if row[width:] else None) for row in rows]


def walk(query: SearchQuery, most: int, now: dt.datetime) -> Iterator[FileRecord]:
    """The first `most` files in the query's order, read page by page; not by relevance.

    Holds no connection between two pages, so a slow reader costs nobody else one.
    """
    step = dataclasses.replace(query, limit=WALKED_FILES)
    while most > 0:
        records = [hit.record for hit in page(step, now)]
        database.release()
        yield from records[: min(step.limit, most)]
        most -= step.limit
        if len(records) <= step.limit:
            return
        last = records[step.limit - 1]
        step = dataclasses.replace(step, offset=0, cursor=statements.cursor(step, last))


def has_more_than(query: SearchQuery, files: int, now: dt.datetime) -> bool:
    """Whether more than so many files match."""
    return _counted(query, files + 1, now) > files


def _counted(query: SearchQuery, most: int, now: dt.datetime) -> int:
    [[counted]] = reading.rows(statements.count(query, most, now))
    return int(counted)


def _page(query: SearchQuery, now: dt.datetime) -> SearchPage:
    ranked = query.sort is SortBy.RELEVANCE
    hits, counted = _ranked(query, now) if ranked else (page(query, now), None)
    more = len(hits) > query.limit
    hits = hits[: query.limit]
    if counted is None:
        ended = not more and (hits or not query.offset) and query.cursor is None
        counted = (
            query.offset + len(hits) if ended else _counted(query, statements.EXACT_TOTAL + 1, now)
        )
    total, estimated = _total(query, counted, now)
    return SearchPage(
        hits=hits,
        total=total,
        total_is_estimate=estimated,
        limit=query.limit,
        offset=query.offset,
        has_more=more,
        next_cursor=statements.cursor(query, hits[-1].record) if more and not ranked else None,
    )


def _ranked(query: SearchQuery, now: dt.datetime) -> tuple[list[Hit], int]:
    """The page, and how many match up to one more than are counted.

    Many matches are not read whole to rank the newest, which an index has at its head.
    """
    rows = reading.rows(statements.ranked_with_total(query, now))
    counted = int(rows[0][0])
    if counted > statements.EXACT_TOTAL:
        return page(query, now), counted
    return _hits([row[1:] for row in rows if row[1] is not None]), counted


def _total(query: SearchQuery, counted: int, now: dt.datetime) -> tuple[int, bool]:
    """How many files match, and whether that is an estimate: by the planner, within a few per cent where there are many."""
    if counted <= statements.EXACT_TOTAL:
        return counted, False
    estimated = reading.plan(statements.every(query, now))["Plan Rows"]
    return max(counted, int(estimated)), True
