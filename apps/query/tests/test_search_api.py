"""The search's REST door: what it takes, what it refuses, and what it shows."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.query.tests.made_files import stored
from apps.registry.tests import make

pytestmark = pytest.mark.django_db


@pytest.fixture
def ask(client: Client, service_token: Callable[..., str]) -> Callable[..., Any]:
    """POST a search as a service account that may read files."""
    token = service_token("files:read")

    def post(**body: Any) -> Any:
        headers = {"authorization": f"Bearer {token}"}
        return client.post("/api/v1/search", body, "application/json", headers=headers)

    return post


def test_a_page_of_files_is_answered(ask: Callable[..., Any]) -> None:
    record = stored("отчёт.pdf", storage_element=make.element())
    page = ask(query="ОТЧ").json()
    [item] = page.pop("items")
    assert page == {
        "total": 1,
        "limit": 100,
        "offset": 0,
        "has_more": False,
        "next_cursor": None,
    }
    assert item["file_id"] == str(record.file_id)
    assert "relevance" not in item
    assert "storage_element_id" not in item
    [ranked] = ask(query="отчёты", mode="fulltext").json()["items"]
    assert ranked["relevance"] > 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"query": "a\0b"}, "query"),
        ({"query": "\ud800"}, "query"),
        ({"query": "x" * 501}, "query"),
        ({"query": ["a"]}, "query"),
        ({"query": "x", "mode": "regex"}, "mode"),
        ({"filename": "a\0"}, "filename"),
        ({"file_extension": "p" * 34}, "file_extension"),
        ({"tags": "a"}, "tags"),
        ({"tags": ["a"] * 51}, "tags"),
        ({"tags": ["x" * 65]}, "tags.0"),
        ({"tags": ["\0"]}, "tags.0"),
        ({"metadata": [1]}, "metadata"),
        ({"metadata": {"a": "\0"}}, "metadata"),
        ({"metadata": {"a": "x" * 13_000}}, "metadata"),
        ({"retention_policy": "forever"}, "retention_policy"),
        ({"status": "uploading"}, "status"),
        ({"min_size": -1}, "min_size"),
        ({"max_size": 2**63}, "max_size"),
        ({"min_size": 2, "max_size": 1}, "min_size"),
        ({"uploaded_after": "yesterday"}, "uploaded_after"),
        ({"checksum": "abc"}, "checksum"),
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"offset": 10_001}, "offset"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"sort_by": "colour"}, "sort_by"),
        ({"sort_order": "up"}, "sort_order"),
        ({"sort_by": "relevance"}, "sort_by"),
        ({"storage_element_id": "x"}, "storage_element_id"),
        ({"regex": "x"}, "regex"),
    ],
)
def test_what_makes_no_sense_is_refused_and_the_field_is_named(
    ask: Callable[..., Any], body: dict[str, Any], field: str
) -> None:
    answer = ask(**body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "VALIDATION_ERROR"
    assert list(error["details"]) == [field]
    assert all(error["details"][field])


@pytest.mark.parametrize(
    "query",
    ["", "   ", "the", "и в на", '"', '""', "-", "--", "& | ! ( ) : *", "' or 1=1 --", "\\", "or"],
)
@pytest.mark.parametrize("mode", ["exact", "partial", "fulltext"])
def test_what_holds_no_word_is_answered_not_failed(
    ask: Callable[..., Any], query: str, mode: str
) -> None:
    stored("plain.txt")
    assert ask(query=query, mode=mode).status_code == 200


def test_a_query_of_stop_words_alone_finds_nothing_and_one_beside_a_word_is_passed_over(
    ask: Callable[..., Any],
) -> None:
    stored("report of the day.txt")
    assert ask(query="the", mode="fulltext").json()["total"] == 0
    assert ask(query="the report", mode="fulltext").json()["total"] == 1


def test_a_query_of_forbidden_words_alone_finds_the_files_without_them(
    ask: Callable[..., Any],
) -> None:
    stored("report draft.txt")
    stored("report final.txt")
    page = ask(query="-draft", mode="fulltext").json()
    assert [item["original_filename"] for item in page["items"]] == ["report final.txt"]


def test_the_longest_query_is_answered(ask: Callable[..., Any]) -> None:
    stored("plain.txt")
    for text in ("x" * 500, "я " * 250, "-я " * 166, '"я" ' * 125, "а or " * 100, "AB-1/" * 100):
        for mode in ("exact", "partial", "fulltext"):
            assert ask(query=text, mode=mode).status_code == 200


def test_a_file_past_its_time_is_shown_as_what_it_is_found_as(ask: Callable[..., Any]) -> None:
    past = timezone.now() - dt.timedelta(seconds=1)
    stored("late.bin", expires_at=past, retention_policy="temporary")
    assert ask().json()["items"] == []
    [item] = ask(status="expired").json()["items"]
    assert (item["original_filename"], item["status"]) == ("late.bin", "expired")


def test_the_list_and_the_file_itself_say_the_same_of_a_file_past_its_time(
    client: Client, service_token: Callable[..., str]
) -> None:
    past = timezone.now() - dt.timedelta(seconds=1)
    late = stored("late.bin", expires_at=past, retention_policy="temporary")
    headers = {"authorization": f"Bearer {service_token('files:read')}"}

    def get(path: str) -> Any:
        return client.get(f"/api/v1/{path}", headers=headers).json()

    assert get(f"files/{late.file_id}")["status"] == "expired"
    assert [item["status"] for item in get("files?status=expired")["items"]] == ["expired"]
    assert get("files?status=active")["items"] == []


def test_a_search_stopped_by_its_limit_says_so(ask: Callable[..., Any], settings: Any) -> None:
    settings.ARTSTORE_SEARCH_TIMEOUT_SECONDS = 0.001
    for number in range(300):
        stored(f"{number}.bin", description="turbine " * 120)
    answer = ask(query="turbine or pump or valve", mode="fulltext", limit=1000)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "SEARCH_TIMEOUT"
    assert "Narrow it" in answer.json()["error"]["message"]
