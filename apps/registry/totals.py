"""How many rows a list has, at a price that does not grow with the table."""

import json
from typing import Any

from django.db.models import QuerySet

EXACT_ROWS = 10_000


def bounded_count(rows: QuerySet[Any]) -> tuple[int, bool]:
    """The count, and whether it is an estimate: exact up to 10 000, the planner's guess beyond."""
    counted = rows.order_by()[: EXACT_ROWS + 1].count()
    if counted <= EXACT_ROWS:
        return counted, False
    plan = json.loads(rows.order_by().values("pk").explain(format="json"))
    return max(counted, int(plan[0]["Plan"]["Plan Rows"])), True
