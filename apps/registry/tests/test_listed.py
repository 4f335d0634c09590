"""An item of a listing that is read in one go becomes the same row as field by field, or is refused with the same words."""

import datetime as dt
import decimal
import json
import re
import uuid
from typing import Any

import pytest
from django.db import connection
from hypothesis import example, given
from hypothesis import strategies as st

from apps.registry import answers, applying, feed, listed
from apps.registry.answers import Answer, Identity
from apps.registry.attributes import RECORD_COLUMNS, AttributesInvalid, parse_file

GOOD: dict[str, Any] = {
    "file_id": "0b8f3f7e-5a51-4d5c-9a8b-2f6f0d9c1e11",
    "original_filename": "отчёт.pdf",
    "content_type": "application/pdf",
    "size": 7,
    "checksum": "0a" * 32,
    "uploaded_by": "someone",
    "uploaded_at": "2026-11-22T12:00:00.123456Z",
    "updated_at": "2026-11-22T12:00:00+00:00",
    "revision": 1,
    "description": "of November",
    "tags": ["a", "б"],
    "metadata": {"k": [1, None, True], "é": "x"},
    "status": "active",
    "retention_policy": "temporary",
    "ttl_days": 1,
    "expires_at": "2026-11-23T12:00:00Z",
}
BARE = GOOD | {
    "description": None,
    "tags": [],
    "metadata": {},
    "ttl_days": None,
    "expires_at": None,
    "retention_policy": "permanent",
}
MOMENTS = ("uploaded_at", "updated_at", "expires_at")

