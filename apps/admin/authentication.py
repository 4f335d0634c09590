"""From a request to a principal: the bearer token under DRF, the session for pages.

Status and role come from the database on every request, never from the token alone, so a
suspended account or a changed role takes effect at once.
"""

from typing import Any, cast

from django.contrib.auth.backends import BaseBackend
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from apps.admin import principals, tokens
from apps.admin.errors import InvalidToken
from apps.admin.models import AccountStatus, RefreshFamily, ServiceAccount, User
from apps.admin.principals import Principal

__all__ = ["BearerAuthentication", "Principal", "SessionBackend", "principal_of"]


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
        return _user_principal(claims)
    return _service_principal(claims)


def principal_of(request: HttpRequest) -> Principal:
    """The principal of a signed-in page request; the page guard has checked there is one."""
    return principals.of_user(cast("User", request.user))


def _user_principal(claims: tokens.AccessClaims) -> Principal:
    family = (
        RefreshFamily.objects.select_related("user")
        .filter(
            id=claims.session_id,
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
    account = ServiceAccount.objects.filter(
        client_id=claims.subject, status=AccountStatus.ACTIVE
    ).first()
    if account is None:
        raise InvalidToken("The service account of this token is suspended or gone.")
    scopes = frozenset(account.scopes) & claims.scopes
    return Principal("service_account", account.client_id, account.id, scopes=scopes)
