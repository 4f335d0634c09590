"""From a search query to the statements that answer it: pages in their order, and counts.

A page is read in the order of an index until it is full, or, written `in_order=False`, everything
that matches is read and sorted. Runs nothing.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError as MalformedValue
from django.utils.translation import gettext as _

from apps.query import conditions
from apps.query.asking import SearchQuery, SortBy
from apps.query.sql import Sql, joined
from apps.registry.attributes import RECORD_COLUMNS
from apps.registry.models import FileRecord
from artstore import paging

EXACT_TOTAL = 10_000
RANKED_FILES = 1000
TABLE = FileRecord._meta.db_table
# What is read of a file, in the model's order: all that an answer shows, and what names are ordered by.
COLUMNS = tuple(
    field.attname
    for field in FileRecord._meta.concrete_fields
    if field.attname in {*RECORD_COLUMNS, "storage_element_id", "name_key"}
)
_COLUMNS = ", ".join(COLUMNS)
_RANK = "ts_rank(search_vector, "


def page(query: SearchQuery, now: dt.datetime, in_order: bool = True) -> Sql:
    """One page and one row more, which tells whether it is the last."""
    if query.sort is SortBy.RELEVANCE:
        return _ranked(query, now, in_order)
    parts = conditions.alternatives(query, now)
    if query.cursor is not None:
        parts = [joined(" AND ", [part, _after(query)]) for part in parts]
    order = _order(query, in_order)
    # The order by name holds all that names are looked through by: nothing else is read of
    # the rows that are passed over, if only ids are asked for.
    together = len(parts) == 1 and query.sort is not SortBy.ORIGINAL_FILENAME
    found = parts[0] if together else _heads(parts, order, query.offset + query.limit + 1)
    rows = joined("", [_shown(query), found.wrapped(f" FROM {TABLE} WHERE ", f" ORDER BY {order}")])
    return rows.wrapped("SELECT ", _window(query))


def ranked_with_total(query: SearchQuery, now: dt.datetime) -> Sql:
    """A page by relevance, each row behind the number of all that match: both are of one look-up.

    There is a row without a file where nothing matches, and where more do than are counted.
    """
    matches = conditions.matches(query, now)
    found = _select("file_id AS id, uploaded_at AS at", matches, f" LIMIT {EXACT_TOTAL + 1}")
    newest = (
        f"file_id IN (SELECT id FROM found WHERE (SELECT total FROM counted) <= {EXACT_TOTAL}"  # noqa: S608 - as above
        f" ORDER BY at DESC, id DESC LIMIT {RANKED_FILES})"
    )
    order = f" ORDER BY {_by_relevance(query)}"
    shown = _shown(query).wrapped("SELECT ", f" FROM {TABLE} WHERE {newest}{order}{_window(query)}")
    return joined(
        "",
        [
            found.wrapped("WITH found AS MATERIALIZED (", "), "),
            Sql("counted AS MATERIALIZED (SELECT count(*) AS total FROM found) "),
            shown.wrapped("SELECT total, hits.* FROM counted LEFT JOIN (", ") AS hits ON TRUE"),
            Sql(order),
        ],
    )


def count(query: SearchQuery, most: int, now: dt.datetime) -> Sql:
    """How many files match, or `most` when there are more."""
    parts = conditions.alternatives(query, now)
    if query.query or query.filename:
        # Words are looked up once.
        parts = [conditions.matches(query, now)]
    selected = [_select("file_id", part) for part in parts]
    found = joined(" UNION ALL ", selected).wrapped("", f" LIMIT {most}")
    return found.wrapped("SELECT count(*) FROM (", ") AS found")


def every(query: SearchQuery, now: dt.datetime) -> Sql:
    """All that matches: what the planner is asked about."""
    return _select("file_id", conditions.matches(query, now))


def cursor(query: SearchQuery, last: FileRecord) -> str:
    """Where the page after this row begins."""
    value: Any = getattr(last, _sorted_by(query))
    return paging.encode_cursor([str(query.sort), query.descending, value, last.file_id])


def _select(columns: str, condition: Sql, end: str = "") -> Sql:
    return condition.wrapped(f"SELECT {columns} FROM {TABLE} WHERE ", end)  # noqa: S608 - names of ours


def _shown(query: SearchQuery) -> Sql:
    if not query.is_ranked:
        return Sql(_COLUMNS)
    return conditions.tsquery(query).wrapped(f"{_COLUMNS}, {_RANK}", ") AS relevance")


def _window(query: SearchQuery) -> str:
    return f" LIMIT {query.limit + 1} OFFSET {query.offset}"


def _ranked(query: SearchQuery, now: dt.datetime, in_order: bool) -> Sql:
    """The newest are ranked; the rest of each row is read only of those on the page."""
    newest = f" ORDER BY {_column('uploaded_at', in_order)} DESC, file_id DESC LIMIT {RANKED_FILES}"
    found = _select("file_id, uploaded_at, search_vector", conditions.matches(query, now), newest)
    rank = conditions.tsquery(query).wrapped(f"SELECT file_id AS id, {_RANK}", ") AS relevance")
    order = f" ORDER BY {_by_relevance(query)}"
    best = joined("", [rank, found.wrapped(" FROM (", f") AS newest{order}{_window(query)}")])
    shown = f"SELECT {_COLUMNS}, relevance FROM ("  # noqa: S608 - names of ours
    return best.wrapped(shown, f") AS best JOIN {TABLE} ON file_id = id{order}")


def _by_relevance(query: SearchQuery) -> str:
    """Every order ends with the id, so that it is total."""
    way = "DESC" if query.descending else "ASC"
    return f"relevance {way}, uploaded_at DESC, file_id {way}"


def _order(query: SearchQuery, in_order: bool) -> str:
    """As `_by_relevance`."""
    way = "DESC" if query.descending else "ASC"
    return f"{_column(_sorted_by(query), in_order)} {way}, file_id {way}"


def _column(name: str, in_order: bool) -> str:
    """The column; else as no index has it, so that nothing is read in its order."""
    return name if in_order else f"COALESCE({name}, {name})"


def _sorted_by(query: SearchQuery) -> str:
    """The column behind an order: names are ordered without regard to case."""
    return "name_key" if query.sort is SortBy.ORIGINAL_FILENAME else str(query.sort)


def _heads(parts: Sequence[Sql], order: str, files: int) -> Sql:
    """So many from the head of each part, each read in order from its own index."""
    end = f" ORDER BY {order} LIMIT {files})"
    heads = [_select("file_id", part, end).wrapped("(", "") for part in parts]
    return joined(" UNION ALL ", heads).wrapped("file_id IN (", ")")


def _after(query: SearchQuery) -> Sql:
    """Rows behind the cursor. Written so that the first comparison can bound an index scan."""
    order = str(query.sort_by or query.sort), query.descending
    values = paging.decode_cursor(query.cursor or "", 4)
    if (values[0], values[1]) != order:
        raise paging.bad_parameter("cursor", _("This cursor belongs to a search in another order."))
    step = "<" if query.descending else ">"
    name, (value, file_id) = _sorted_by(query), values[2:]
    try:
        value, file_id = _as_stored(name, value), _as_stored("file_id", file_id)
    except (ValueError, TypeError, OverflowError, MalformedValue) as failure:
        raise paging.bad_parameter(
            "cursor", _("This is not a cursor this search gave out.")
        ) from failure
    behind = f"{name} {step}= %s AND ({name} {step} %s OR file_id {step} %s)"
    return Sql(behind, (value, value, file_id))


def _as_stored(column: str, value: Any) -> Any:
    field: Any = FileRecord._meta.get_field(column)
    field = getattr(field, "output_field", field)
    return field.get_prep_value(field.to_python(value))