# What stands for something, somewhere: to JSON, to COPY, to an array literal, to PostgreSQL or to Python.
AWKWARD = [
    *"\0\t\n\r\\\"'{}, \x7f\x85\xa0\u2028\ud800\udfff\ufffeя😀",
    "\\N",
    "\\u0000",
    "\\\\u0000",
]
TEXTS = st.one_of(
    st.lists(st.sampled_from([*AWKWARD, "a", "0", "-"]), max_size=5).map("".join),
    st.tuples(st.sampled_from(["a", "я", '"', "\\"]), st.sampled_from([1, 63, 64, 65, 150, 151, 255, 256, 1000, 1001]))
    .map(lambda made: made[0] * made[1]),
    st.text(max_size=8),
)  # fmt: skip
NUMBERS = st.one_of(
    st.sampled_from([-1, 0, 1, 365_000, 365_001, 2**31, 2**63 - 1, 2**63, 2**64, 10**63, 10**400]),
    st.floats(),
    st.booleans(),
)
VALUES = st.recursive(
    st.one_of(st.none(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=6,
)
DEEP: Any = {}
for _ in range(5000):
    DEEP = {"d": DEEP}
METADATA = st.one_of(
    st.dictionaries(TEXTS, VALUES, max_size=3),
    st.integers(6000, 26_000).map(lambda size: {"k": "x" * size}),
    st.integers(3000, 7000).map(lambda size: {"k": "я" * size}),
    st.just(DEEP),
)
TIMES = st.one_of(
    st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"),
    st.datetimes(timezones=st.timezones()).map(dt.datetime.isoformat),
    st.tuples(*[st.integers(0, top) for top in (10_000, 13, 32, 25, 61, 61, 999_999)]).map(
        lambda parts: "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z".format(*parts)
    ),
    st.sampled_from(
        ["2026-W01-1T00:00:00Z", "20261122T120000Z", "2026-11-22T12:00:00,5Z", "2026-11-22",
         "2026-11-22 12:00:00Z", "2026-11-22T12:00:00z", "2026-11-22T12:00:00-00:00", "\\N",
         "2026-11-22T12:00:00.1234567Z", "٢٠٢٦-11-22T12:00:00Z", "infinity", "2026-11-22T12:00Z",
         "0001-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "2026-11-22T24:00:00Z", "now"]
    ),
)  # fmt: skip
IDS = st.one_of(
    st.uuids().map(str),
    st.uuids().map(lambda one: str(one).upper()),
    st.uuids().map(lambda one: f"{{{one.hex}}}--"),
    st.just("0b8f3f7e-5a51-4d5c-9a8b-2f6f0d9c1e1\n"),
)
OWN = (
    {
        "file_id": IDS,
        "checksum": st.sampled_from(["0" * 64, "A" * 64, "0" * 63, "0" * 64 + "\n", 10**63]),
        "metadata": METADATA,
        "tags": st.one_of(
            st.lists(TEXTS, max_size=4), st.integers(49, 51).map(lambda count: ["t"] * count)
        ),
        "status": st.sampled_from(
            ["active", "expired", "deleted", "damaged", "active ", "abandoned"]
        ),
        "retention_policy": st.sampled_from(["temporary", "permanent", "permanent\n"]),
    }
    | dict.fromkeys(MOMENTS, TIMES)
    | dict.fromkeys(("size", "revision", "ttl_days"), NUMBERS)
)


@st.composite
def items(draw: st.DrawFn) -> Any:
    """A good item in which something was changed, left out or added."""
    item = dict(draw(st.sampled_from([GOOD, BARE])))
    for field in draw(st.lists(st.sampled_from(list(GOOD)), max_size=2)):
        change = draw(st.integers(0, 9))
        if change == 0:
            item.pop(field, None)
        else:
            item[field] = draw(VALUES if change == 1 else OWN.get(field, TEXTS))
    return draw(st.sampled_from([item, item | {"more": 1}]))


def outcome(read: Any, item: Any) -> Any:
    """The row's values, moments as moments; or the words of the refusal."""
    try:
        found = read(item)
    except AttributesInvalid as refused:
        return str(refused)
    return values_of(found)


def values_of(row: str) -> Any:
    values = dict(zip(RECORD_COLUMNS, row.split("\t"), strict=True))
    moments = {
        name: dt.datetime.fromisoformat(values[name])
        for name in MOMENTS
        if values[name] != listed.NULL
    }
    assert (listed.id_of(row), listed.status_of(row)) == (values["file_id"], values["status"])
    return values | moments | {"metadata": stored(values["metadata"])}


def stored(text: str) -> Any:
    """JSON as jsonb keeps it: of a number its digits and how many of them stand behind the point."""
    return json.loads(unescaped(text), parse_float=number, parse_int=number)


def number(text: str) -> tuple[decimal.Decimal, int]:
    value = decimal.Decimal(text)
    return value, max(0, -int(value.as_tuple().exponent))


def unescaped(text: str) -> str:
    """A field as COPY reads it."""
    return re.sub(
        r"\\(.)", lambda found: {"t": "\t", "n": "\n", "r": "\r"}.get(found[1], found[1]), text
    )


def carefully(item: Any) -> str:
    return listed.written(parse_file(item))


@given(items())
def test_an_item_read_at_once_is_read_as_field_by_field(item: Any) -> None:
    assert outcome(listed.read, item) == outcome(carefully, item)


@pytest.mark.parametrize("item", [None, 7, "text", [], ["file_id"], {}, True])
def test_what_is_no_object_is_refused_with_the_same_words(item: Any) -> None:
    assert outcome(listed.read, item) == outcome(carefully, item)


@pytest.mark.parametrize("good", [GOOD, BARE])
def test_an_ordinary_item_does_not_take_the_long_way(
    good: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or nothing would be won, and the comparison would prove nothing."""
    expected = outcome(carefully, good)
    monkeypatch.setattr(listed, "parse_file", lambda item: pytest.fail("read field by field"))
    assert outcome(listed.read, good) == expected


def line(changes: str = "", **changed: Any) -> str:
    """An item of a page as text; `changes` is put in as it stands, behind what it replaces."""
    return json.dumps({"change": 1, "file": GOOD | changed})[:-2] + changes + "}}"


OTHER = str(uuid.UUID(int=2**127))
FREED = {"file_id": OTHER, "status": "deleted", "at": "2026-11-22T12:00:00Z"}
LINES = {
    "NUL": line(original_filename="a\0b"),
    "NUL in metadata": line(metadata={"k": "a\0b"}),
    "text about a NUL": line(description="\\u0000", metadata={"k": "\\u0000"}),
    "half a character": line(original_filename="\ud800"),
    "half a character in metadata": line(metadata={"\udfff": 1}),
    "half a character, its bytes": line(description="half").replace("half", "\ud800"),
    "a whole character": line(description="😀"),
    "NaN": line(', "metadata": {"k": NaN}'),
    "infinity": line(', "metadata": {"k": [-Infinity]}'),
    "a number without end": line(', "metadata": {"k": 1e400}'),
    "a number of many digits": line(', "metadata": {"k": 123456789012345678901234567890}'),
    "the first that fits no word": line(', "metadata": {"k":[-9223372036854775809]}'),
    "many digits behind the point": line(', "metadata": {"k": 0.12345678901234567890123}'),
    "numbers in many ways": line(', "metadata": {"k": [-0, -0.0, 1.0, 1E5, 1e22, 1e-7, 0.1e1]}'),
    "a size of many digits": line(', "size": 99999999999999999999'),
    "a size that is no whole number": line(', "size": 7.0'),
    "a checksum that is a number": line(', "checksum": ' + "1" * 64),
    "a field twice": line(', "original_filename": "second"'),
    "a key of metadata twice": line(', "metadata": {"k": 1, "k": 2}'),
    "the file again, in capitals": line(file_id=GOOD["file_id"].upper(), revision=2),
    "another file": line(file_id=OTHER),
    "the other's tombstone": json.dumps({"change": 2, "tombstone": FREED}),
    "deep": line(', "metadata": {"k": ' + "[" * 400 + "]" * 400 + "}"),
    "neither": '{"change": 3}',
    "no object": "7",
}


def page_of(lines: list[str], decoded: Any) -> feed.Page:
    text = '{"epoch": "e", "next_since": 9, "has_more": true, "totals": null, "items": ['
    raw = f"{text}{','.join(lines)}]}}".encode("utf-8", "surrogatepass")
    return feed.read_page(Answer(decoded(raw), Identity("se", "i", "e"), 200), since=1)


def both_ways(lines: list[str]) -> tuple[feed.Page, feed.Page]:
    """The page as it is read, and as it was: by the standard library and field by field."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listed, "_ordinary", lambda item: None)
        expected = page_of(lines, json.loads)
    return page_of(lines, answers.decoded), expected


@given(st.lists(st.sampled_from(list(LINES)), max_size=5))
@example(list(LINES))
def test_a_page_comes_out_as_it_did_through_the_standard_library_field_by_field(
    named: list[str],
) -> None:
    found, expected = both_ways([line(), *(LINES[name] for name in named)])
    assert (found.rejected, found.tombstones) == (expected.rejected, expected.tombstones)
    assert [values_of(one) for one in found.files.values()] == [
        values_of(one) for one in expected.files.values()
    ]


@pytest.mark.parametrize("name", LINES)
def test_what_one_item_holds_refuses_no_other(name: str) -> None:
    page = page_of([line(file_id=str(uuid.UUID(int=1))), LINES[name]], answers.decoded)
    assert str(uuid.UUID(int=1)) in page.files


@pytest.mark.parametrize("name", LINES)
def test_both_ways_the_database_holds_the_same_to_the_letter(db: None, name: str) -> None:
    found, expected = both_ways([line(file_id=OTHER), LINES[name]])
    assert loaded(found) == loaded(expected) != []


def loaded(page: feed.Page) -> list[str]:
    applying.load(page.files.values(), page)
    with connection.cursor() as cursor:
        cursor.execute("SELECT p::text FROM sync_page p ORDER BY 1")
        return [row[0] for row in cursor.fetchall()]
