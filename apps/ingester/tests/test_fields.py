"""What an upload may say of its file."""

import json
from typing import Any

import pytest

from apps.ingester import digests, fields
from artstore.errors import ValidationError


def complaints(**texts: Any) -> set[str]:
    with pytest.raises(ValidationError) as refused:
        fields.upload_fields({k: v if isinstance(v, list) else [v] for k, v in texts.items()})
    return set(refused.value.details or {})


def given(**texts: Any) -> fields.UploadFields:
    return fields.upload_fields({k: v if isinstance(v, list) else [v] for k, v in texts.items()})


def test_nothing_given_means_a_temporary_file_for_thirty_days() -> None:
    assert given() == fields.UploadFields(retention_policy="temporary", ttl_days=30)


@pytest.mark.parametrize(
    ("texts", "tags"),
    [
        (["a"], ("a",)),
        (["a", "b"], ("a", "b")),
        (['["a", "б"]'], ("a", "б")),
        (["[]"], ()),
        ([""], ()),
    ],
)
def test_tags_are_a_json_array_or_repeated(texts: list[str], tags: tuple[str, ...]) -> None:
    assert given(tags=texts).tags == tags


def test_a_permanent_file_has_no_ttl() -> None:
    assert given(retention_policy="permanent").ttl_days is None
    assert complaints(retention_policy="permanent", ttl_days="5") == {"ttl_days"}


@pytest.mark.parametrize("text", ["0", "366", "-1", "1.5", "abc", "١٢", "1e2", "9" * 400])
def test_ttl_is_a_whole_number_of_days_up_to_a_year(text: str) -> None:
    assert complaints(ttl_days=text) == {"ttl_days"}


@pytest.mark.parametrize("days", ["1", "365"])
def test_the_edges_of_ttl_are_inside(days: str) -> None:
    assert given(ttl_days=days).ttl_days == int(days)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '"text"',
        "{",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": "\\u0000"}',
        '{"\\ud800": 1}',
        '{"a":' * 40 + "1" + "}" * 40,
        '{"a":' * 5000 + "1" + "}" * 5000,
    ],
)
def test_metadata_is_an_object_that_can_be_kept(text: str) -> None:
    assert complaints(metadata=text) == {"metadata"}


def test_every_bad_field_is_named_at_once() -> None:
    found = complaints(
        retention_policy="forever",
        ttl_days="x",
        tags='["' + "a" * 65 + '"]',
        description="x" * 1001,
        metadata="[]",
        checksum="nope",
        surprise="1",
    )
    assert found == {
        "retention_policy",
        "ttl_days",
        "tags",
        "description",
        "metadata",
        "checksum",
        "surprise",
    }


@pytest.mark.parametrize(
    "texts",
    [
        {"tags": [str(n) for n in range(51)]},
        {"tags": "[1]"},
        {"tags": "[oops"},
        {"tags": '{"a": 1}'},
        {"tags": '[""]'},
        {"tags": "a\x00b"},
        {"description": "a\x00"},
        {"description": ["a", "b"]},
    ],
)
def test_tags_and_descriptions_have_limits(texts: dict[str, Any]) -> None:
    assert complaints(**texts)


def test_a_thousand_cyrillic_characters_of_description_are_fine() -> None:
    """Prior art 15: 1000 allowed Cyrillic characters ended in 500."""
    assert given(description="я" * 1000).description == "я" * 1000


def test_texts_together_may_not_exceed_12_kib_as_utf8_json() -> None:
    fits = {"k": "я" * 5900}
    assert given(metadata=json.dumps(fits)).metadata == fits
    assert complaints(metadata=json.dumps({"k": "я" * 6200})) == {"metadata"}
    assert complaints(metadata=json.dumps({"k": "я" * 5900}), description="я" * 1000) == {
        "metadata"
    }


@pytest.mark.parametrize(
    "name",
    ["a", "я" * 255, "报" * 255, "🚀" * 255, "a\u0308", "\u202eabc", 'quote".txt', "a b;c", "..."],
)
def test_ordinary_names_are_accepted_as_they_are(name: str) -> None:
    assert fields.file_name(name, "text/plain").original_filename == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "/etc/passwd",
        "a\x00",
        "a\r\nb",
        "\x1b[31m",
        "я" * 256,
        "\ud800",
        "a\x85",
    ],
)
def test_names_that_are_paths_or_controls_are_refused(name: str) -> None:
    with pytest.raises(ValidationError) as refused:
        fields.file_name(name, "text/plain")
    assert set(refused.value.details or {}) == {"filename"}


@pytest.mark.parametrize(
    "kind", ["text", "a/b\r\nX: 1", "a/" + "b" * 300, "тип/х", "/", "a/b; \x00"]
)
def test_content_types_have_the_form_of_one(kind: str) -> None:
    with pytest.raises(ValidationError) as refused:
        fields.file_name("a.txt", kind)
    assert set(refused.value.details or {}) == {"content_type"}


def test_the_type_is_guessed_from_the_name_when_none_is_sent() -> None:
    assert fields.file_name("a.pdf", "").content_type == "application/pdf"
    assert fields.file_name("a.unheard-of", "").content_type == "application/octet-stream"


SUM = "LCa0a2j/xo/5m0U8HTBBNBNCLXBkg7+g+YpeiGJm564="
HEX = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"


@pytest.mark.parametrize(
    "value",
    [f"sha-256=:{SUM}:", f"sha-512=:AAAA:, sha-256=:{SUM}:", f" SHA-256 = :{SUM}: ;q=1"],
)
def test_sha256_is_read_from_a_digest_header(value: str) -> None:
    assert digests.expected_digests({"Repr-Digest": value, "Content-Digest": None}) == {HEX}


def test_other_algorithms_alone_ask_for_nothing() -> None:
    assert digests.expected_digests({"Repr-Digest": "md5=:AAAA:, unixsum=:AA==:"}) == frozenset()


@pytest.mark.parametrize(
    "value", ["nonsense", "sha-256=abc", "sha-256=:???:", "sha-256=:AAAA:", "sha-256=:abc:", ","]
)
def test_a_digest_header_that_cannot_be_read_is_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        digests.expected_digests({"Repr-Digest": value})
