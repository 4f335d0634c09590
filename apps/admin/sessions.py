"""Signing in, staying signed in, and ending it: passwords checked, refresh tokens in families.

A login is a family. Its refresh tokens are used once each; a dead one presented again ends the
family. User access tokens name their family, so they die with it.
"""

import datetime as dt
import functools
import secrets
import uuid
from dataclasses import dataclass, field

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils.translation import gettext as _

from apps.admin import audit, lockout, metrics, principals, throttling, tokens
from apps.admin.digests import keyed
from apps.admin.errors import InvalidCredentials, InvalidRefreshToken
from apps.admin.models import RefreshFamily, RefreshToken, User
from apps.admin.principals import Principal

_REFRESH_BYTES = 32


@dataclass(frozen=True)
class SignIn:
    """Who says to be whom, and from where (for throttling)."""

    username: str
    password: str = field(repr=False)
    address: str


@dataclass(frozen=True)
class TokenPair:
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in_seconds: int


def sign_in(attempt: SignIn, now: dt.datetime) -> User:
    """The user whose name and password these are; the one way in for API and pages.

    `InvalidCredentials`, `AccountLocked` or `Throttled` otherwise.
    """
    throttling.admit("login", attempt.address, attempt.username, now)
    user = find(attempt.username)
    with transaction.atomic():
        signed_in = check_one_password(user, attempt.username, attempt.password, now)
        if signed_in is not None:
            signed_in.last_login_at = now
            signed_in.save(update_fields=["last_login_at"])
            audit.record(
                principals.of_user(signed_in), "session.login", signed_in.username, {}, now
            )
    metrics.LOGINS.labels("ok" if signed_in else "refused").inc()
    if signed_in is None:
        raise InvalidCredentials(
            _("Nobody was signed in: this name and password do not go together.")
        )
    return signed_in


def check_one_password(
    user: User | None, name: str, password: str, now: dt.datetime
) -> User | None:
    """One counted attempt; the user, locked for this transaction, when the password is right.

    Unknown and inactive names cost the same hash and give the same answer as a wrong password.
    """
    spent = _spent_hash()
    encoded = user.password if user is not None else spent

    def fits() -> bool:
        return check_password(password, encoded) and user is not None and user.is_active

    audited_name = user.username if user is not None else None
    if not lockout.try_password(name, fits, audited_name, now) or user is None:
        return None
    # The password may have been changed while the hash was computed.
    return (
        User.objects.select_for_update()
        .filter(pk=user.pk, password=encoded, is_active=True)
        .first()
    )


def log_in(attempt: SignIn, now: dt.datetime) -> TokenPair:
    """Sign in and open a family."""
    user = sign_in(attempt, now)
    with transaction.atomic():
        family = RefreshFamily.objects.create(user=user, created_at=now, expires_at=now)
        return _issue(family, user, now)


def refresh(token: str, address: str, now: dt.datetime) -> TokenPair:
    """A new pair for a live refresh token, which dies; a dead one ends its family."""
    throttling.admit("refresh", address, None, now)
    with transaction.atomic():
        found = (
            RefreshToken.objects.select_for_update(of=("self", "family"))
            .select_related("family__user")
            .filter(digest=_digest(token))
            .first()
        )
        if found is not None and _is_live(found, now):
            found.used_at = now
            found.save(update_fields=["used_at"])
            return _issue(found.family, found.family.user, now)
        if found is not None and found.used_at is not None:
            _end_for_reuse(found.family, now)
    raise InvalidRefreshToken(_("This refresh token is not valid any more. Log in again."))


def log_out(principal: Principal, token: str, now: dt.datetime) -> None:
    """End the session of the refresh token and the one the caller's token belongs to."""
    with transaction.atomic():
        ids = list(
            RefreshToken.objects.filter(
                digest=_digest(token), family__user_id=principal.id
            ).values_list("family_id", flat=True)
        )
        if principal.session_id is not None:
            ids.append(principal.session_id)
        _end(RefreshFamily.objects.filter(id__in=ids, user_id=principal.id), "logout", now)
        audit.record(principal, "session.logout", principal.subject, {}, now)


def end_all(user: User, reason: str, now: dt.datetime, *, keep: uuid.UUID | None = None) -> None:
    """End every session of a user, console ones included, but the family `keep`."""
    families = RefreshFamily.objects.filter(user=user)
    _end(families.exclude(id=keep) if keep else families, reason, now)
    User.objects.filter(pk=user.pk).update(session_generation=F("session_generation") + 1)
    user.refresh_from_db(fields=["session_generation"])


def forget_ended(now: dt.datetime) -> int:
    """Drop families nobody can refresh any more; answers how many rows went."""
    deleted, _rows = RefreshFamily.objects.filter(expires_at__lte=now).delete()
    return deleted


def find(username: str) -> User | None:
    return User.objects.filter(username__iexact=username).first()


def _issue(family: RefreshFamily, user: User, now: dt.datetime) -> TokenPair:
    token = "rt_" + secrets.token_urlsafe(_REFRESH_BYTES)
    family.expires_at = now + dt.timedelta(seconds=settings.ARTSTORE_REFRESH_TOKEN_SECONDS)
    family.save(update_fields=["expires_at"])
    RefreshToken.objects.create(digest=_digest(token), family=family, expires_at=family.expires_at)
    access = tokens.user_token(user, family.id, now)
    return TokenPair(access.token, token, access.expires_in_seconds)


def _is_live(token: RefreshToken, now: dt.datetime) -> bool:
    family = token.family
    unspent = token.used_at is None and token.expires_at > now
    return unspent and family.revoked_at is None and family.user.is_active


def _end_for_reuse(family: RefreshFamily, now: dt.datetime) -> None:
    """Two hold the same token: the owner and a thief. Neither keeps the session."""
    if family.revoked_at is None:
        metrics.REFRESH_REUSE.inc()
        _end(RefreshFamily.objects.filter(pk=family.pk), "reuse", now)
        details = {"session": str(family.pk)}
        audit.record(None, "session.reuse", family.user.username, details, now)


def _end(families: QuerySet[RefreshFamily], reason: str, now: dt.datetime) -> None:
    families.filter(revoked_at__isnull=True).update(revoked_at=now, revoked_reason=reason)


def _digest(token: str) -> str:
    return keyed("refresh", token)


@functools.cache
def _spent_hash() -> str:
    """The hash of a password nobody has, to be checked where there is no user."""
    return make_password(secrets.token_urlsafe(_REFRESH_BYTES))
