"""What a node says of a file is believed field by field: each that would not fit a record is refused by name."""

import datetime as dt
import uuid
from typing import Any

import pytest

from apps.registry import attributes, errors, feed, listed
from apps.registry.answers import Answer, Identity
from apps.registry.attributes import AttributesInvalid, parse_file, parse_tombstone

GOOD: dict[str, Any] = {
    "file_id": "0b8f3f7e-5a51-4d5c-9a8b-2f6f0d9c1e11",
    "original_filename": "отчёт.pdf",
    "content_type": "application/pdf",
    "size": 0,
    "checksum": "0" * 64,
    "uploaded_by": "someone",
    "uploaded_at": "2026-11-22T12:00:00+03:00",
    "updated_at": "2026-11-22T12:00:00Z",
    "revision": 1,
    "description": None,
    "tags": ["a"],
    "metadata": {"k": [1]},
    "status": "active",
    "retention_policy": "temporary",
    "ttl_days": 1,
    "expires_at": "2026-11-23T12:00:00Z",
}


def test_a_sound_file_is_read_as_it_is_and_its_times_in_utc() -> None:
    found = parse_file(GOOD)
    assert found.file_id == uuid.UUID(GOOD["file_id"])
    assert found.uploaded_at == dt.datetime(2026, 11, 22, 9, tzinfo=dt.UTC)
    assert found.uploaded_at.utcoffset() == dt.timedelta(0)
    assert (found.tags, found.metadata, found.ttl_days) == (("a",), {"k": [1]}, 1)


def test_what_may_be_absent_is_absent() -> None:
    left_out = ("description", "tags", "metadata", "ttl_days", "expires_at")
    found = parse_file({name: value for name, value in GOOD.items() if name not in left_out})
    assert (found.description, found.tags, found.metadata) == (None, (), {})
    assert (found.ttl_days, found.expires_at) == (None, None)


def test_each_limit_is_the_last_value_that_fits() -> None:
    widest = {
        "original_filename": "я" * 255,
        "content_type": "t" * 255,
        "uploaded_by": "u" * 150,
        "description": "d" * 1000,
        "tags": ["t" * 64] * 50,
        "size": 2**63 - 1,
        "ttl_days": 365_000,
    }
    found = parse_file(GOOD | widest)
    assert (found.size, len(found.tags), found.ttl_days) == (2**63 - 1, 50, 365_000)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("file_id", None),
        ("file_id", "0b8f3f7e5a514d5c9a8b2f6f0d9c1e11"),
        ("file_id", "x" * 36),
        ("original_filename", ""),
        ("original_filename", 7),
        ("original_filename", "n" * 256),
        ("original_filename", "a\0b"),
        ("original_filename", "\ud800"),
        ("content_type", "t" * 256),
        ("uploaded_by", "u" * 151),
        ("size", -1),
        ("size", 2**63),
        ("size", 1.0),
        ("size", True),
        ("revision", 0),
        ("checksum", "A" * 64),
        ("checksum", "0" * 63),
        ("checksum", None),
        ("uploaded_at", None),
        ("uploaded_at", "yesterday"),
        ("uploaded_at", "2026-11-22T12:00:00"),
        ("updated_at", "0001-01-01T00:00:00+05:00"),
        ("description", 7),
        ("description", "d" * 1001),
        ("description", "\0"),
        ("tags", "a"),
        ("tags", ["t"] * 51),
        ("tags", ["t" * 65]),
        ("tags", [7]),
        ("tags", ["\0"]),
        ("metadata", []),
        ("metadata", {"k": float("nan")}),
        ("metadata", {"k": "\0"}),
        ("metadata", {"k": "\ud800"}),
        ("metadata", {"k": "x" * 2 * attributes.MAX_METADATA_BYTES}),
        ("status", "gone"),
        ("status", None),
        ("retention_policy", "for ever"),
        ("ttl_days", 0),
        ("ttl_days", 365_001),
        ("expires_at", "soon"),
    ],
)
def test_a_value_that_fits_no_record_is_refused_by_the_name_of_its_field(
    field: str, value: Any
) -> None:
    with pytest.raises(AttributesInvalid, match=f"^{field}: "):
        parse_file(GOOD | {field: value})


@pytest.mark.parametrize("item", [None, [], "text", GOOD | {"status": "damaged"}])
def test_what_is_no_sound_file_at_all_is_refused(item: Any) -> None:
    with pytest.raises(AttributesInvalid):
        parse_file(item)


def test_text_about_a_nul_is_no_nul() -> None:
    assert parse_file(GOOD | {"metadata": {"k": "\\u0000"}}).metadata == {"k": "\\u0000"}


@pytest.mark.parametrize("item", [None, [], {}, {"file_id": GOOD["file_id"], "status": "active"}])
def test_what_is_no_tombstone_is_refused(item: Any) -> None:
    with pytest.raises(AttributesInvalid):
        parse_tombstone(item)


PAGE: dict[str, Any] = {
    "items": [],
    "next_since": 5,
    "has_more": False,
    "epoch": "e",
    "totals": {
        "active": {"files": 1, "bytes": 2, "revisions": 3},
        "deleted": {"files": 4, "bytes": 5, "revisions": 6},
    },
}


def page_of(**changed: Any) -> feed.Page:
    return feed.read_page(Answer(PAGE | changed, Identity("se", "i", "e"), 200), since=5)


def test_the_last_page_brings_what_the_element_counts() -> None:
    assert page_of().totals == feed.Totals(5, (1, 2, 3))
    assert page_of(has_more=True, next_since=6).totals is None


@pytest.mark.parametrize(
    "changed",
    [
        {"items": None},
        {"next_since": "5"},
        {"next_since": True},
        {"has_more": 1},
        {"has_more": True},
        {"has_more": True, "next_since": 4},
        {"epoch": "another"},
        {"epoch": None},
        {"totals": None},
        {"totals": {}},
        {"totals": {"active": {"files": 1}}},
        {"totals": {"active": {"files": "many", "bytes": 2, "revisions": 3}}},
    ],
)
def test_a_page_that_makes_no_sense_as_a_whole_stops_the_reading(changed: dict[str, Any]) -> None:
    with pytest.raises(errors.NodeAnswerInvalid):
        page_of(**changed)


def test_an_item_that_makes_no_sense_is_rejected_alone_with_its_id_where_it_has_one() -> None:
    bad = GOOD | {"size": -1}
    freed = {"file_id": str(uuid.uuid4()), "status": "deleted", "at": "2026-11-22T12:00:00Z"}
    items = [{"file": bad}, {"file": "?"}, 7, {"tombstone": {"file_id": "?"}}, {"tombstone": freed}]
    page = page_of(items=items)
    assert (page.items, page.files, len(page.tombstones)) == (5, {}, 1)
    ids = [one.file_id for one in page.rejected]
    assert ids == [uuid.UUID(GOOD["file_id"]), None, None, None]


def test_what_a_page_says_later_of_a_file_replaces_what_it_said_before() -> None:
    newer = GOOD | {"revision": 2}
    buried = {"file_id": GOOD["file_id"], "status": "deleted", "at": "2026-11-22T12:00:00Z"}
    page = page_of(items=[{"file": GOOD}, {"file": newer}])
    assert list(page.files.values()) == [listed.read(newer)]
    page = page_of(items=[{"file": GOOD}, {"tombstone": buried}])
    assert (page.files, len(page.tombstones)) == ({}, 1)
