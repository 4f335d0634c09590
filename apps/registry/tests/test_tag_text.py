"""Tags as a person types them in one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.registry import tag_text
from apps.registry.tag_text import QuotesOpen


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", []),
        (" , ,", []),
        ("north", ["north"]),
        ("north, south ,  east", ["north", "south", "east"]),
        ("north, north", ["north"]),
        ('"Smith, John", north', ["Smith, John", "north"]),
        ('north,"Smith, John"', ["north", "Smith, John"]),
        ('"say ""when"", please"', ['say "when", please']),
        ('5" disk, a "word" within', ['5" disk', 'a "word" within']),
    ],
)
def test_tags_are_read_as_they_were_meant(text: str, tags: list[str]) -> None:
    assert tag_text.parse(text) == tags


@pytest.mark.parametrize("text", ['"open', 'north, "open, south', '"closed" and more, north'])
def test_quotes_that_end_nowhere_are_refused(text: str) -> None:
    with pytest.raises(QuotesOpen):
        tag_text.parse(text)


_tags = st.lists(st.text(st.characters(blacklist_categories=["Cs"])).map(str.strip).filter(bool))


@given(_tags)
def test_what_is_written_is_read_as_the_same_tags(tags: list[str]) -> None:
    assert tag_text.parse(tag_text.write(tags)) == list(dict.fromkeys(tags))
