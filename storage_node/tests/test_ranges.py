"""Range and conditional headers, as RFC 9110 and the wire contract have them, for every input."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_node.errors import InvalidRange
from storage_node.ranges import Asked, Slice, Stored, http_date, not_modified, slice_of

MODIFIED = datetime(2026, 11, 22, 6, 10, 11, 999999, UTC)
TEN = Stored(10, '"tag"', MODIFIED)
WHOLE = Slice(0, 10, partial=False)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-9", 0, 10),
        ("bytes=0-", 0, 10),
        ("bytes=9-", 9, 10),
        ("bytes=3-5", 3, 6),
        ("bytes=5-1000", 5, 10),
        ("bytes=5-9999999999999999999", 5, 10),
        ("bytes=-1", 9, 10),
        ("bytes=-10", 0, 10),
        ("bytes=-1000", 0, 10),
        ("  bytes= 1-2 ", 1, 3),
        ("BYTES=0-1", 0, 2),
        ("bytes=0-" + "9" * 100, 0, 10),
        ("bytes=3-" + "9" * 5000, 3, 10),
        ("bytes=-" + "9" * 5000, 0, 10),
        ("bytes=0000000000000000000000001-2", 1, 3),
    ],
)
def test_one_range_gives_those_bytes(text: str, start: int, end: int) -> None:
    assert slice_of(Asked(range=text), TEN) == Slice(start, end, partial=True)


@pytest.mark.parametrize(
    "text",
    ["bytes=0-1,3-4", "bytes=0-1, -1", "bytes=,", "lines=1-2", "bytes", "", "1-2", "seconds=0-"],
)
def test_several_ranges_or_another_unit_mean_the_whole_file(text: str) -> None:
    assert slice_of(Asked(range=text), TEN) == WHOLE


@pytest.mark.parametrize(
    "text",
    [
        "bytes=10-",
        "bytes=10-20",
        "bytes=5-3",
        "bytes=-0",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=--1",
        "bytes=1-2-3",
        "bytes=+1-2",
        "bytes=0x1-2",
        "bytes=1.0-2",
        "bytes=" + "9" * 5000 + "-",
        "bytes=١-٢",
    ],
)
def test_bytes_that_are_not_there_or_can_not_be_read_are_refused(text: str) -> None:
    with pytest.raises(InvalidRange) as refusal:
        slice_of(Asked(range=text), TEN)
    assert refusal.value.headers() == {"Content-Range": "bytes */10"}


@pytest.mark.parametrize("text", ["bytes=0-", "bytes=-1", "bytes=0-0"])
def test_an_empty_file_has_no_range(text: str) -> None:
    with pytest.raises(InvalidRange):
        slice_of(Asked(range=text), Stored(0, '"tag"', MODIFIED))
    assert slice_of(Asked(), Stored(0, '"tag"', MODIFIED)) == Slice(0, 0, partial=False)


@pytest.mark.parametrize(
    ("if_range", "applies"),
    [
        ('"tag"', True),
        ('"other"', False),
        ('W/"tag"', False),
        ("tag", False),
        (http_date(MODIFIED), True),
        ("Sun, 22 Nov 2026 06:10:12 GMT", False),
        ("Sun, 22 Nov 2026 06:10:10 GMT", False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_if_range_lets_a_range_apply_only_to_the_version_it_names(
    if_range: str, applies: bool
) -> None:
    expected = Slice(2, 3, partial=True) if applies else WHOLE
    assert slice_of(Asked(range="bytes=2-2", if_range=if_range), TEN) == expected


@pytest.mark.parametrize(
    ("none_match", "since", "expected"),
    [
        (None, None, False),
        ('"tag"', None, True),
        ('W/"tag"', None, True),
        ('"a", "tag"', None, True),
        ('"a,b", "tag"', None, True),
        ("*", None, True),
        ('"other"', None, False),
        ("tag", None, False),
        ("", None, False),
        (None, http_date(MODIFIED), True),
        (None, "Sun, 22 Nov 2026 06:10:12 GMT", True),
        (None, "Sun, 22 Nov 2026 06:10:10 GMT", False),
        (None, "Sunday, 22-Nov-26 06:10:11 GMT", True),
        (None, "Sun Nov 22 06:10:11 2026", True),
        (None, "never", False),
        (None, "Sun, 99 Nov 2026 06:10:11 GMT", False),
        ('"other"', http_date(MODIFIED), False),
    ],
)
def test_a_copy_is_still_good_exactly_when_the_conditions_say_so(
    none_match: str | None, since: str | None, expected: bool
) -> None:
    assert not_modified(Asked(if_none_match=none_match, if_modified_since=since), TEN) is expected


@given(
    text=st.one_of(st.text(max_size=40), st.from_regex(r"bytes=[0-9]{0,20}-[0-9]{0,20}(,.*)?")),
    size_bytes=st.integers(0, 2**40),
)
def test_any_range_header_gives_bytes_inside_the_file_or_a_refusal(
    text: str, size_bytes: int
) -> None:
    try:
        part = slice_of(Asked(range=text), Stored(size_bytes, '"tag"', MODIFIED))
    except InvalidRange:
        return
    assert 0 <= part.start <= part.end <= size_bytes
    assert part.partial is (part.size_bytes > 0 and "bytes" in text.lower()) or part == Slice(
        0, size_bytes, partial=False
    )


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_condition_is_answered(none_match: str, since: str) -> None:
    assert not_modified(Asked(if_none_match=none_match, if_modified_since=since), TEN) in (
        True,
        False,
    )
