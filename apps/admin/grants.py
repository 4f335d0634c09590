"""The OAuth 2.0 client-credentials grant: who asks, for which scopes, for which door.

Speaks RFC 6749's words for refusals. How the request was written (form, JSON, Basic) is `api.py`.
"""

import datetime as dt
import re
from dataclasses import dataclass, field
from typing import Any

import django.apps
from django.db import connection

from apps.admin import audit, metrics, service_accounts, throttling, tokens
from apps.admin.errors import OAuthError
from apps.admin.models import SCOPES, ServiceAccount
from apps.admin.principals import Principal
from apps.admin.service_accounts import Authenticated

GRANT_TYPE = "client_credentials"
# RFC 6749 section 3.3: printable ASCII without quote and backslash, separated by single spaces.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")
# What an element's own door can be opened for by a client; never its maintenance.
ELEMENT_SCOPES = ("files:read", "files:write")


@dataclass(frozen=True)
class TokenRequest:
    """The parameters of one token request; absent ones are empty."""

    grant_type: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str
    resource: str


@dataclass(frozen=True)
class GrantedToken:
    access_token: str = field(repr=False)
    expires_in_seconds: int
    scope: str


def grant(request: TokenRequest, address: str, now: dt.datetime) -> GrantedToken:
    """A token for the account; `OAuthError` says what RFC 6749 says, `Throttled` when too often."""
    question = service_accounts.question_of(request.client_id)
    row = throttling.admit_asking("token", address, request.client_id, now, question)
    try:
        return _grant(request, row, now)
    except OAuthError as refusal:
        metrics.TOKEN_REFUSALS.labels(refusal.error).inc()
        raise


def _grant(request: TokenRequest, row: tuple[Any, ...], now: dt.datetime) -> GrantedToken:
    if not request.grant_type:
        raise OAuthError("invalid_request", "The parameter grant_type is missing.")
    if request.grant_type != GRANT_TYPE:
        raise OAuthError("unsupported_grant_type", f"Only {GRANT_TYPE} is supported.")
    proven = service_accounts.prove(row, request.client_secret, now)
    if proven is None:
        raise OAuthError(
            "invalid_client",
            "The client is unknown, suspended, or its secret is wrong or has expired.",
            status=401,
            headers={"WWW-Authenticate": 'Basic realm="artstore", charset="UTF-8"'},
        )
    if request.resource:
        return _grant_for_element(proven, request, now)
    scopes = _narrowed(request.scope, tuple(proven.account.scopes))
    issued = tokens.service_token(proven.account, scopes, proven.secret_ends_at, now)
    return GrantedToken(issued.token, issued.expires_in_seconds, " ".join(scopes))


def _grant_for_element(
    proven: Authenticated, request: TokenRequest, now: dt.datetime
) -> GrantedToken:
    account = proven.account
    if not account.element_tokens:
        _record_refusal(account, request.resource, now)
        raise OAuthError(
            "unauthorized_client", "This account may not ask for tokens of storage elements."
        )
    storage_id = _registered_storage_id(request.resource)
    allowed = tuple(scope for scope in ELEMENT_SCOPES if scope in account.scopes)
    scopes = _narrowed(request.scope, allowed)
    issued = tokens.element_token_for_client(
        storage_id, account, scopes, proven.secret_ends_at, now
    )
    return GrantedToken(issued.token, issued.expires_in_seconds, " ".join(scopes))


def _narrowed(asked: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """The scopes asked for, all of which must be allowed; none asked: all that are allowed."""
    wanted = set(asked.split(" ")) if asked else set(allowed)
    if asked and not _SCOPE.fullmatch(asked):
        raise OAuthError("invalid_scope", "The scope is not a list separated by single spaces.")
    if not wanted or not wanted <= set(allowed):
        raise OAuthError("invalid_scope", "The account does not hold every scope asked for.")
    return tuple(scope for scope in SCOPES if scope in wanted)


def _registered_storage_id(resource: str) -> str:
    """The storage_id a resource names; the registry's table is asked by name, as it is above us."""
    storage_id = resource.removeprefix(tokens.ELEMENT_AUDIENCE_PREFIX)
    is_urn = resource.startswith(tokens.ELEMENT_AUDIENCE_PREFIX)
    if not is_urn or not tokens.STORAGE_ID.fullmatch(storage_id) or not _is_registered(storage_id):
        raise OAuthError("invalid_target", "The resource is not a registered storage element.")
    return storage_id


def _is_registered(storage_id: str) -> bool:
    element = django.apps.apps.get_model("registry", "StorageElement")
    with connection.cursor() as cursor:
        cursor.execute(
            f"select 1 from {element._meta.db_table} where storage_id = %s",  # noqa: S608 - our own table's name
            [storage_id],
        )
        return cursor.fetchone() is not None


def _record_refusal(account: ServiceAccount, resource: str, now: dt.datetime) -> None:
    principal = Principal("service_account", account.client_id, account.id)
    audit.record(principal, "access.refused", resource, {"door": "auth/token"}, now)
