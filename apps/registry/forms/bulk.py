"""The forms of acting on several files at once: which files, and which tags."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.registry.bulk import TagChange
from apps.registry.forms.files import TagsField


class FilesField(forms.TypedMultipleChoiceField):
    """The ids of the rows that were ticked."""

    def valid_value(self, value: Any) -> bool:  # noqa: ARG002 - Django's signature
        return True


class ChosenFiles(forms.Form):
    """Which files; every further form of a bulk act is about these."""

    use_required_attribute = False

    file_ids = FilesField(
        coerce=forms.UUIDField().clean,
        widget=forms.MultipleHiddenInput,
    )


class TagsForm(ChosenFiles):
    """Tags to put on the files and to take off them."""

    add = TagsField(label=_("Add tags"))
    remove = TagsField(label=_("Remove tags"))

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors and not (given.get("add") or given.get("remove")):
            self.add_error("add", _("Name a tag to add or to remove."))
        return given

    @property
    def change(self) -> TagChange:
        return TagChange(add=self.cleaned_data["add"], remove=self.cleaned_data["remove"])
