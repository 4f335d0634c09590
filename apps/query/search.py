"""Finding files: one page of hits, and how many there are.

What would cost too much is bounded: totals are counted up to 10 000 and estimated by the planner
beyond, relevance ranks the newest 1000 matches, a search that runs too long is stopped. Knows no
request; `asking.SearchQuery` holds plain values.
"""

import contextlib
import dataclasses
import datetime as dt
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.postgres.search import SearchRank
from django.core.exceptions import ValidationError as MalformedValue
from django.db import OperationalError, connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext as _
from psycopg.errors import QueryCanceled

from apps.query import conditions, metrics
from apps.query.asking import SearchQuery, SortBy
from apps.query.errors import SearchTimedOut
from apps.registry.models import FileRecord, FileRecordQuerySet
from artstore import database, paging

# What PostgreSQL cannot even be asked about.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
EXACT_TOTAL = 10_000
RANKED_FILES = 1000
# In one page of a walk through all matches.
WALKED_FILES = 1000
NEWEST_FIRST = ("-uploaded_at", "-file_id")


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
    with metrics.timed_search(query.mode), within_limits():
        return _page(query, now)


@contextlib.contextmanager
def within_limits() -> Iterator[None]:
    """A transaction with a search's limits; `SearchTimedOut` when it was stopped by them."""
    try:
        with transaction.atomic():
            set_limits()
            yield
    except OperationalError as failure:
        if isinstance(failure.__cause__, QueryCanceled):
            raise SearchTimedOut(
                _("The search was stopped: it took longer than %(n)s seconds. Narrow it.")
                % {"n": settings.ARTSTORE_SEARCH_TIMEOUT_SECONDS}
            ) from failure
        raise


def check_order(query: SearchQuery) -> None:
    """Refuse an order that the rest of the query cannot have."""
    if query.sort is SortBy.RELEVANCE:
        if not query.is_ranked:
            raise paging.bad_parameter("sort_by", _("Only a fulltext query has a relevance."))
        if query.cursor is not None:
            raise paging.bad_parameter("cursor", _("An order by relevance is paged by offset."))
    if query.cursor is not None and query.offset:
        raise paging.bad_parameter("cursor", _("Give a cursor or an offset, not both."))


def set_limits() -> None:
    """How a search runs: not long, not compiled, and not through the whole table."""
    milliseconds = int(settings.ARTSTORE_SEARCH_TIMEOUT_SECONDS * 1000)
    with connection.cursor() as cursor:
        # Compiling a plan costs more than running one of ours. Each condition has its index, and
        # a planner that hopes to find enough rows soon would otherwise scan the table for a page.
        cursor.execute(
            f"SET LOCAL statement_timeout = {milliseconds};"
            "SET LOCAL jit = off; SET LOCAL enable_seqscan = off"
        )


def statements(query: SearchQuery, now: dt.datetime) -> dict[str, QuerySet[Any, Any]]:
    """The page and the count as they are sent to PostgreSQL, for whoever wants to see their plans."""
    found = conditions.matches(query, now)
    return {"page": _page_rows(query, now), "total": _up_to(found, EXACT_TOTAL + 1)}


def walk(query: SearchQuery, most: int, now: dt.datetime) -> Iterator[FileRecord]:
    """The first `most` files in the query's order, read page by page; not by relevance.

    Holds no connection between two pages, so a slow reader costs nobody else one.
    """
    step = dataclasses.replace(query, limit=WALKED_FILES)
    while most > 0:
        with within_limits():
            rows = list(_page_rows(step, now))
        database.release()
        yield from rows[: min(step.limit, most)]
        most -= step.limit
        if len(rows) <= step.limit:
            return
        step = dataclasses.replace(step, offset=0, cursor=_cursor(step, rows[step.limit - 1]))


def has_more_than(query: SearchQuery, files: int, now: dt.datetime) -> bool:
    """Whether more than so many files match."""
    with within_limits():
        return _up_to(conditions.matches(query, now), files + 1).count() > files


def _up_to(found: FileRecordQuerySet, files: int) -> QuerySet[Any, Any]:
    return found.order_by().values("pk")[:files]


