"""Forms that know from when their page is, so that they do not undo what somebody else stored since.

The page carries, hidden, when the thing was last changed or what each field held. A form of an earlier
state changes nothing and says what is stored now; sent once more, it is of the present state.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from django import forms
from django.utils.translation import gettext as _

from artstore.moments import rfc3339


class OpenedForm(forms.Form):
    """`opened_at` is for the page: `<input type="hidden" name="opened_at" value="{{ form.opened_at }}">`."""

    opened_at = ""

    def about(self, changed_at: dt.datetime) -> None:
        """The thing was last changed then."""
        self.opened_at = rfc3339(changed_at)

    def is_of_before(self) -> bool:
        return self.is_bound and self.data.get("opened_at", self.opened_at) != self.opened_at

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        stored = [self._stored(name) for name in given if given[name] != self.initial.get(name)]
        if stored and self.is_of_before():
            said = _(
                "Somebody changed this after you opened the page, so nothing of yours is stored. "
                "Stored now: %(stored)s. Save again to put yours in its place."
            )
            self.add_error(None, said % {"stored": "; ".join(stored)})
        return given

    def _stored(self, name: str) -> str:
        field, value = self.fields[name], self.initial.get(name)
        if isinstance(value, bool):
            value = _("yes") if value else _("no")
        elif isinstance(field, forms.ChoiceField) and not isinstance(value, list):
            value = dict(field.choices).get(value, value)  # type: ignore[arg-type]  # flat in our forms
        text = ", ".join(value) if isinstance(value, list) else str(value or "\u2013")
        return f"{field.label}: {text}"


@dataclass(frozen=True, slots=True)
class Clash:
    """A field two people changed: what the first stored, and what the second wants there."""

    label: str
    stored: str
    typed: str


class TypedForm(forms.Form):
    """Texts that carry what they held when the page was opened; `initial` is what is stored now."""

    def opened_with(self) -> list[tuple[str, str]]:
        """What each field held when the page was opened, by the name that carries it."""
        return [(self.add_initial_prefix(name), self._opened_with(name)) for name in self.fields]

    def is_typed(self, name: str) -> bool:
        """Whether the person changed the field; one left as it was says nothing."""
        return plain(self._sent(name)) != plain(self._opened_with(name))

    def clashes(self, changed: Iterable[str]) -> list[Clash]:
        """Those of the fields to be changed in which somebody else stored another text meanwhile."""
        return [
            Clash(str(self.fields[name].label), self._stored(name), self._sent(name))
            for name in changed
            if plain(self._opened_with(name)) != plain(self._stored(name))
        ]

    def over_what_is_stored(self) -> Self:
        """The same texts, as if the page had been opened now: sent again, they replace what is stored."""
        data: dict[str, Any] = {name: self.data.get(name) for name in self.data}
        for name in self.fields:
            data[self.add_initial_prefix(name)] = self._stored(name)
            if not self.is_typed(name):
                data[self.add_prefix(name)] = self._stored(name)
        return type(self)(data, initial=self.initial)

    def _stored(self, name: str) -> str:
        return str(self.fields[name].prepare_value(self.initial[name]) or "")

    def _opened_with(self, name: str) -> str:
        sent = self.data.get(self.add_initial_prefix(name))
        return self._stored(name) if sent is None else str(sent)

    def _sent(self, name: str) -> str:
        return str(self.data.get(self.add_prefix(name), ""))


def plain(text: str) -> str:
    """Browsers send every line break as CR LF."""
    return text.replace("\r\n", "\n").strip()
