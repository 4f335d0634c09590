"""REST glue: the error envelope, the page envelope, request ids, time format.

Nothing here knows an app. Doors raise `ArtStoreError`s; `exception_handler` answers once.
"""

import logging
import re
import uuid
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core import exceptions as django_exceptions
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils import translation
from rest_framework import exceptions as drf
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import set_rollback

from artstore.errors import ArtStoreError, Details
from artstore.logs import request_id_var

logger = logging.getLogger(__name__)

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

_DRF_CODES: dict[type[drf.APIException], tuple[str, str]] = {
    drf.NotAuthenticated: ("UNAUTHORIZED", "This call needs a bearer token."),
    drf.AuthenticationFailed: ("UNAUTHORIZED", ""),
    drf.PermissionDenied: ("FORBIDDEN", ""),
    drf.NotFound: ("NOT_FOUND", ""),
    drf.MethodNotAllowed: ("METHOD_NOT_ALLOWED", ""),
    drf.UnsupportedMediaType: ("UNSUPPORTED_MEDIA_TYPE", ""),
    drf.Throttled: ("THROTTLED", ""),
    drf.ParseError: ("VALIDATION_ERROR", ""),
}

_STATUS_CODES = {
    400: "VALIDATION_ERROR",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "FILE_TOO_LARGE",
    500: "INTERNAL_ERROR",
}


_Answer = tuple[str, int, str]
_FOREIGN_FAILURES: tuple[tuple[tuple[type[Exception], ...], _Answer], ...] = (
    ((Http404,), ("NOT_FOUND", 404, "There is nothing at this address.")),
    ((django_exceptions.PermissionDenied,), ("FORBIDDEN", 403, "You may not do this.")),
    (
        # A body nested a thousand levels deep ends the JSON parser with a RecursionError.
        (django_exceptions.BadRequest, django_exceptions.SuspiciousOperation, RecursionError),
        ("VALIDATION_ERROR", 400, "The request is malformed."),
    ),
    (
        (OperationalError, InterfaceError),
        ("UNAVAILABLE", 503, "The database does not answer. Try again in a few seconds."),
    ),
)
_CRASHED = (
    "INTERNAL_ERROR",
    500,
    "The server failed to answer. Report the request id to the operator.",
)


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer for input that refuses fields it does not know: a typo must not pass silently."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                raise serializers.ValidationError({name: ["Unknown field."] for name in unknown})
        return super().to_internal_value(data)


def error_body(code: str, message: str, details: Details | None = None) -> dict[str, Any]:
    """The one shape of every error under `/api`. A `VALIDATION_ERROR` always has `details`."""
    body: dict[str, Any] = {"error": {"code": code, "message": message}}
    if code == "VALIDATION_ERROR" and details is None:
        details = {"non_field_errors": [message]}
    if details is not None:
        body["error"]["details"] = {field: list(texts) for field, texts in details.items()}
    body["request_id"] = request_id_var.get()
    return body


def error_response(error: ArtStoreError) -> JsonResponse:
    """The envelope as a plain Django response, for code that runs outside a DRF view."""
    body = error_body(error.code, str(error), error.details)
    response = JsonResponse(body, status=error.status, headers=error.headers)
    if error.status == 401:
        response.headers.setdefault("WWW-Authenticate", "Bearer")
    return response


def exception_handler(failure: Exception, context: dict[str, Any]) -> Response:
    """Every exception of a DRF view becomes the envelope; unknown ones become a logged 500."""
    set_rollback()
    with translation.override("en"):
        response = _answer(failure)
    if response.status_code == 401:
        response.headers.setdefault("WWW-Authenticate", "Bearer")
    if response.status_code >= 500 and not isinstance(failure, ArtStoreError):
        view = type(context.get("view")).__name__
        logger.error("unhandled exception in %s", view, exc_info=failure)
    return response


def _answer(failure: Exception) -> Response:
    if isinstance(failure, ArtStoreError):
        body = error_body(failure.code, str(failure), failure.details)
        return Response(body, status=failure.status, headers=failure.headers)
    if isinstance(failure, drf.ValidationError):
        body = error_body(
            "VALIDATION_ERROR",
            "The request was not accepted because some of its fields are not valid.",
            flatten_details(failure.detail),
        )
        return Response(body, status=400)
    if isinstance(failure, drf.APIException):
        return _answer_framework(failure)
    code, status, message = next(
        (answer for kinds, answer in _FOREIGN_FAILURES if isinstance(failure, kinds)), _CRASHED
    )
    headers = {"Retry-After": "5"} if status == 503 else None
    return Response(error_body(code, message), status=status, headers=headers)


def _answer_framework(failure: drf.APIException) -> Response:
    fallback = (_STATUS_CODES.get(failure.status_code, "INTERNAL_ERROR"), "")
    code, message = next(
        (answer for kind, answer in _DRF_CODES.items() if isinstance(failure, kind)), fallback
    )
    headers: dict[str, str] = {}
    if getattr(failure, "auth_header", None):
        headers["WWW-Authenticate"] = failure.auth_header  # type: ignore[attr-defined]  # DRF sets it in handle_exception
    wait_seconds = getattr(failure, "wait", None)
    if wait_seconds:
        headers["Retry-After"] = str(int(wait_seconds) + 1)
    body = error_body(code, message or str(failure.detail))
    return Response(body, status=failure.status_code, headers=headers)


def flatten_details(detail: Any, prefix: str = "") -> dict[str, list[str]]:
    """DRF's nested error detail as `field -> messages`; nested fields are joined with dots."""
    if isinstance(detail, dict):
        flat: dict[str, list[str]] = {}
        for key, value in detail.items():
            flat |= flatten_details(value, f"{prefix}.{key}" if prefix else str(key))
        return flat
    texts = detail if isinstance(detail, list) else [detail]
    if any(isinstance(text, dict) for text in texts):
        flat = {}
        for position, text in enumerate(texts):
            if text:
                flat |= flatten_details(text, f"{prefix}.{position}")
        return flat
    return {prefix or "non_field_errors": [str(text) for text in texts]}


class RequestIdMiddleware:
    """Takes the caller's `X-Request-ID` when it is sane, makes one otherwise, and answers with it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        offered = request.headers.get("X-Request-ID", "")
        request_id = offered if _SANE_REQUEST_ID.fullmatch(offered) else str(uuid.uuid4())
        token = request_id_var.set(request_id)
        try:
            response = self.get_response(request)
        finally:
            request_id_var.reset(token)
        response.headers["X-Request-ID"] = request_id
        return response


def is_api(request: HttpRequest) -> bool:
    """Whether the caller speaks the REST contract, so that no HTML may answer it.

    In a process without the console there is no page, and so no caller who wants one.
    """
    if "console" not in settings.ARTSTORE_MODULES:
        return True
    return request.path.startswith(("/api", "/health", "/metrics", "/.well-known"))


def plain_error(request: HttpRequest, status: int, message: str) -> HttpResponse | None:
    """The envelope for failures outside any view (unknown path, bad host); `None` for pages."""
    if not is_api(request):
        return None
    with translation.override("en"):
        return JsonResponse(error_body(_STATUS_CODES[status], str(message)), status=status)


def schema_servers(result: dict[str, Any], **_kwargs: Any) -> dict[str, Any]:
    """drf-spectacular hook: the document names no host, so it is the same everywhere."""
    result["servers"] = [{"url": "/"}]
    result["info"]["x-modules"] = list(settings.ARTSTORE_MODULES)
    return result
