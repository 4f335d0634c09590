"""The files page's form: what a person may type and choose, and the search it stands for.

Its field names are those of the search API, so a page's address reads like the call it makes.
"""

import datetime as dt
import re
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from apps.query.asking import SearchMode, SearchQuery, SortBy, SortOrder
from apps.registry.forms.files import TagsField
from apps.registry.models import FileStatus, Retention, StorageElement
from artstore.paging import MAX_OFFSET

# Few enough that a page of the longest names stays small.
PAGE_FILES = 25
_SIZE = re.compile(r"(\d{1,15}(?:[.,]\d{1,3})?)\s*([kmgtp]?)i?b?", re.IGNORECASE)
_STEPS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DAY = dt.timedelta(days=1)


class SizeField(forms.CharField):
    """`10 MiB`, `1.5g` or plain bytes; every unit counts in 1024s."""

    def clean(self, value: Any) -> int | None:
        text = super().clean(value)
        if not text:
            return None
        found = _SIZE.fullmatch(text)
        if found is None:
            raise forms.ValidationError(_("Write a size such as 10 MiB."))
        return int(float(found[1].replace(",", ".")) * 1024 ** _STEPS[found[2].lower()])


class MetadataField(forms.JSONField):
    """JSON as the person wrote it; nothing where nothing was written."""

    def bound_data(self, data: Any, initial: Any) -> Any:
        return data if data in (None, "") else super().bound_data(data, initial)

    def prepare_value(self, value: Any) -> Any:
        return value if value in (None, "") else super().prepare_value(value)


class SearchForm(forms.Form):
    """Every field may be missing; then the search's own default counts."""

    use_required_attribute = False

    query = forms.CharField(label=_("Search"), required=False, max_length=500)
    mode = forms.ChoiceField(
        label=_("How to search"),
        required=False,
        choices=[
            (SearchMode.PARTIAL.value, _("Part of the name")),
            (SearchMode.FULLTEXT.value, _("Words anywhere")),
            (SearchMode.EXACT.value, _("Whole name")),
        ],
    )
    status = forms.ChoiceField(
        label=_("Status"),
        required=False,
        choices=[
            (FileStatus.ACTIVE.value, pgettext_lazy("files", "Active")),
            (FileStatus.EXPIRED.value, pgettext_lazy("files", "Expired")),
            (FileStatus.DELETED.value, pgettext_lazy("files", "Deleted")),
        ],
    )
    retention_policy = forms.ChoiceField(
        label=_("Retention"),
        required=False,
        choices=[
            ("", _("Any")),
            (Retention.TEMPORARY.value, _("Temporary")),
            (Retention.PERMANENT.value, _("Permanent")),
        ],
    )
    element = forms.ModelChoiceField(
        label=_("Storage element"),
        required=False,
        queryset=StorageElement.objects.order_by("name", "id"),
        empty_label=_("Any element"),
    )
    tags = TagsField(label=_("Tags (all of them)"), help_text="", max_length=7000)
    filename = forms.CharField(label=_("Name contains"), required=False, max_length=255)
    file_extension = forms.CharField(label=_("Extension"), required=False, max_length=32)
    content_type = forms.CharField(label=_("Content type"), required=False, max_length=255)
    uploaded_by = forms.CharField(label=_("Uploaded by"), required=False, max_length=150)
    uploaded_after = forms.DateField(
        label=_("Uploaded from (UTC)"),
        required=False,
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
    )
    uploaded_before = forms.DateField(
        label=_("Uploaded until (UTC)"),
        required=False,
        # There is no day after the last one.
        validators=[MaxValueValidator(dt.date.max - _DAY)],
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
    )
    min_size = SizeField(label=_("At least"), required=False)
    max_size = SizeField(label=_("At most"), required=False)
    checksum = forms.RegexField(
        label=_("Checksum (sha256)"),
        required=False,
        regex=r"^[0-9a-fA-F]{64}$",
        error_messages={"invalid": _("A checksum has 64 hexadecimal digits.")},
    )
    metadata = MetadataField(
        label=_("Metadata contains (JSON)"),
        required=False,
        error_messages={"invalid": _('Write a JSON object such as {"project": "north"}.')},
        widget=forms.TextInput,
    )
    sort_by = forms.ChoiceField(
        label=_("Sort by"), required=False, choices=[(sort.value, sort.value) for sort in SortBy]
    )
    sort_order = forms.ChoiceField(
        required=False, choices=[(order.value, order.value) for order in SortOrder]
    )
    offset = forms.IntegerField(required=False, min_value=0, max_value=MAX_OFFSET)
    cursor = forms.CharField(required=False, max_length=2000)

    FILTERS = (
        "retention_policy",
        "element",
        "tags",
        "filename",
        "file_extension",
        "content_type",
        "uploaded_by",
        "uploaded_after",
        "uploaded_before",
        "min_size",
        "max_size",
        "metadata",
        "checksum",
    )

    def clean_metadata(self) -> dict[str, Any]:
        value = self.cleaned_data["metadata"]
        if value is not None and not isinstance(value, dict):
            raise forms.ValidationError(_('Write a JSON object such as {"project": "north"}.'))
        return value or {}

    @property
    def filters(self) -> list[forms.BoundField]:
        """The fields behind the Filters button."""
        return [self[name] for name in self.FILTERS]

    @property
    def filters_in_use(self) -> int:
        return sum(1 for name in self.FILTERS if self.data.get(name))

    def search(self) -> SearchQuery:
        """The search these fields stand for; call after `is_valid`."""
        given = {
            name: value for name, value in self.cleaned_data.items() if value not in (None, "")
        }
        given["tags"] = tuple(given.get("tags", ()))
        element = given.pop("element", None)
        before = given.pop("uploaded_before", None)
        after = given.pop("uploaded_after", None)
        for name, kind in (("mode", SearchMode), ("sort_by", SortBy), ("sort_order", SortOrder)):
            if name in given:
                given[name] = kind(given[name])
        return SearchQuery(
            **given,
            limit=PAGE_FILES,
            element_id=element.pk if element else None,
            uploaded_after=_midnight(after) if after else None,
            # The day named is meant to its end.
            uploaded_before=_midnight(before) + _DAY if before else None,
        )


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
