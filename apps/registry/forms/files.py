"""The form of one file: description, tags, metadata."""

import json
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.registry import tag_text
from apps.registry.attributes import MAX_DESCRIPTION_CHARACTERS, MAX_TAG_CHARACTERS, MAX_TAGS
from apps.registry.models import FileRecord

QUOTES_OPEN = _("A quotation mark that begins a tag needs one that ends it, then a comma.")


class TagsField(forms.CharField):
    """Tags in one line, as `tag_text` reads and writes them; the one field of every form with tags."""

    widget = forms.TextInput(attrs={"autocomplete": "off"})

    def __init__(self, **options: Any) -> None:
        hint = _('Separated by commas. A tag that holds a comma goes into quotes: "Smith, John".')
        usual: dict[str, Any] = {"required": False, "help_text": hint}
        super().__init__(**usual | options)

    def prepare_value(self, value: Any) -> Any:
        return tag_text.write(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        try:
            tags = tag_text.parse(super().clean(value) or "")
        except tag_text.QuotesOpen as failure:
            raise forms.ValidationError(QUOTES_OPEN) from failure
        if len(tags) > MAX_TAGS:
            raise forms.ValidationError(_("At most %(n)d tags.") % {"n": MAX_TAGS})
        if any(len(tag) > MAX_TAG_CHARACTERS for tag in tags):
            raise forms.ValidationError(
                _("Each tag has 1 to %(n)d characters.") % {"n": MAX_TAG_CHARACTERS}
            )
        return tags


class MetadataField(forms.CharField):
    """A JSON object, shown with one key a line."""

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return json.dumps(value, ensure_ascii=False, indent=2) if value else ""
        return value

    def clean(self, value: Any) -> dict[str, Any]:
        text = super().clean(value)
        if not text:
            return {}
        try:
            found = json.loads(text)
        except ValueError as failure:
            raise forms.ValidationError(_("This is not valid JSON.")) from failure
        if not isinstance(found, dict):
            raise forms.ValidationError(_('Write a JSON object such as {"project": "north"}.'))
        return found


@dataclass(frozen=True, slots=True)
class Clash:
    """A field two people changed: what the first stored, and what the second wants there."""

    label: str
    stored: str
    typed: str


class FileForm(forms.Form):
    """What may be changed of a file. What it all may weigh together is for `editing` to say."""

    use_required_attribute = False

    description = forms.CharField(
        label=_("Description"),
        required=False,
        max_length=MAX_DESCRIPTION_CHARACTERS,
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    tags = TagsField(label=_("Tags"))
    metadata = MetadataField(
        label=_("Metadata"),
        required=False,
        help_text=_('A JSON object, such as {"project": "north"}.'),
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"}),
    )

    @classmethod
    def of(cls, record: FileRecord, data: Any = None) -> "FileForm":
        """The form filled with what the file has now."""
        initial = {name: getattr(record, name) for name in ("description", "tags", "metadata")}
        return cls(data, initial=initial)

    def opened_with(self) -> list[tuple[str, str]]:
        """What each field held when the page was opened, by the name that carries it."""
        return [(self.add_initial_prefix(name), self._opened_with(name)) for name in self.fields]

    def changes(self) -> dict[str, Any]:
        """What was typed that differs from the record, as `editing` takes it.

        A field left as it was says nothing: what another tab stored meanwhile stays.
        """
        wanted = {**self.cleaned_data, "description": self._description()}
        return {
            name: value
            for name, value in wanted.items()
            if self._is_typed(name) and value != self.initial[name]
        }

    def clashes(self) -> list[Clash]:
        """The fields to be changed in which somebody else stored another text meanwhile."""
        return [
            Clash(str(self.fields[name].label), self._stored(name), self._sent(name))
            for name in self.changes()
            if _plain(self._opened_with(name)) != _plain(self._stored(name))
        ]

    def over_what_is_stored(self, record: FileRecord) -> "FileForm":
        """The same texts, as if the page had been opened now: sent again, they replace what is stored."""
        data: dict[str, Any] = {name: self.data.get(name) for name in self.data}
        for name in self.fields:
            data[self.add_initial_prefix(name)] = self._stored(name)
            if not self._is_typed(name):
                data[self.add_prefix(name)] = self._stored(name)
        return FileForm.of(record, data)

    def _stored(self, name: str) -> str:
        return str(self.fields[name].prepare_value(self.initial[name]) or "")

    def _opened_with(self, name: str) -> str:
        sent = self.data.get(self.add_initial_prefix(name))
        return self._stored(name) if sent is None else str(sent)

    def _sent(self, name: str) -> str:
        return str(self.data.get(self.add_prefix(name), ""))

    def _is_typed(self, name: str) -> bool:
        return _plain(self._sent(name)) != _plain(self._opened_with(name))

    def _description(self) -> str | None:
        return _plain(self.cleaned_data["description"]) or None


def _plain(text: str) -> str:
    """Browsers send every line break as CR LF."""
    return text.replace("\r\n", "\n").strip()
