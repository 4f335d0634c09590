"""What the OpenAPI document says alike of every identity door."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiResponse
from rest_framework.serializers import BaseSerializer

from apps.admin.serializers import ErrorSerializer

Shape = BaseSerializer[Any] | type[BaseSerializer[Any]] | None

TAGS = ["admin"]
_MEANINGS = {
    400: "A field is missing or not valid.",
    401: "No token, or one that is not valid here.",
    403: "Your role or scopes do not allow this.",
    404: "There is no such thing.",
    409: "It would clash with what exists.",
    423: "The account is locked; see Retry-After.",
    429: "Too many requests; see Retry-After.",
}


def answers(success: Mapping[int, Shape], *failures: int) -> dict[int, OpenApiResponse]:
    """The responses of one call: what success looks like, and the envelope for each failure."""
    described = {
        status: OpenApiResponse(serializer, description="Done.")
        for status, serializer in success.items()
    }
    for status in failures:
        described[status] = OpenApiResponse(ErrorSerializer, description=_MEANINGS[status])
    return described
