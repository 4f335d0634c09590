"""The page envelope: `limit` with `offset` or an opaque `cursor`, over a total order.

A view names its order in `page_order`, most significant first, unique last; every list then pages
without repeating or skipping an unchanged row. Values out of range are errors, never clamped.
"""

import base64
import binascii
import datetime as dt
import json
import uuid
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError as MalformedValue
from django.db.models import Model, Q, QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from artstore.errors import ValidationError
from artstore.moments import rfc3339

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
MAX_OFFSET = 10_000


def encode_cursor(values: Sequence[Any]) -> str:
    """Opaque text for the last row's order values."""
    raw = json.dumps([_plain(value) for value in values], separators=(",", ":"))
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, length: int) -> list[Any]:
    """The order values a cursor stands for; `ValidationError` when it is not one of ours."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError) as failure:
        raise bad_parameter("cursor", "This is not a cursor this list gave out.") from failure
    if not isinstance(values, list) or len(values) != length:
        raise bad_parameter("cursor", "This cursor belongs to a list in another order.")
    if not all(_is_storable(value) for value in values):
        raise bad_parameter("cursor", "This is not a cursor this list gave out.")
    return values


def _is_storable(value: Any) -> bool:
    """Whether PostgreSQL can compare with it: no NUL, no half of a surrogate pair, no structure."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    return isinstance(value, int | float)


def bad_parameter(name: str, message: str) -> ValidationError:
    return ValidationError(
        "The list was not read because a query parameter is not valid.", details={name: [message]}
    )


def integer_parameter(text: str | None, name: str, default: int, bounds: tuple[int, int]) -> int:
    """A decimal integer within `bounds`, both inclusive."""
    if text is None:
        return default
    low, high = bounds
    if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
        hint = " Use `cursor` to read further." if name == "offset" else ""
        raise bad_parameter(name, f"Must be a whole number from {low} to {high}.{hint}")
    return int(text)


class EnvelopePagination(BasePagination):
    """DRF's paging door onto the envelope; a view may override `page_order` and `page_total`."""

    limit: int
    offset: int
    total: int
    next_cursor: str | None

    def paginate_queryset(  # type: ignore[override]  # our lists are querysets, never plain sequences
        self, queryset: QuerySet[Any, Any], request: Request, view: APIView | None = None
    ) -> list[Any]:
        order: Sequence[str] = getattr(view, "page_order", ("pk",))
        params = request.query_params
        self.limit = integer_parameter(params.get("limit"), "limit", DEFAULT_LIMIT, (1, MAX_LIMIT))
        cursor = params.get("cursor")
        if cursor is not None and "offset" in params:
            raise bad_parameter("cursor", "Give `cursor` or `offset`, not both.")
        self.offset = integer_parameter(params.get("offset"), "offset", 0, (0, MAX_OFFSET))
        self.total = queryset.count()
        rows = queryset.order_by(*order)
        if cursor is not None:
            rows = _after(rows, order, decode_cursor(cursor, len(order)))
        found = list(rows[self.offset : self.offset + self.limit + 1])
        page = found[: self.limit]
        more = len(found) > self.limit
        self.next_cursor = encode_cursor(_order_values(page[-1], order)) if more else None
        return page

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {
                "items": data,
                "total": self.total,
                "limit": self.limit,
                "offset": self.offset,
                "has_more": self.next_cursor is not None,
                "next_cursor": self.next_cursor,
            }
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["items", "total", "limit", "offset", "has_more", "next_cursor"],
            "properties": {
                "items": {"type": "array", "items": schema},
                "total": {"type": "integer"},
                "total_is_estimate": {"type": "boolean"},
                "limit": {"type": "integer"},
                "offset": {"type": "integer"},
                "has_more": {"type": "boolean"},
                "next_cursor": {"type": "string", "nullable": True},
            },
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:  # noqa: ARG002 - DRF's signature
        def parameter(name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
            return {
                "name": name,
                "in": "query",
                "required": False,
                "description": text,
                "schema": schema,
            }

        limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
        offset = {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0}
        return [
            parameter("limit", limit, "Rows in one page."),
            parameter("offset", offset, "Rows to pass over; `cursor` reads further."),
            parameter("cursor", {"type": "string"}, "`next_cursor` of the page before."),
        ]


def _order_values(row: Model, order: Sequence[str]) -> list[Any]:
    return [getattr(row, name.lstrip("-")) for name in order]


def _after(rows: QuerySet[Any], order: Sequence[str], values: Sequence[Any]) -> QuerySet[Any]:
    """Rows strictly after `values`: a<x or (a=x and b<y) or ..., each direction by its sign."""
    condition = Q()
    equal = Q()
    for name, value in zip(order, values, strict=True):
        column = name.lstrip("-")
        step = "lt" if name.startswith("-") else "gt"
        condition |= equal & Q(**{f"{column}__{step}": value})
        equal &= Q(**{column: value})
    try:
        return rows.filter(condition)
    except (ValueError, TypeError, OverflowError, MalformedValue) as failure:
        raise bad_parameter("cursor", "This is not a cursor this list gave out.") from failure


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return rfc3339(value)
    return str(value) if isinstance(value, uuid.UUID) else value
