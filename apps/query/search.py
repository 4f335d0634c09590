"""Finding files: one page of hits, and how many there are.

What would cost too much is bounded: totals are counted up to 10 000 and estimated by the planner
beyond, relevance ranks the newest 1000 matches, a search that runs too long is stopped. Knows no
request; `asking.SearchQuery` holds plain values.
"""

import datetime as dt
import json
import re
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
from artstore import paging

# What PostgreSQL cannot even be asked about.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
EXACT_TOTAL = 10_000
RANKED_FILES = 1000


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
    _check_order(query)
    try:
        with metrics.timed_search(query.mode), transaction.atomic():
            set_limits()
            return _page(query, conditions.matches(query, now))
    except OperationalError as failure:
        if isinstance(failure.__cause__, QueryCanceled):
            raise SearchTimedOut(
                _("The search was stopped: it took longer than %(n)s seconds. Narrow it.")
                % {"n": settings.ARTSTORE_SEARCH_TIMEOUT_SECONDS}
            ) from failure
        raise


def _check_order(query: SearchQuery) -> None:
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
    page = _ordered(query, found)[query.offset : query.offset + query.limit + 1]
    return {"page": page, "total": found.order_by().values("pk")[: EXACT_TOTAL + 1]}


def _page(query: SearchQuery, found: FileRecordQuerySet) -> SearchPage:
    rows = list(_ordered(query, found)[query.offset : query.offset + query.limit + 1])
    more = len(rows) > query.limit
    rows = rows[: query.limit]
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


def _ordered(query: SearchQuery, found: FileRecordQuerySet) -> FileRecordQuerySet:
    if query.sort is SortBy.RELEVANCE:
        newest = found.order_by("-uploaded_at", "-file_id")[:RANKED_FILES]
        found = FileRecord.objects.filter(pk__in=newest.values("pk"))
    if query.is_ranked:
        rank = SearchRank(F("search_vector"), conditions.tsquery(query))
        found = found.annotate(relevance=rank)
    sign = "-" if query.descending else ""
    order = [f"{sign}{query.sort}", f"{sign}file_id"]
    if query.sort is SortBy.RELEVANCE:
        order[1:1] = ["-uploaded_at"]
    if query.cursor is not None:
        found = _after(query, found)
    return found.defer("search_vector").order_by(*order)


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
