"""A piece of SQL together with its values, and how pieces are put together. Knows no table.

Text is written in this code; whatever comes from outside is a value and bound by the driver.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sql:
    """Text with a `%s` for each of the values, in their order."""

    text: str
    values: tuple[Any, ...] = ()

    def wrapped(self, before: str, after: str) -> "Sql":
        """The same with text around it that has no values of its own."""
        return Sql(before + self.text + after, self.values)


def joined(separator: str, pieces: Sequence[Sql]) -> Sql:
    """All of them, with text in between."""
    text = separator.join(piece.text for piece in pieces)
    return Sql(text, tuple(value for piece in pieces for value in piece.values))
