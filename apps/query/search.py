"""Finding files: one page of hits, and how many there are.

What would cost too much is bounded: totals are counted up to 10 000 and estimated by the planner
beyond, relevance ranks the newest 1000 matches, a search that runs too long is stopped. Knows no
request; `asking.SearchQuery` holds plain values.
"""

import contextlib
import dataclasses
import datetime as dt
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.conf import settings
from django.contrib.postgres.search import SearchRank
from django.core.exceptions import ValidationError as MalformedValue
from django.db import OperationalError, connection, transaction
from django.db.models import F, Func, Q, QuerySet
from django.db.models.expressions import OrderBy
from django.utils.translation import gettext as _
from psycopg.errors import QueryCanceled

from apps.query import conditions, metrics
from apps.query.asking import SearchQuery, SortBy
from apps.query.errors import SearchTimedOut
from apps.registry.models import FileRecord, FileRecordQuerySet
from artstore import database, paging

T = TypeVar("T")
Column = Callable[[str], Any]
# What PostgreSQL cannot even be asked about.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
EXACT_TOTAL = 10_000
RANKED_FILES = 1000
_SETTINGS = (
    # Compiling a plan costs more than running one of ours.
    ("jit", "off"),
    # Each condition has its index, and a planner that hopes to find enough rows soon would
    # otherwise scan the table for a page.
    ("enable_seqscan", "off"),
    # What matches is kept row by row: kept by the page, every row in it would be tried again.
    ("work_mem", "'64MB'"),
    # What is searched is mostly in memory: a row more costs less than an entry of a further index,
    # and a count need not read the whole of one.
    ("seq_page_cost", "0.1"),
    ("random_page_cost", "0.15"),
    # One search is not worth every core; others are searching too.
    ("max_parallel_workers_per_gather", "0"),
)
# A page read in order is soon full; see `_soonest`.
HOPED_SECONDS = 1.0
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


@contextlib.contextmanager
def within_limits(seconds: float = math.inf) -> Iterator[None]:
    """A transaction with a search's limits; `SearchTimedOut` when it was stopped by them."""
    most = min(seconds, settings.ARTSTORE_SEARCH_TIMEOUT_SECONDS)
    try:
        with transaction.atomic():
            _set_limits(most)
            yield
    except OperationalError as failure:
        if isinstance(failure.__cause__, QueryCanceled):
            raise SearchTimedOut(
                _("The search was stopped: it took longer than %(n)s seconds. Narrow it.")
                % {"n": most}
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


def _set_limits(seconds: float) -> None:
    """How a search runs: not long, not compiled, and not through the whole table."""
    limits = (("statement_timeout", max(1, int(seconds * 1000))), *_SETTINGS)
    with connection.cursor() as cursor:
        cursor.execute("; ".join(f"SET LOCAL {name} = {value}" for name, value in limits))


def plans(query: SearchQuery, now: dt.datetime, **options: Any) -> dict[str, str]:
    """How PostgreSQL answers the count and the page, for whoever wants to look."""
    with within_limits():
        total = _up_to(conditions.matches(query, now), EXACT_TOTAL + 1).explain(**options)
    return {"total": total, "page": _soonest(query, now, lambda rows: rows.explain(**options))}


def page(query: SearchQuery, now: dt.datetime) -> list[FileRecord]:
    """The page and one row more, which tells whether it is the last."""
    return _soonest(query, now, list)


def _soonest(query: SearchQuery, now: dt.datetime, read: Callable[[QuerySet[FileRecord]], T]) -> T:
    """`read` the page as the planner sees fit, which is nearly always soon.

    It takes what matches to be spread evenly over the order. Where all of it stands at the far end,
    reading in order until the page is full goes through most of the table; then everything that
    matches is read whole instead and sorted.
    """
    in_order = _page_rows(query, now, F)
    if conditions.match_in_order(query):
        with within_limits():
            return read(in_order)
    with contextlib.suppress(SearchTimedOut), within_limits(HOPED_SECONDS):
        return read(in_order)
    with within_limits():
        return read(_page_rows(query, now, _unindexed))


def _unindexed(column: str) -> Func:
    """The column as no index has it, so that nothing is read in its order."""
    return Func(F(column), template="COALESCE(%(expressions)s, %(expressions)s)")


def walk(query: SearchQuery, most: int, now: dt.datetime) -> Iterator[FileRecord]:
    """The first `most` files in the query's order, read page by page; not by relevance.

    Holds no connection between two pages, so a slow reader costs nobody else one.
    """
    step = dataclasses.replace(query, limit=WALKED_FILES)
    while most > 0:
        rows = page(step, now)
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
    rows = page(query, now)
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


def _page_rows(query: SearchQuery, now: dt.datetime, column: Column) -> QuerySet[FileRecord]:
    if query.sort is SortBy.RELEVANCE:
        newest = [column("uploaded_at").desc(), F("file_id").desc()]
        # In one part: words are looked up once, and what has them is not read in an index's order.
        found = _first([conditions.matches(query, now)], newest, RANKED_FILES)
    else:
        parts = conditions.alternatives(query, now)
        if query.cursor is not None:
            parts = [_after(query, part) for part in parts]
        end = query.offset + query.limit + 1
        # The order by name holds all that names are looked through by: nothing else is read of
        # the rows that are passed over, if only ids are asked for.
        together = len(parts) == 1 and query.sort is not SortBy.ORIGINAL_FILENAME
        found = parts[0] if together else _first(parts, _order(query, column), end)
    if query.is_ranked:
        found = found.annotate(relevance=SearchRank(F("search_vector"), conditions.tsquery(query)))
    rows = found.defer("search_vector").order_by(*_order(query, column))
    return rows[query.offset : query.offset + query.limit + 1]


def _order(query: SearchQuery, column: Column) -> list[OrderBy]:
    """Every order ends with the id, so that it is total."""
    ranked = query.sort is SortBy.RELEVANCE
    by = [F("file_id")] if ranked else [column(_sorted_by(query)), F("file_id")]
    order = [one.desc() if query.descending else one.asc() for one in by]
    if not ranked:
        return order
    first = F("relevance").desc() if query.descending else F("relevance").asc()
    return [first, F("uploaded_at").desc(), *order]


def _sorted_by(query: SearchQuery) -> str:
    """The column behind an order: names are ordered without regard to case."""
    return "name_key" if query.sort is SortBy.ORIGINAL_FILENAME else str(query.sort)


def _first(
    parts: Sequence[FileRecordQuerySet], order: Sequence[OrderBy], files: int
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
    name, (value, file_id) = _sorted_by(query), values[2:]
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
    value: Any = getattr(last, _sorted_by(query))
    return paging.encode_cursor([str(query.sort), query.descending, value, last.file_id])


def _total(
    query: SearchQuery, found: FileRecordQuerySet, rows: int, more: bool
) -> tuple[int, bool]:
    """How many files match, and whether that is an estimate."""
    ended = not more and (rows or not query.offset) and query.cursor is None
    if ended and query.sort is not SortBy.RELEVANCE:
        return query.offset + rows, False
    with within_limits():
        counted = _up_to(found, EXACT_TOTAL + 1).count()
        if counted <= EXACT_TOTAL:
            return counted, False
        return max(counted, _estimated(found)), True


def _estimated(found: FileRecordQuerySet) -> int:
    """By the planner, within a few per cent where there are many."""
    plan = found.order_by().values("pk").explain(format="json")
    return int(json.loads(plan)[0]["Plan"]["Plan Rows"])
