"""How a person's words become a tsquery and a pattern. No database.

`FileRecord.search_vector` holds names, tags and descriptions split at separators and values of metadata as
they stand, with composed letters and one letter for е and ё; what is asked for is written both ways here.
"""

import re
from dataclasses import dataclass

from apps.registry.search_text import as_indexed

# The separators of the vector's own function: ASCII punctuation and blanks.
_SEPARATORS = re.compile(r"[\]\s!-/:-@\[^_`{-~\\]+")
_TERM = re.compile(r'(-?)(?:"([^"]*)"?|(\S+))')
_WORD_START = re.compile(r"[^\W_]+")
_LIKE_SPECIAL = re.compile(r"([\\%_])")
_REGEX_SPECIAL = re.compile(r"([][\\.^$*+?(){}|])")
# Up to here a substring has no trigram to look up; a word's beginning has.
SHORT_CHARACTERS = 2


@dataclass(frozen=True, slots=True)
class Term:
    """Words that stand next to each other, in one of the ways they may have been indexed."""

    phrases: tuple[str, ...]
    negated: bool


def web_terms(text: str) -> list[list[Term]]:
    """Alternatives, each a list of terms that must all hold, as a web search reads `text`.

    Quotes make a phrase, a leading minus forbids, `or` parts alternatives. A term with separators
    in it (`AB-1234/5`) is also looked for as the words it falls into, which is how names are kept.
    """
    groups: list[list[Term]] = [[]]
    for minus, phrase, word in _TERM.findall(as_indexed(text)):
        if word.lower() == "or" and not minus:
            groups.append([])
        elif found := _term(phrase or word, bool(minus)):
            groups[-1].append(found)
    return [group for group in groups if group]


def _term(raw: str, negated: bool) -> Term | None:
    split = " ".join(part for part in _SEPARATORS.split(raw) if part)
    if not split:
        return None
    return Term((split,) if split == raw else (split, raw), negated)


def as_like(text: str) -> str:
    """`text` taken literally in a pattern of LIKE."""
    return _LIKE_SPECIAL.sub(r"\\\1", text)


def word_start_pattern(text: str) -> str:
    """A regular expression for names with a word beginning with `text`, taken literally."""
    return r"(^|[^[:alnum:]])" + _REGEX_SPECIAL.sub(r"\\\1", text)


def leading_word(text: str) -> str:
    """The letters and digits `text` begins with; empty when no word can begin like this."""
    found = _WORD_START.match(text)
    return found[0] if found else ""
