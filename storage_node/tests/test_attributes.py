"""Attributes: what is allowed in, and what a file of them must look like to be believed."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_node.attributes import (
    AttributesCorrupt,
    AttributesPatch,
    FileAttributes,
    UploadDraft,
    moment,
    stamp,
)
from storage_node.errors import ValidationFailed
from storage_node.tests.small_element import START

ID = UUID("0b5f4c9e-8c2d-4a5b-9a43-6f7c1d2e3a4b")
DRAFT = UploadDraft(ID, "tester", "a.txt")


def attributes(**members: Any) -> FileAttributes:
    return replace(FileAttributes.of_upload(DRAFT, 3, "0" * 64, START), **members)


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"original_filename": ""}, "original_filename"),
        ({"original_filename": "a" * 256}, "original_filename"),
        ({"original_filename": "x" * 4096}, "original_filename"),
        ({"original_filename": "a/b"}, "original_filename"),
        ({"original_filename": "."}, "original_filename"),
        ({"original_filename": ".."}, "original_filename"),
        ({"original_filename": "a\0b"}, "original_filename"),
        ({"original_filename": "a\r\nb"}, "original_filename"),
        ({"original_filename": "a\x7fb"}, "original_filename"),
        ({"original_filename": "a\ud800"}, "original_filename"),
        ({"original_filename": 5}, "original_filename"),
        ({"content_type": ""}, "content_type"),
        ({"content_type": "a" * 256}, "content_type"),
        ({"content_type": "text/plain\r\nX: 1"}, "content_type"),
        ({"content_type": "тип"}, "content_type"),
        ({"description": "d" * 1001}, "description"),
        ({"description": 5}, "description"),
        ({"description": "\0"}, "metadata"),
        ({"tags": tuple("t" for _ in range(51))}, "tags"),
        ({"tags": ("",)}, "tags"),
        ({"tags": ("t" * 65,)}, "tags"),
        ({"tags": (5,)}, "tags"),
        ({"tags": ("a\nb",)}, "tags"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": float("nan")}}, "metadata"),
        ({"metadata": {"a": float("inf")}}, "metadata"),
        ({"metadata": {"a": "\ud800"}}, "metadata"),
        ({"metadata": {"a": "x\0y"}}, "metadata"),
        ({"metadata": {"a": "x" * 13_000}}, "metadata"),
        ({"metadata": {"a": "ж" * 6200}}, "metadata"),
        ({"metadata": {"a": object()}}, "metadata"),
        ({"retention_policy": "forever"}, "retention_policy"),
        ({"ttl_days": 0}, "ttl_days"),
        ({"ttl_days": 366}, "ttl_days"),
        ({"ttl_days": True}, "ttl_days"),
        ({"ttl_days": 1.5}, "ttl_days"),
        ({"retention_policy": "permanent", "ttl_days": 1}, "ttl_days"),
        ({"retention_policy": "permanent", "expires_at": START}, "expires_at"),
        ({"expires_at": datetime(2027, 1, 1)}, "expires_at"),
        ({"uploaded_by": ""}, "uploaded_by"),
        ({"uploaded_by": "a\nb"}, "uploaded_by"),
        ({"declared_bytes": -1}, "size"),
        ({"sha256": "ABC"}, "checksum"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(members: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        replace(DRAFT, **members).check()
    assert field in refused.value.details


def test_metadata_nested_too_deep_is_refused_and_not_a_crash() -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": [deep]}
    with pytest.raises(ValidationFailed):
        replace(DRAFT, metadata=deep).check()


@pytest.mark.parametrize(
    "members",
    [
        {"original_filename": "я" * 255},
        {"description": "ж" * 1000},
        {"tags": tuple("т" * 64 for _ in range(50))},
        {"metadata": {"a": "x" * 12_000}},
        {"ttl_days": 1},
        {"ttl_days": 365},
        {"retention_policy": "permanent"},
        {"content_type": "text/plain; charset=utf-8"},
    ],
)
def test_what_is_allowed_to_the_limit_is_taken(members: dict[str, Any]) -> None:
    replace(DRAFT, **members).check()


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        (AttributesPatch(frozenset()), "body"),
        (AttributesPatch(frozenset({"status"})), "status"),
        (AttributesPatch(frozenset({"description"}), description="d" * 1001), "description"),
        (AttributesPatch(frozenset({"tags"}), tags=("",)), "tags"),
    ],
)
def test_a_bad_edit_is_refused_by_name(patch: AttributesPatch, field: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        patch.check()
    assert field in refused.value.details


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(
    metadata=st.dictionaries(st.text(max_size=10), json_values, max_size=4),
    extra=st.just({}) | st.dictionaries(st.text(min_size=20, max_size=25), json_values, max_size=3),
    description=st.none() | st.text(max_size=100),
    tags=st.lists(st.text(min_size=1, max_size=10), max_size=5),
)
def test_attributes_come_back_from_their_bytes_as_they_went(
    metadata: Any, extra: Any, description: Any, tags: Any
) -> None:
    try:
        file = attributes(metadata=metadata, extra=extra, description=description, tags=tuple(tags))
        written = file.file_bytes
    except UnicodeEncodeError:
        return  # unpaired surrogates never get past the rules
    assert FileAttributes.from_json(written) == file
    told = json.loads(written)
    assert written.decode() == json.dumps(told, ensure_ascii=False, sort_keys=True) + "\n"
    del told["format"], told["stored_name"]
    assert file.wire_json == json.dumps(told, ensure_ascii=False, sort_keys=True)
    assert FileAttributes.from_json(written).file_bytes == written


@pytest.mark.parametrize(
    "harm",
    [
        {"format": 2},
        {"format": None},
        {"size": -1},
        {"size": "3"},
        {"size": True},
        {"revision": 0},
        {"status": "lost"},
        {"file_id": "not an id"},
        {"stored_name": "../../etc/passwd"},
        {"stored_name": ""},
        {"stored_name": ".."},
        {"uploaded_at": None},
        {"uploaded_at": "yesterday"},
        {"uploaded_at": "2026-01-01T00:00:00"},
        {"updated_at": "9999-12-31T23:59:59.999999-01:00"},
        {"expires_at": "0001-01-01T00:00:00+14:00"},
        {"size": 10**15},
        {"revision": 2**64},
        {"tags": "t"},
        {"metadata": []},
        {"ttl_days": "30"},
    ],
)
def test_attributes_that_can_not_be_true_are_corrupt(harm: dict[str, Any]) -> None:
    told = json.loads(attributes().file_bytes) | harm
    with pytest.raises(AttributesCorrupt):
        FileAttributes.from_json(json.dumps(told))


@pytest.mark.parametrize(
    "missing", sorted(json.loads(FileAttributes.of_upload(DRAFT, 3, "0" * 64, START).file_bytes))
)
def test_every_key_is_needed(missing: str) -> None:
    told = json.loads(attributes().file_bytes)
    del told[missing]
    with pytest.raises(AttributesCorrupt):
        FileAttributes.from_json(json.dumps(told))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'"a"', b"[" * 100_000])
def test_bytes_that_are_no_json_object_are_corrupt(raw: bytes) -> None:
    with pytest.raises(AttributesCorrupt):
        FileAttributes.from_json(raw)


def test_the_wire_shows_neither_format_nor_name_on_disk() -> None:
    told = json.loads(attributes().wire_json)
    assert "format" not in told
    assert "stored_name" not in told
    assert list(told) == sorted(told)


def test_times_are_written_one_way_and_read_with_any_offset() -> None:
    assert stamp(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T03:04:05.000000Z"
    assert moment("2026-01-02T05:04:05+02:00") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert stamp(moment("2026-01-02T05:04:05.123456+02:00")) == "2026-01-02T03:04:05.123456Z"


def test_ttl_chosen_by_the_caller_reaches_the_attributes() -> None:
    file = FileAttributes.of_upload(replace(DRAFT, ttl_days=7), 3, "0" * 64, START)
    assert (file.ttl_days, file.expires_at) == (7, START + timedelta(days=7))
    default = FileAttributes.of_upload(DRAFT, 3, "0" * 64, START)
    assert (default.ttl_days, default.expires_at) == (30, START + timedelta(days=30))
    given = FileAttributes.of_upload(
        replace(DRAFT, expires_at=START + timedelta(hours=1)), 3, "0" * 64, START
    )
    assert given.expires_at == START + timedelta(hours=1)
