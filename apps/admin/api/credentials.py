"""The doors where credentials become tokens: the OAuth token endpoint, the JWKS, and the login of
people with its refresh and end.
"""

import base64
import binascii
import json
from typing import Any, cast
from urllib.parse import unquote_plus

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.admin import grants, metrics, permissions, sessions, users
from apps.admin import serializers as shapes
from apps.admin.api.schema import TAGS, answers
from apps.admin.authentication import client_address, principal_of
from apps.admin.errors import OAuthError
from apps.admin.grants import TokenRequest
from apps.admin.keyring import keyring
from apps.admin.permissions import Act
from apps.admin.sessions import SignIn, TokenPair

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
JWKS_SECONDS = 30
_PARAMETERS = ("grant_type", "client_id", "client_secret", "scope", "resource")


class TokenView(APIView):
    """OAuth 2.0 client credentials, RFC 6749 to the letter; its errors are the RFC's."""

    authentication_classes = ()
    permission_classes = (permissions.Anyone,)

    def initialize_request(self, request: HttpRequest, *_args: Any, **_kwargs: Any) -> Request:
        """Django's own request: DRF's would copy the form and cost more than signing the token."""
        return cast("Request", request)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Nothing to settle: anyone may ask, in one format; the client is proven by the verb."""

    @extend_schema(
        operation_id="auth_token",
        tags=TAGS,
        auth=[],
        summary="A token for a service account (client credentials)",
        request={
            "application/x-www-form-urlencoded": shapes.TokenRequestSerializer,
            "application/json": shapes.TokenRequestSerializer,
        },
        responses={
            200: OpenApiResponse(shapes.AccessTokenSerializer, description="Done."),
            400: OpenApiResponse(shapes.OAuthErrorSerializer, description="RFC 6749 section 5.2."),
            401: OpenApiResponse(
                shapes.OAuthErrorSerializer,
                description="The client is not known or not proven.",
                examples=[OpenApiExample("refused", {"error": "invalid_client"})],
            ),
            429: OpenApiResponse(shapes.ErrorSerializer, description="Too many; see Retry-After."),
        },
    )
    def post(self, request: HttpRequest) -> HttpResponse:
        asked = read_token_request(request)
        granted = grants.grant(asked, client_address(request), timezone.now())
        body = {
            "access_token": granted.access_token,
            "token_type": "Bearer",
            "expires_in": granted.expires_in_seconds,
            "scope": granted.scope,
        }
        return JsonResponse(body, headers=NO_STORE)

    def handle_exception(self, exc: Exception) -> Response:
        """The RFC's body for the RFC's refusals; everything else is the envelope."""
        if isinstance(exc, BadRequest | SuspiciousOperation | RecursionError):
            exc = OAuthError(
                "invalid_request", "The body must be a form or a JSON object of parameters."
            )
            metrics.TOKEN_REFUSALS.labels(exc.error).inc()
        if isinstance(exc, OAuthError):
            body = {"error": exc.error, "error_description": str(exc)}
            return Response(body, status=exc.http_status, headers=NO_STORE | exc.headers)
        return super().handle_exception(exc)


def read_token_request(request: HttpRequest) -> TokenRequest:
    """The parameters from form or JSON, the client from the body or from HTTP Basic."""
    found = _parameters(_body_of(request))
    basic = _basic_credentials(request.META.get("HTTP_AUTHORIZATION", ""))
    if basic is not None:
        client_id, secret = basic
        if found["client_secret"] or found["client_id"] not in ("", client_id):
            raise OAuthError("invalid_request", "Name the client in one way, not in two.")
        found |= {"client_id": client_id, "client_secret": secret}
    return TokenRequest(**found)


def _body_of(request: HttpRequest) -> Any:
    """The form or the JSON of the body, which Django keeps small; `BadRequest` for anything else."""
    if request.content_type == "application/x-www-form-urlencoded":
        return request.POST
    if request.content_type != "application/json":
        raise BadRequest("not a form and not JSON")
    try:
        return json.loads(request.body)
    except ValueError as failure:
        raise BadRequest("not JSON") from failure


def _parameters(data: Any) -> dict[str, str]:
    """Known parameters; unknown ones are ignored, as the RFC asks, repeated ones refused."""
    if isinstance(data, QueryDict):
        if any(len(data.getlist(name)) > 1 for name in _PARAMETERS):
            raise OAuthError("invalid_request", "A parameter is given more than once.")
    elif not isinstance(data, dict):
        raise OAuthError("invalid_request", "The body must be a JSON object of parameters.")
    found = {name: data.get(name) or "" for name in _PARAMETERS}
    if not all(isinstance(value, str) for value in found.values()):
        raise OAuthError("invalid_request", "Every parameter must be a string.")
    return found


def _basic_credentials(header: str) -> tuple[str, str] | None:
    """Client id and secret of an HTTP Basic header, form-decoded as RFC 6749 2.3.1 says."""
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    client_id, _, secret = decoded.partition(":")
    return unquote_plus(client_id), unquote_plus(secret)


class JwksView(APIView):
    """The public keys, RFC 7517: announced, active and retiring."""

    authentication_classes = ()
    permission_classes = (permissions.Anyone,)

    @extend_schema(
        operation_id="auth_jwks",
        tags=TAGS,
        auth=[],
        summary="The public keys that verify our tokens",
        responses=answers({200: shapes.JwksSerializer}),
    )
    def get(self, request: Request) -> Response:  # noqa: ARG002 - DRF's signature
        headers = {"Cache-Control": f"public, max-age={JWKS_SECONDS}"}
        return Response({"keys": keyring.jwks()}, headers=headers)


@extend_schema_view(get=extend_schema(operation_id="well_known_jwks"))
class WellKnownJwksView(JwksView):
    """The same keys where discovery looks for them."""


class LoginView(APIView):
    authentication_classes = ()
    permission_classes = (permissions.Anyone,)

    @extend_schema(
        operation_id="admin_login",
        tags=TAGS,
        auth=[],
        summary="Log a person in",
        request=shapes.LoginSerializer,
        responses=answers({200: shapes.TokenPairSerializer}, 400, 401, 423, 429),
    )
    def post(self, request: Request) -> Response:
        asked = shapes.LoginSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        attempt = SignIn(address=client_address(request), **asked.validated_data)
        return _pair(sessions.log_in(attempt, timezone.now()))


class RefreshView(APIView):
    authentication_classes = ()
    permission_classes = (permissions.Anyone,)

    @extend_schema(
        operation_id="admin_refresh",
        tags=TAGS,
        auth=[],
        summary="A new pair of tokens; the refresh token given dies",
        request=shapes.RefreshTokenSerializer,
        responses=answers({200: shapes.TokenPairSerializer}, 400, 401, 429),
    )
    def post(self, request: Request) -> Response:
        asked = shapes.RefreshTokenSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        token = asked.validated_data["refresh_token"]
        return _pair(sessions.refresh(token, client_address(request), timezone.now()))


class LogoutView(APIView):
    permission_classes = (permissions.allow(POST=Act.OWN_ACCOUNT),)

    @extend_schema(
        operation_id="admin_logout",
        tags=TAGS,
        summary="End this session",
        request=shapes.RefreshTokenSerializer,
        responses=answers({204: None}, 400, 401, 403),
    )
    def post(self, request: Request) -> Response:
        asked = shapes.RefreshTokenSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        sessions.log_out(
            principal_of(request), asked.validated_data["refresh_token"], timezone.now()
        )
        return Response(status=204)


class MeView(APIView):
    permission_classes = (permissions.allow(GET=Act.OWN_ACCOUNT),)

    @extend_schema(
        operation_id="admin_me",
        tags=TAGS,
        summary="Who I am",
        responses=answers({200: shapes.UserSerializer}, 401, 403),
    )
    def get(self, request: Request) -> Response:
        me = users.get(principal_of(request).id)
        return Response(shapes.represent_users([me], timezone.now())[0])


class ChangePasswordView(APIView):
    permission_classes = (permissions.allow(POST=Act.OWN_ACCOUNT),)

    @extend_schema(
        operation_id="admin_change_password",
        tags=TAGS,
        summary="Change one's own password; one's other sessions end",
        request=shapes.ChangePasswordSerializer,
        responses=answers({204: None}, 400, 401, 403, 423),
    )
    def post(self, request: Request) -> Response:
        asked = shapes.ChangePasswordSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        passwords = asked.validated_data
        users.change_password(
            principal_of(request),
            passwords["current_password"],
            passwords["new_password"],
            timezone.now(),
        )
        return Response(status=204)


def _pair(pair: TokenPair) -> Response:
    body = {
        "access_token": pair.access_token,
        "refresh_token": pair.refresh_token,
        "token_type": "Bearer",
        "expires_in": pair.expires_in_seconds,
    }
    return Response(body, headers=NO_STORE)
