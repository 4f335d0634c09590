"""What the lists of the API can be asked: filters checked one by one, totals that cost little."""

import uuid
from collections.abc import Collection, Mapping
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.admin.permissions import Act, Bearer, require
from apps.registry import totals
from apps.registry.models import FileRecord, FileStatus, Retention
from artstore.paging import EnvelopePagination, bad_parameter

_PAGING = frozenset({"limit", "offset", "cursor"})
_VISIBLE = tuple(value for value in FileStatus.values if value != FileStatus.UPLOADING)
_LONGEST_NAME_CHARACTERS = 150


class BoundedPagination(EnvelopePagination):
    """Pages whose total is exact up to 10 000 rows and an estimate beyond."""

    is_estimate = False

    def paginate_queryset(
        self,
        queryset: QuerySet[Any],  # type: ignore[override]  # as in the class this extends
        request: Request,
        view: APIView | None = None,
    ) -> list[Any]:
        counted, self.is_estimate = totals.bounded_count(queryset)
        # The base class counts what it pages; the rows it gets know their count already.
        queryset.count = lambda: counted  # type: ignore[method-assign]
        return super().paginate_queryset(queryset, request, view)

    def get_paginated_response(self, data: Any) -> Response:
        response = super().get_paginated_response(data)
        if self.is_estimate:
            response.data["total_is_estimate"] = True
        return response


def files(given: Mapping[str, str], principal: Bearer) -> QuerySet[FileRecord]:
    """The visible records that match the query's filters."""
    known = {"status", "retention_policy", "storage_element_id", "uploaded_by"}
    values = parameters(given, known)
    found = FileRecord.objects.visible()
    if "status" in values:
        status = choice("status", values["status"], _VISIBLE)
        found = found.having_status(status, timezone.now())
    if "retention_policy" in values:
        policy = choice("retention_policy", values["retention_policy"], Retention.values)
        found = found.filter(retention_policy=policy)
    if "storage_element_id" in values:
        require(principal, Act.SEE_ELEMENT_ID)
        found = found.filter(storage_element_id=_uuid(values["storage_element_id"]))
    if "uploaded_by" in values:
        found = found.filter(uploaded_by=values["uploaded_by"][: _LONGEST_NAME_CHARACTERS + 1])
    return found


def parameters(given: Mapping[str, str], known: Collection[str]) -> dict[str, str]:
    """The filters that were given; anything unknown is an error, so that a typo filters nothing."""
    for name in given:
        if name not in known and name not in _PAGING:
            raise bad_parameter(name, "This list has no such parameter.")
    values = {name: given[name] for name in known if given.get(name)}
    for name, value in values.items():
        if "\x00" in value:
            raise bad_parameter(name, "Holds a character that cannot be stored.")
    return values


def choice(name: str, value: str, allowed: Collection[str]) -> str:
    if value not in allowed:
        raise bad_parameter(name, f"Must be one of {', '.join(allowed)}.")
    return value


def flag(given: Mapping[str, str], name: str) -> bool:
    """A boolean query parameter, false when it is not there."""
    value = given.get(name, "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise bad_parameter(name, "Must be true or false.")
    return value in ("true", "1")


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as failure:
        raise bad_parameter("storage_element_id", "Must be a UUID.") from failure
