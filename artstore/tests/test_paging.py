"""The page envelope: a total order, honest bounds, and cursors that cannot be made to misbehave."""

import base64
import contextlib
import json
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from apps.admin.models import AuditEvent
from artstore.errors import ValidationError
from artstore.paging import EnvelopePagination, decode_cursor, encode_cursor

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
VIEW = SimpleNamespace(page_order=("action", "event_id"))


def read(**params: Any) -> tuple[list[AuditEvent], dict[str, Any]]:
    pagination = EnvelopePagination()
    request = Request(APIRequestFactory().get("/", params))
    rows = pagination.paginate_queryset(AuditEvent.objects.filter(target="t"), request, VIEW)
    return rows, pagination.get_paginated_response([row.pk for row in rows]).data


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["cursor", "offset"])
def test_paging_shows_every_row_once_even_where_order_values_tie(how: str) -> None:
    from_action = ["a", "b", "b", "b", "c", "c"]
    AuditEvent.objects.bulk_create(
        [
            AuditEvent(action=action, target="t", actor="a", at=timezone.now())
            for action in from_action
        ]
    )
    seen: list[Any] = []
    params: dict[str, Any] = {"limit": 2}
    while True:
        rows, body = read(**params)
        seen += [row.pk for row in rows]
        assert body["total"] == 6
        if not body["has_more"]:
            break
        params[how] = body["next_cursor"] if how == "cursor" else len(seen)
    assert len(seen) == 6
    assert len(set(seen)) == 6


@pytest.mark.django_db
@pytest.mark.parametrize(
    "params",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "-1"},
        {"limit": "ten"},
        {"limit": "١٠"},
        {"offset": "10001"},
        {"offset": "-1"},
        {"offset": ""},
        {"cursor": "?"},
        {"cursor": "bm90IGpzb24", "offset": "0"},
        {"cursor": encode_cursor(["only one"])},
        {"cursor": encode_cursor(["a", "not-a-uuid"])},
    ],
)
def test_a_value_out_of_range_is_refused_never_clamped(params: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        read(**params)


@pytest.mark.django_db
def test_a_forged_cursor_is_refused_whatever_is_in_it() -> None:
    for values in (["a\0", 1], ["\ud800", 1], [None, 1], [["a"], 1], [{}, 1]):
        text = base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")
        with pytest.raises(ValidationError):
            read(cursor=text)


@given(st.lists(json_values, max_size=3))
def test_no_cursor_can_crash_the_reader(values: list[Any]) -> None:
    text = base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")
    with contextlib.suppress(ValidationError):
        assert len(decode_cursor(text, 2)) == 2
