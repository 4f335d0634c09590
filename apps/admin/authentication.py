"""From a request to a principal: the bearer token under DRF, the session for pages; and where
the request came from.

Status and role come from the database on every request, never from the token alone, so a
suspended account or a changed role takes effect at once.
"""

import uuid
from typing import Any, cast

from django.conf import settings
from django.contrib.auth.backends import BaseBackend
from django.db import connection
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from apps.admin import principals, tokens
from apps.admin.errors import InvalidToken
from apps.admin.models import AccountStatus, RefreshFamily, ServiceAccount, User
from apps.admin.principals import Principal

__all__ = ["BearerAuthentication", "Principal", "SessionBackend", "client_address", "principal_of"]

_LIVE_ACCOUNT = (
    f"select id, client_id, scopes from {ServiceAccount._meta.db_table}"  # noqa: S608 - the table's name is ours
    " where client_id = %s and status = %s"
)


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <access token>`; nothing else opens a REST door."""

    def authenticate(self, request: Request) -> tuple[Principal, None] | None:
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() != b"bearer":
            return None
        if len(parts) != 2:
            raise AuthenticationFailed("The Authorization header must be 'Bearer <token>'.")
        try:
            return principal_of_token(parts[1].decode("latin-1")), None
        except InvalidToken as refused:
            raise AuthenticationFailed(str(refused)) from refused

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 - DRF's signature
        return "Bearer"


class SessionBackend(BaseBackend):
    """Keeps a signed-in person signed in. Signing in is `sessions.sign_in`, which counts failures;
    this backend has no `authenticate`, so no other way in exists."""

    def get_user(self, user_id: Any) -> User | None:
        return User.objects.filter(pk=user_id, is_active=True).first()


def principal_of_token(token: str) -> Principal:
    """The live account an access token speaks for; `InvalidToken` when there is none."""
    claims = tokens.read_access_token(token, timezone.now())
    if claims.session_id is not None:
        return _user_principal(claims, claims.session_id)
    return _service_principal(claims)


def principal_of(request: HttpRequest | Request) -> Principal:
    """Who asks, behind a door that has let somebody in: from the token, or from the session."""
    user: Any = request.user
    return user if isinstance(user, Principal) else principals.of_user(cast("User", user))


def client_address(request: HttpRequest | Request) -> str:
    """The address of whoever asks.

    X-Forwarded-For is believed only as far as ARTSTORE_TRUSTED_PROXIES proxies wrote it: each
    appends the address it was called from, so the wanted one is that many from the right.
    Anything left of it was written by the caller.
    """
    peer = str(request.META.get("REMOTE_ADDR", ""))
    trusted = settings.ARTSTORE_TRUSTED_PROXIES
    if trusted <= 0:
        return peer
    hops = [hop.strip() for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    return hops[-trusted] if len(hops) >= trusted and hops[-trusted] else peer


def _user_principal(claims: tokens.AccessClaims, session_id: uuid.UUID) -> Principal:
    family = (
        RefreshFamily.objects.select_related("user")
        .filter(
            id=session_id,
            revoked_at__isnull=True,
            user__is_active=True,
            user__username=claims.subject,
        )
        .first()
    )
    if family is None:
        raise InvalidToken("This session has ended. Log in again.")
    return principals.of_user(family.user, session_id=family.id)


def _service_principal(claims: tokens.AccessClaims) -> Principal:
    # Every call of a program begins here: one plain statement, without the price of a query set.
    with connection.cursor() as cursor:
        cursor.execute(_LIVE_ACCOUNT, [claims.subject, AccountStatus.ACTIVE.value])
        row = cursor.fetchone()
    if row is None:
        raise InvalidToken("The service account of this token is suspended or gone.")
    account_id, client_id, scopes = row
    return Principal(
        "service_account", client_id, account_id, scopes=frozenset(scopes) & claims.scopes
    )
