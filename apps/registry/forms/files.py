"""The form of one file: description, tags, metadata."""

import json
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.registry import tag_text
from apps.registry.attributes import MAX_DESCRIPTION_CHARACTERS, MAX_TAG_CHARACTERS, MAX_TAGS
from apps.registry.models import FileRecord
from artstore.opened import TypedForm, plain

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


class FileForm(TypedForm):
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

    def changes(self) -> dict[str, Any]:
        """What was typed that differs from the record, as `editing` takes it.

        A field left as it was says nothing: what another tab stored meanwhile stays.
        """
        wanted = {**self.cleaned_data, "description": self._description()}
        return {
            name: value
            for name, value in wanted.items()
            if self.is_typed(name) and value != self.initial[name]
        }

    def _description(self) -> str | None:
        return plain(self.cleaned_data["description"]) or None
