"""Query parameters of the wire calls: out of range is refused, never bent into range."""

import re
from collections.abc import Callable, Mapping, Sequence

from storage_node.errors import ValidationFailed


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A parser for whole numbers between the two, both included."""

    def parse(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,19}", text) and least <= int(text) <= most:
            return int(text)
        raise ValueError(f"must be a whole number between {least} and {most}")

    return parse


class Query:
    """Reads parameters and gathers what is wrong; `finish` raises it all at once."""

    def __init__(self, parameters: Mapping[str, str], refusal: str) -> None:
        self._parameters = parameters
        self._refusal = refusal
        self._problems: dict[str, list[str]] = {}

    def number(self, name: str, default: int, parse: Callable[[str], int]) -> int:
        """A number, or the default when it is not given."""
        text = self._parameters.get(name)
        if text is None:
            return default
        try:
            return parse(text)
        except ValueError as problem:
            self.refuse(name, str(problem))
            return default

    def text(self, name: str) -> str | None:
        """Any text of sane length."""
        text = self._parameters.get(name)
        if text is not None and not 0 < len(text) <= 512:
            self.refuse(name, "must be 1 to 512 characters")
        return text

    def one_of(self, name: str, allowed: Sequence[str]) -> str | None:
        """One of the allowed words, or None when it is not given."""
        text = self._parameters.get(name)
        if text is not None and text not in allowed:
            self.refuse(name, f"must be one of {', '.join(allowed)}")
        return text

    def flag(self, name: str) -> bool:
        """`true` or `false`; false when it is not given."""
        return self.one_of(name, ("true", "false")) == "true"

    def refuse(self, name: str, problem: str) -> None:
        """Note what is wrong with a parameter."""
        self._problems.setdefault(name, []).append(problem)

    def finish(self) -> None:
        """Raise what was noted, if anything was."""
        if self._problems:
            raise ValidationFailed(self._refusal, self._problems)