def _page(query: SearchQuery, now: dt.datetime) -> SearchPage:
    rows = list(_page_rows(query, now))
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    found = conditions.matches(query, now)
    total, estimated = _total(query, found, len(rows), more)
    ranked = query.sort is SortBy.RELEVANCE
    return SearchPage(
        hits=[Hit(row, getattr(row, "relevance", None)) for row in rows],
        total=total,
        total_is_estimate=estimated,
        limit=query.limit,
        offset=query.offset,
        has_more=more,
        next_cursor=_cursor(query, rows[-1]) if more and not ranked else None,
    )


def _page_rows(query: SearchQuery, now: dt.datetime) -> QuerySet[FileRecord]:
    """The page and one row more, which tells whether it is the last."""
    parts = conditions.alternatives(query, now)
    if query.sort is SortBy.RELEVANCE:
        found = _first(parts, NEWEST_FIRST, RANKED_FILES)
        if len(parts) > 1:
            found = _first([found], NEWEST_FIRST, RANKED_FILES)
    else:
        if query.cursor is not None:
            parts = [_after(query, part) for part in parts]
        end = query.offset + query.limit + 1
        found = parts[0] if len(parts) == 1 else _first(parts, _order(query), end)
    if query.is_ranked:
        found = found.annotate(relevance=SearchRank(F("search_vector"), conditions.tsquery(query)))
    rows = found.defer("search_vector").order_by(*_order(query))
    return rows[query.offset : query.offset + query.limit + 1]


def _order(query: SearchQuery) -> list[str]:
    sign = "-" if query.descending else ""
    ties = ["-uploaded_at"] if query.sort is SortBy.RELEVANCE else []
    return [f"{sign}{query.sort}", *ties, f"{sign}file_id"]


def _first(
    parts: Sequence[FileRecordQuerySet], order: Sequence[str], files: int
) -> FileRecordQuerySet:
    """So many from the head of each part, each read in order from its own index."""
    heads = [part.order_by(*order).values("pk")[:files] for part in parts]
    together = heads[0].union(*heads[1:], all=True) if len(heads) > 1 else heads[0]
    return FileRecord.objects.filter(pk__in=together)


def _after(query: SearchQuery, found: FileRecordQuerySet) -> FileRecordQuerySet:
    """Rows behind the cursor. Written so that the first comparison can bound an index scan."""
    order = str(query.sort_by or query.sort), query.descending
    values = paging.decode_cursor(query.cursor or "", 4)
    if (values[0], values[1]) != order:
        raise paging.bad_parameter("cursor", _("This cursor belongs to a search in another order."))
    step = "lt" if query.descending else "gt"
    name, (value, file_id) = query.sort, values[2:]
    if isinstance(value, str) and _UNSTORABLE.search(value):
        raise paging.bad_parameter("cursor", _("This is not a cursor this search gave out."))
    try:
        return found.filter(
            Q(**{f"{name}__{step}e": value}),
            Q(**{f"{name}__{step}": value}) | Q(**{f"file_id__{step}": file_id}),
        )
    except (ValueError, TypeError, OverflowError, MalformedValue) as failure:
        raise paging.bad_parameter(
            "cursor", _("This is not a cursor this search gave out.")
        ) from failure


def _cursor(query: SearchQuery, last: FileRecord) -> str:
    value: Any = getattr(last, query.sort)
    return paging.encode_cursor([str(query.sort), query.descending, value, last.file_id])


def _total(
    query: SearchQuery, found: FileRecordQuerySet, rows: int, more: bool
) -> tuple[int, bool]:
    """How many files match, and whether that is an estimate."""
    ended = not more and (rows or not query.offset) and query.cursor is None
    if ended and query.sort is not SortBy.RELEVANCE:
        return query.offset + rows, False
    counted = found.order_by()[: EXACT_TOTAL + 1].count()
    if counted <= EXACT_TOTAL:
        return counted, False
    return max(counted, _planned_rows(found)), True


def _planned_rows(found: FileRecordQuerySet) -> int:
    """The planner's own estimate; within a few per cent where there are many."""
    plan = json.loads(found.order_by().values("pk").explain(format="json"))
    return int(plan[0]["Plan"]["Plan Rows"])
