"""How uploads are described in OpenAPI. What is accepted is decided in `fields` and `multipart`."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from apps.ingester.fields import MAX_TTL_DAYS, MIN_TTL_DAYS
from apps.registry.models import Retention
from apps.registry.serializers import FileSerializer


class UploadFormSerializer(serializers.Serializer[Any]):
    """The parts of the form; fields may come before the file (faster) or after it."""

    file = serializers.FileField(allow_empty_file=True)
    description = serializers.CharField(required=False, max_length=1000)
    tags = serializers.CharField(
        required=False, help_text="A JSON array of texts, or the field repeated once per tag."
    )
    metadata = serializers.CharField(required=False, help_text="A JSON object.")
    retention_policy = serializers.ChoiceField(
        Retention.choices, required=False, default=Retention.TEMPORARY.value
    )
    ttl_days = serializers.IntegerField(
        required=False, min_value=MIN_TTL_DAYS, max_value=MAX_TTL_DAYS
    )
    checksum = serializers.RegexField("^[0-9a-fA-F]{64}$", required=False)


def _query(name: str, text: str) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.QUERY, description=text)


def _header(name: str, text: str) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, description=text)


UPLOAD_SCHEMA: dict[str, Any] = {
    "request": {
        "multipart/form-data": UploadFormSerializer,
        "application/octet-stream": OpenApiTypes.BINARY,
    },
    "parameters": [
        _query("filename", "Name of a raw body; required there, not used with a form."),
        _query("description", "Raw bodies only."),
        _query("tags", "Raw bodies only: a JSON array, or repeated."),
        _query("metadata", "Raw bodies only: a JSON object."),
        _query("retention_policy", "Raw bodies only: temporary (default) or permanent."),
        _query("ttl_days", "Raw bodies only: 1-365, default 30, temporary files only."),
        _query("checksum", "Raw bodies only: sha256 in hex."),
        _header("Idempotency-Key", "Up to 255 printable ASCII characters; repeats give one file."),
        _header("Content-Digest", "RFC 9530, sha-256; verified."),
        _header("Repr-Digest", "RFC 9530, sha-256; verified."),
    ],
    "responses": {
        201: FileSerializer,
        200: OpenApiResponse(FileSerializer, description="A repeat: stored before."),
    },
}
