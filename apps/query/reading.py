"""How a search reaches PostgreSQL: its limits and its statement in one message, and rows made into records.

Outside a transaction such a message is one by itself, and the limits end with it.
"""

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.utils.translation import gettext as _
from psycopg.errors import QueryCanceled
from psycopg.types.datetime import TimestamptzLoader

from apps.query.errors import SearchTimedOut
from apps.query.sql import Sql
from apps.query.statements import COLUMNS
from apps.registry.models import FileRecord

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
    # In a bitmap an entry is a good part of a row: what is common is sooner looked at in the rows.
    ("cpu_index_tuple_cost", "0.0125"),
    # One search is not worth every core; others are searching too.
    ("max_parallel_workers_per_gather", "0"),
)
_NAMES = frozenset(COLUMNS)
_METADATA = COLUMNS.index("metadata")


def rows(statement: Sql, seconds: float = math.inf) -> list[tuple[Any, ...]]:
    """What the statement finds; `SearchTimedOut` when it took longer than that or than any search may."""
    most = min(seconds, settings.ARTSTORE_SEARCH_TIMEOUT_SECONDS)
    limits = (("statement_timeout", max(1, int(most * 1000))), *_SETTINGS)
    preamble = "".join(f"SET LOCAL {name} = {value}; " for name, value in limits)
    with _stoppable(most), connection.cursor() as cursor:
        # Django's own is written in Python, and would take as long as all else about a page.
        cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
        cursor.execute(preamble + statement.text, statement.values)
        cursor.set_result(-1)
        return list(cursor.fetchall())


@contextlib.contextmanager
def _stoppable(seconds: float) -> Iterator[None]:
    alone = contextlib.nullcontext() if not connection.in_atomic_block else _undone()
    try:
        with alone:
            yield
    except OperationalError as failure:
        if isinstance(failure.__cause__, QueryCanceled):
            raise SearchTimedOut(
                _("The search was stopped: it took longer than %(n)s seconds. Narrow it.")
                % {"n": seconds}
            ) from failure
        raise


@contextlib.contextmanager
def _undone() -> Iterator[None]:
    """In somebody's transaction: it is whole after a search that was stopped, and has no search's limits."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def plan(statement: Sql, options: str = "", seconds: float = math.inf) -> dict[str, Any]:
    """How PostgreSQL goes about it, and with the option ANALYZE how it went."""
    explained = rows(statement.wrapped(f"EXPLAIN (FORMAT JSON{options}) ", ""), seconds)
    found: dict[str, Any] = explained[0][0][0]["Plan"]
    return found


def record(values: Sequence[Any]) -> FileRecord:
    """From the values of `COLUMNS`; what else a record has is read when it is asked for."""
    made = list(values)
    made[_METADATA] = json.loads(made[_METADATA])
    return FileRecord.from_db(connection.alias, _NAMES, made)
