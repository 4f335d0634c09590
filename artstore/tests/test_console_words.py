"""What pages say of things kept as text: reasons with values in Russian, beginnings of files as text."""

import pytest
from django.utils import translation

from apps.query import preview
from apps.registry import reasons
from apps.registry.templatetags.words import preview_kind
from apps.registry.tests import make

RUSSIAN = {
    "The node says it is starting.": "starting",
    "3 of 9 active files are not on the element any more. Nothing was marked. Look at the element; "
    "if they are really gone, start a full sync that may delete them.": "3",
    "The element counts 12 files and listed 11: what was listed is applied, and nothing was marked "
    "as missing.": "12",
    "The address https://10.0.0.1 was refused: it is a private address.": "https://10.0.0.1",
    "the log could not be synced (Input/output error)": "Input/output error",
    "The element cannot be reached, or broke off the connection.": "",
}


@pytest.mark.parametrize("text", RUSSIAN)
def test_a_reason_with_values_is_said_in_russian_with_its_values(text: str) -> None:
    with translation.override("ru"):
        said = reasons.said_again(text)
    assert said != text
    assert RUSSIAN[text] in said
    words = [word for word in text.split() if word.isalpha() and len(word) > 4]
    left = [word for word in words if word in said and word != RUSSIAN[text]]
    assert left == [], said
    with translation.override("en"):
        assert reasons.said_again(text) == text


def test_a_reason_within_a_reason_and_several_reasons_are_said_too() -> None:
    with translation.override("ru"):
        assert "private" not in reasons.said_again(
            "The address https://10.0.0.1 was refused: it is a private address."
        )
        two = reasons.said_again("It is nearly full.; The node says it is odd.")
    assert "It is" not in two
    assert "; " in two


def test_words_of_a_node_we_do_not_know_stay_as_they_are() -> None:
    with translation.override("ru"):
        assert reasons.said_again("fsync failed on /dev/sdb: 100% full") == (
            "fsync failed on /dev/sdb: 100% full"
        )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Замеры\r\n\tстенда".encode(), "Замеры\r\n\tстенда"),
        (("ж" * 20).encode()[:-1], "ж" * 19),
        ("\ufeffполя".encode(), "поля"),
        ("поля".encode("utf-16"), "поля"),
        ("Отчёт за год, северный стенд".encode("cp1251"), "Отчёт за год, северный стенд"),
        (b"\x89PNG\r\n\x1a\n\0\0", None),
        (b"PK\x03\x04", None),
    ],
)
def test_bytes_are_shown_as_text_only_when_they_are(content: bytes, text: str | None) -> None:
    assert preview._as_text(content) == text


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("image/png", "picture"),
        ("image/svg+xml", "picture"),
        ("IMAGE/JPEG; q=1", "picture"),
        ("image/tiff", ""),
        ("text/plain; charset=utf-8", "text"),
        ("text/html", "text"),
        ("application/json", "text"),
        ("application/ld+json", "text"),
        ("application/pdf", ""),
        ("application/octet-stream", ""),
    ],
)
@pytest.mark.django_db
def test_what_a_file_is_shown_as_follows_its_type(content_type: str, kind: str) -> None:
    file = make.record(make.element(), content_type=content_type)
    assert preview_kind(file) == kind
