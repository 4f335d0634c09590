"""Search input, checked and turned into an `asking.SearchQuery`; search output. No decisions."""

import json
import re
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from apps.query.asking import SearchMode, SearchQuery, SortBy, SortOrder
from apps.query.search import Hit, SearchPage
from apps.query.statements import RANKED_FILES
from apps.registry.models import FileStatus, Retention
from apps.registry.serializers import FileSerializer
from artstore.api import StrictSerializer
from artstore.paging import DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET

_MAX_BIGINT = 2**63 - 1
_MAX_METADATA_CHARACTERS = 12 * 1024
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_VISIBLE = [choice for choice in FileStatus.choices if choice[0] != FileStatus.UPLOADING]


class SearchSerializer(StrictSerializer):
    """The body of a search. Every field is optional; an unknown one is an error."""

    query = serializers.CharField(
        required=False, allow_blank=True, max_length=500, trim_whitespace=False
    )
    mode = serializers.ChoiceField(
        [mode.value for mode in SearchMode], required=False, default=SearchMode.PARTIAL
    )
    filename = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=255,
        trim_whitespace=False,
        help_text="Part of the name, whatever the mode; upper and lower case are the same.",
    )
    file_extension = serializers.CharField(required=False, allow_blank=True, max_length=33)
    tags = serializers.ListField(
        child=serializers.CharField(max_length=64, trim_whitespace=False),
        required=False,
        max_length=50,
        help_text="Files that carry all of them.",
    )
    metadata = serializers.DictField(
        required=False, help_text="Files whose metadata contains this object."
    )
    uploaded_by = serializers.CharField(required=False, allow_blank=True, max_length=150)
    retention_policy = serializers.ChoiceField(Retention.choices, required=False)
    status = serializers.ChoiceField(_VISIBLE, required=False, default=FileStatus.ACTIVE.value)
    min_size = serializers.IntegerField(required=False, min_value=0, max_value=_MAX_BIGINT)
    max_size = serializers.IntegerField(required=False, min_value=0, max_value=_MAX_BIGINT)
    uploaded_after = serializers.DateTimeField(required=False)
    uploaded_before = serializers.DateTimeField(required=False)
    content_type = serializers.CharField(required=False, allow_blank=True, max_length=255)
    checksum = serializers.RegexField("^[0-9a-fA-F]{64}$", required=False)
    limit = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_LIMIT, default=DEFAULT_LIMIT
    )
    offset = serializers.IntegerField(
        required=False, min_value=0, max_value=MAX_OFFSET, default=0, help_text="Or `cursor`."
    )
    cursor = serializers.CharField(
        required=False, max_length=4000, help_text="Not with an order by relevance."
    )
    sort_by = serializers.ChoiceField(
        [sort.value for sort in SortBy],
        required=False,
        help_text=(
            "Default: relevance for a fulltext query, else uploaded_at. "
            f"Relevance ranks the newest {RANKED_FILES} matches."
        ),
    )
    sort_order = serializers.ChoiceField([order.value for order in SortOrder], required=False)

    def validate_metadata(self, value: dict[str, Any]) -> dict[str, Any]:
        """What PostgreSQL cannot hold, no file can contain."""
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        except (ValueError, RecursionError) as failure:
            raise serializers.ValidationError(_("Holds a value no file can have.")) from failure
        if len(text) > _MAX_METADATA_CHARACTERS:
            raise serializers.ValidationError(_("Is larger than any file's metadata."))
        if _UNSTORABLE.search(text) or "\\u0000" in text:
            raise serializers.ValidationError(_("Holds a character no file can have."))
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        for low, high in (("min_size", "max_size"), ("uploaded_after", "uploaded_before")):
            if low in attrs and high in attrs and attrs[low] > attrs[high]:
                raise serializers.ValidationError({low: [_("Is beyond %s.") % high]})
        return attrs

    def to_query(self) -> SearchQuery:
        """The checked input as plain values."""
        values = dict(self.validated_data)
        if not values.get("query", "").strip():
            values.pop("query", None)
        values["tags"] = tuple(values.get("tags", ()))
        for name, kind in (("mode", SearchMode), ("sort_by", SortBy), ("sort_order", SortOrder)):
            if name in values:
                values[name] = kind(values[name])
        return SearchQuery(**values)


class HitSerializer(FileSerializer):
    """A file that was found."""

    relevance = serializers.FloatField(
        required=False, read_only=True, help_text="Fulltext queries only."
    )

    class Meta(FileSerializer.Meta):
        fields = (*FileSerializer.Meta.fields, "relevance")

    def to_representation(self, instance: Hit) -> dict[str, Any]:  # type: ignore[override]  # a hit wraps its record
        shown = super().to_representation(instance.record)
        if instance.relevance is not None:
            shown["relevance"] = instance.relevance
        return shown


class SearchPageSerializer(serializers.Serializer[SearchPage]):
    """The page envelope of a search."""

    items = HitSerializer(many=True, source="hits")
    total = serializers.IntegerField()
    total_is_estimate = serializers.BooleanField(required=False)
    limit = serializers.IntegerField()
    offset = serializers.IntegerField()
    has_more = serializers.BooleanField()
    next_cursor = serializers.CharField(allow_null=True)

    def to_representation(self, instance: SearchPage) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        if not instance.total_is_estimate:
            shown.pop("total_is_estimate")
        return shown
