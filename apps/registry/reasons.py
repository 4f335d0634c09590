"""A reason kept as text, said again in the reader's language.

Workers and nodes write in English, values and all ("3 of 9 files ..."). The catalogue's own
sentences are the patterns by which such a text is recognised; one that none fits stays as it is.
"""

import functools
import re

from django.utils.translation import get_language, gettext, trans_real

_VALUE = re.compile(r"%\((\w+)\)([sd])")
# A sentence of little else than its values would fit anything.
_LEAST_FIXED_CHARACTERS = 12
_BETWEEN_REASONS = "; "


def said_again(text: str) -> str:
    """`text` in the active language, as far as its sentences are ours."""
    if not text or get_language() in {None, "en"}:
        return text
    whole = gettext(text)
    if whole != text:
        return whole
    for pattern, sentence in _patterns(get_language() or "en"):
        found = pattern.fullmatch(text)
        if found:
            values = {name: said_again(value) for name, value in found.groupdict().items()}
            return gettext(sentence).replace(")d", ")s") % values
    if _BETWEEN_REASONS in text:
        return _BETWEEN_REASONS.join(map(said_again, text.split(_BETWEEN_REASONS)))
    return text


@functools.cache
def _patterns(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Every sentence with values, those that fix the most first."""
    known = trans_real.translation(language)._catalog  # type: ignore[attr-defined]  # not in the stubs
    sentences = {key for key in known.keys() if isinstance(key, str) and "\x04" not in key}  # noqa: SIM118 - not a mapping
    with_values = [each for each in sentences if _VALUE.search(each) and _fixed(each)]
    with_values.sort(key=lambda each: (-_fixed(each), each))
    return tuple((_pattern(each), each) for each in with_values)


def _fixed(sentence: str) -> int:
    length = len(_VALUE.sub("", sentence))
    return length if length >= _LEAST_FIXED_CHARACTERS else 0


def _pattern(sentence: str) -> re.Pattern[str]:
    pieces, end, seen = [], 0, set[str]()
    for value in _VALUE.finditer(sentence):
        pieces.append(re.escape(sentence[end : value.start()].replace("%%", "%")))
        name = value[1]
        pieces.append(f"(?P={name})" if name in seen else f"(?P<{name}>.+?)")
        seen.add(name)
        end = value.end()
    pieces.append(re.escape(sentence[end:].replace("%%", "%")))
    return re.compile("".join(pieces), re.DOTALL)
