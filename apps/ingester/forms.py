"""The upload page's form: how its fields look, and how a person's way of writing them becomes the
API's. Whether the values are good is for `fields` to say."""

import json
from collections.abc import Mapping, Sequence

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.ingester.fields import DEFAULT_TTL_DAYS, FIELD_NAMES, MAX_TTL_DAYS, MIN_TTL_DAYS
from apps.registry import tag_text
from apps.registry.attributes import MAX_DESCRIPTION_CHARACTERS
from apps.registry.forms.files import QUOTES_OPEN, TagsField
from apps.registry.models import Retention
from artstore.errors import ValidationError

Texts = Mapping[str, Sequence[str]]


class UploadForm(forms.Form):
    """Everything but the file, which the page draws itself."""

    use_required_attribute = False

    retention_policy = forms.ChoiceField(
        label=_("Keep"),
        required=False,
        choices=[
            (Retention.TEMPORARY.value, _("For a time")),
            (Retention.PERMANENT.value, _("Permanently")),
        ],
        initial=Retention.TEMPORARY.value,
        widget=forms.RadioSelect,
    )
    ttl_days = forms.IntegerField(
        label=_("Days to keep"),
        required=False,
        initial=DEFAULT_TTL_DAYS,
        min_value=MIN_TTL_DAYS,
        max_value=MAX_TTL_DAYS,
        help_text=_("1 to 365; permanent files have none."),
    )
    tags = TagsField(label=_("Tags"))
    description = forms.CharField(
        label=_("Description"),
        required=False,
        max_length=MAX_DESCRIPTION_CHARACTERS,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    metadata = forms.CharField(
        label=_("Metadata"),
        required=False,
        help_text=_('A JSON object, such as {"project": "north"}.'),
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "class": "font-monospace"}),
    )


def as_sent_to_the_api(texts: Texts) -> dict[str, list[str]]:
    """The page's fields as the API takes them: tags as a list, no days for a permanent file."""
    fields = {name: list(texts[name]) for name in FIELD_NAMES if name in texts}
    try:
        tags = tag_text.parse(", ".join(fields.pop("tags", [])))
    except tag_text.QuotesOpen as failure:
        problem = str(QUOTES_OPEN)
        raise ValidationError(problem, details={"tags": [problem]}) from failure
    if tags:
        fields["tags"] = [json.dumps(tags)]
    if fields.get("retention_policy") == [Retention.PERMANENT.value]:
        fields.pop("ttl_days", None)
    return fields
