"""What the OpenAPI document says alike of every registry door."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework.serializers import BaseSerializer

from apps.admin.serializers import ErrorSerializer

TAGS = ["admin"]
_MEANINGS = {
    400: "A field is missing or not valid.",
    401: "No token, or one that is not valid here.",
    403: "Your role or scopes do not allow this.",
    404: "There is no such thing.",
    409: "It would clash with what exists, or the element's mode does not allow it.",
    502: "The storage element does not answer, or not as one.",
}


def answers(
    success: Mapping[int, type[BaseSerializer[Any]] | BaseSerializer[Any] | Any], *failures: int
) -> dict[int, OpenApiResponse]:
    """The responses of one call: what success looks like, and the envelope for each failure."""
    described = {
        status: OpenApiResponse(shape, description="Done.") for status, shape in success.items()
    }
    for status in failures:
        described[status] = OpenApiResponse(ErrorSerializer, description=_MEANINGS[status])
    return described


def query(name: str, text: str, kind: Any = str) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=text)
