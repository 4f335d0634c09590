"""The form of one file: description, tags, metadata."""

import json
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.registry.attributes import MAX_DESCRIPTION_CHARACTERS, MAX_TAG_CHARACTERS, MAX_TAGS
from apps.registry.models import FileRecord


class TagsField(forms.CharField):
    """Tags separated by commas; blanks around them and repeats do not count."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        parts = [part.strip() for part in (super().clean(value) or "").split(",")]
        tags = list(dict.fromkeys(part for part in parts if part))
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


class FileForm(forms.Form):
    """What may be changed of a file. What it all may weigh together is for `editing` to say."""

    use_required_attribute = False

    description = forms.CharField(
        label=_("Description"),
        required=False,
        max_length=MAX_DESCRIPTION_CHARACTERS,
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    tags = TagsField(
        label=_("Tags"),
        required=False,
        help_text=_("Separated by commas."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
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

        A field left as it was says nothing: what another tab stored meanwhile stays, and so does
        a tag with a comma in it.
        """
        wanted = {**self.cleaned_data, "description": self._description()}
        return {
            name: value
            for name, value in wanted.items()
            if self._is_typed(name) and value != self.initial[name]
        }

    def _opened_with(self, name: str) -> str:
        sent = self.data.get(self.add_initial_prefix(name))
        stored = self.fields[name].prepare_value(self.initial[name])
        return str(stored or "") if sent is None else str(sent)

    def _is_typed(self, name: str) -> bool:
        sent = str(self.data.get(self.add_prefix(name), ""))
        return _plain(sent) != _plain(self._opened_with(name))

    def _description(self) -> str | None:
        return _plain(self.cleaned_data["description"]) or None


def _plain(text: str) -> str:
    """Browsers send every line break as CR LF."""
    return text.replace("\r\n", "\n").strip()
