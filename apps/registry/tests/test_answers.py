"""A node's JSON is read quickly and as the standard library reads it."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apps.registry import answers, errors

DIGITS = st.text("0123456789", min_size=1, max_size=24)
NUMBERS = st.one_of(
    DIGITS,
    st.tuples(st.sampled_from(["", "-"]), DIGITS, st.sampled_from(["", ".", "e", "E-", "e+", ".0e"]), DIGITS)
    .map("".join),
    st.integers().map(str),
    st.floats().map(json.dumps),
    st.sampled_from(["NaN", "-Infinity", "1e400", "9" * 400, "9" * 5000, "9223372036854775807", "-9223372036854775808",
                     "-9223372036854775809", "18446744073709551615", "18446744073709551616", "9999999999999999999"]),
)  # fmt: skip
STRINGS = st.one_of(
    st.text(max_size=5).map(json.dumps),
    st.text(max_size=5).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(['"\\ud800"', '"\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\0"', '"\x7f"',
                     '"\\x"', '"\\/"', '" 12345678901234567890"', '"12345678901234567890"', "'", '"', "\ufeff"]),
)  # fmt: skip
SPACE = st.sampled_from(["", "", " ", "\n", "\t\r", "\x0b"])
DOCUMENTS = st.recursive(
    st.one_of(NUMBERS, STRINGS, st.sampled_from(["null", "true", "false", ""])),
    lambda inner: st.one_of(
        st.tuples(SPACE, st.lists(inner, max_size=4)).map(
            lambda made: f"[{made[0]}{f',{made[0]}'.join(made[1])}]"
        ),
        st.tuples(SPACE, st.lists(st.tuples(STRINGS, inner), max_size=4)).map(
            lambda made: "{" + ",".join(f"{key}:{made[0]}{value}" for key, value in made[1]) + "}"
        ),
    ),
    max_leaves=8,
)


def outcome(read: Any, raw: bytes) -> str:
    """What it was read as, types and signs included; or that it was not."""
    try:
        return repr(read(raw))
    except (ValueError, errors.NodeAnswerInvalid):
        return "not JSON"


@given(DOCUMENTS, st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
@example('{"a":1,"a":2}', "utf-8")
@example("[" * 400 + "]" * 400, "utf-8")
@example("12345678901234567890123", "utf-8")
def test_json_is_read_as_the_standard_library_reads_it(text: str, encoding: str) -> None:
    errors_are = "replace" if encoding == "latin-1" else "surrogatepass"
    raw = f'{{"k":{text}}}'.encode(encoding, errors_are)
    assert outcome(answers.decoded, raw) == outcome(json.loads, raw)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"7", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_no_answer(raw: bytes) -> None:
    with pytest.raises(errors.NodeAnswerInvalid):
        answers.decoded(raw)
