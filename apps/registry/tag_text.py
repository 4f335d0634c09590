"""Tags as one line of text that a person types: commas between them, quotes around one that holds one.

`north, "Smith, John"` is two tags. Inside quotes a quotation mark is written twice. What a tag may
be, and how many, is for others to say.
"""

import re
from collections.abc import Iterable

_PART = re.compile(r'\s*+(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>(?!")[^,]*))\s*(?:,|\Z)')


class QuotesOpen(ValueError):
    """A quotation mark begins a tag and none ends it, or something follows the one that does."""


def parse(text: str) -> list[str]:
    """The tags in their order, each once; blanks around them do not count, nor do empty ones."""
    tags, position = [], 0
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            raise QuotesOpen(text[position:])
        quoted = part["quoted"]
        tags.append((part["plain"] if quoted is None else quoted.replace('""', '"')).strip())
        position = part.end()
    return list(dict.fromkeys(tag for tag in tags if tag))


def write(tags: Iterable[str]) -> str:
    """The line that `parse` reads as these tags."""
    return ", ".join(map(_written, tags))


def _written(tag: str) -> str:
    if "," not in tag and not tag.lstrip().startswith('"'):
        return tag
    doubled = tag.replace('"', '""')
    return f'"{doubled}"'
