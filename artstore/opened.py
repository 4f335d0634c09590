"""Forms that know from when their page is, so that they do not undo what somebody else stored since.

The page carries, hidden, when the thing was last changed. A form of an earlier state changes nothing
and says what is stored now; sent once more, it is of the present state.
"""

import datetime as dt
from typing import Any

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
