"""Programs: their accounts, scopes and secrets. A secret is shown once and kept as a digest."""

import contextlib
import datetime as dt
import re
import secrets
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from apps.admin import audit, digests
from apps.admin.models import SCOPES, SERVICE_PREFIX, AccountStatus, ServiceAccount
from apps.admin.throttling import Question
from artstore.errors import Conflict, NotFound, ValidationError

DEFAULT_EXPIRATION_DAYS = 90
SHORTEST_NAME_CHARACTERS = 2
LONGEST_NAME_CHARACTERS = 50
LONGEST_OVERLAP_SECONDS = 86_400
EDITABLE = ("name", "description", "scopes", "status", "element_tokens")
_SECRET_BYTES = 32
_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_UNSAFE_IN_ID = re.compile(r"[^A-Za-z0-9.-]+")
_USED_RESOLUTION = dt.timedelta(minutes=1)
# Compared where there is no account, so that an unknown client costs the same.
_NO_DIGEST = "0" * 64
_COLUMNS = [field.attname for field in ServiceAccount._meta.concrete_fields]
_BY_CLIENT_ID = (
    f"select {', '.join(_COLUMNS)} from {ServiceAccount._meta.db_table} where client_id = %s"  # noqa: S608 - names of our own columns
)


@dataclass(frozen=True)
class NewAccount:
    name: str
    scopes: Collection[str]
    description: str | None = None
    secret_expiration_days: int = DEFAULT_EXPIRATION_DAYS
    element_tokens: bool = False


@dataclass(frozen=True)
class IssuedSecret:
    """An account and its new secret, the only time it can be read."""

    account: ServiceAccount
    client_secret: str = field(repr=False)


@dataclass(frozen=True)
class Authenticated:
    """An account that proved itself, and when the secret it used ends (`None`: never)."""

    account: ServiceAccount
    secret_ends_at: dt.datetime | None


def create(draft: NewAccount, by: audit.Actor | None, now: dt.datetime) -> IssuedSecret:
    secret = _new_secret()
    account = ServiceAccount(
        client_id=_client_id(draft.name),
        name=_valid_name(draft.name),
        description=draft.description,
        scopes=_valid_scopes(draft.scopes),
        element_tokens=draft.element_tokens,
        secret_expiration_days=draft.secret_expiration_days,
        secret_digest=_digest(secret),
        secret_expires_at=_expiry(draft.secret_expiration_days, now),
        created_at=now,
        updated_at=now,
    )
    details = {
        "name": account.name,
        "scopes": account.scopes,
        "element_tokens": account.element_tokens,
    }
    with _name_is_free(draft.name), transaction.atomic():
        account.save(force_insert=True)
        audit.record(by, "service_account.create", account.client_id, details, now)
    return IssuedSecret(account, secret)


def get(account_id: uuid.UUID) -> ServiceAccount:
    return _found(ServiceAccount.objects.filter(pk=account_id).first())


def named(name: str) -> ServiceAccount:
    """By client id or by name."""
    return _found(ServiceAccount.objects.filter(Q(client_id=name) | Q(name=name)).first())


def edit(
    account_id: uuid.UUID, changes: Mapping[str, Any], by: audit.Actor | None, now: dt.datetime
) -> ServiceAccount:
    """Change name, description, scopes, status or element_tokens; in force at the next request."""
    with _name_is_free(str(changes.get("name", ""))), transaction.atomic():
        account = _get_locked(account_id)
        wanted = dict(changes)
        if "scopes" in wanted:
            wanted["scopes"] = _valid_scopes(wanted["scopes"])
        if "name" in wanted:
            wanted["name"] = _valid_name(wanted["name"])
        changed = {
            name: wanted[name]
            for name in EDITABLE
            if name in wanted and wanted[name] != getattr(account, name)
        }
        if changed:
            for name, value in changed.items():
                setattr(account, name, value)
            account.updated_at = now
            account.save(update_fields=[*changed, "updated_at"])
            audit.record(by, "service_account.edit", account.client_id, changed, now)
    return account


def remove(account_id: uuid.UUID, by: audit.Actor | None, now: dt.datetime) -> None:
    with transaction.atomic():
        account = _get_locked(account_id)
        account.delete()
        details = {"name": account.name}
        audit.record(by, "service_account.delete", account.client_id, details, now)


def rotate_secret(
    account_id: uuid.UUID, overlap_seconds: int, by: audit.Actor | None, now: dt.datetime
) -> IssuedSecret:
    """A new secret; the old one lives `overlap_seconds` longer, but never past its own end."""
    secret = _new_secret()
    with transaction.atomic():
        account = _get_locked(account_id)
        old_ends = now + dt.timedelta(seconds=overlap_seconds)
        if account.secret_expires_at is not None:
            old_ends = min(old_ends, account.secret_expires_at)
        overlaps = old_ends > now
        account.previous_secret_digest = account.secret_digest if overlaps else None
        account.previous_secret_expires_at = old_ends if overlaps else None
        account.secret_digest = _digest(secret)
        account.secret_expires_at = _expiry(account.secret_expiration_days, now)
        account.updated_at = now
        account.save()
        details = {"overlap_seconds": overlap_seconds}
        audit.record(by, "service_account.rotate_secret", account.client_id, details, now)
    return IssuedSecret(account, secret)


def question_of(client_id: str) -> Question | None:
    """Asks for an account's row beside the throttle: one round trip for each token, not two."""
    return Question(_BY_CLIENT_ID, (client_id,)) if _CLIENT_ID.fullmatch(client_id) else None


def authenticate(client_id: str, client_secret: str, now: dt.datetime) -> Authenticated | None:
    """The active account whose live secret this is; `None` without saying what was wrong."""
    question = question_of(client_id)
    row = None
    if question is not None:
        with connection.cursor() as cursor:
            cursor.execute(question.sql, question.parameters)
            row = cursor.fetchone()
    return prove(row or (None,), client_secret, now)


def prove(row: tuple[Any, ...], client_secret: str, now: dt.datetime) -> Authenticated | None:
    """`authenticate` with what `question_of` has found: building a query costs more than digests."""
    known = row[0] is not None
    account = ServiceAccount.from_db(connection.alias, _COLUMNS, row) if known else None
    found = _digest(client_secret)
    current = digests.fits(account.secret_digest if account else _NO_DIGEST, found)
    previous = digests.fits((account and account.previous_secret_digest) or _NO_DIGEST, found)
    if account is None or account.status != AccountStatus.ACTIVE or not (current or previous):
        return None
    ends = account.secret_expires_at if current else account.previous_secret_expires_at
    if ends is not None and ends <= now:
        return None
    _note_use(account, now)
    return Authenticated(account, ends)


def _note_use(account: ServiceAccount, now: dt.datetime) -> None:
    """To the minute: a write per token would cost more than the token."""
    stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - _USED_RESOLUTION)
    if account.last_used_at is None or account.last_used_at < now - _USED_RESOLUTION:
        ServiceAccount.objects.filter(stale, pk=account.pk).update(last_used_at=now)


def _get_locked(account_id: uuid.UUID) -> ServiceAccount:
    return _found(ServiceAccount.objects.select_for_update().filter(pk=account_id).first())


def _found(account: ServiceAccount | None) -> ServiceAccount:
    if account is None:
        raise NotFound(_("There is no such service account."))
    return account


@contextlib.contextmanager
def _name_is_free(name: str) -> Iterator[None]:
    """Turns the database's word that a name is taken into ours."""
    try:
        yield
    except IntegrityError as failure:
        raise Conflict(
            _("Nothing was changed: a service account named %(name)s exists.") % {"name": name}
        ) from failure


def _valid_name(name: str) -> str:
    fits = SHORTEST_NAME_CHARACTERS <= len(name) <= LONGEST_NAME_CHARACTERS
    if fits and name.isprintable():
        return name
    bounds = {"least": SHORTEST_NAME_CHARACTERS, "most": LONGEST_NAME_CHARACTERS}
    problem = _("The name takes %(least)s to %(most)s printable characters.") % bounds
    raise ValidationError(problem, details={"name": [problem]})


def _valid_scopes(scopes: Collection[str]) -> list[str]:
    """In the contract's order, each once; at least one, all known."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise ValidationError(
            _("The scopes were not accepted."),
            details={"scopes": [str(_("Choose at least one of: ")) + ", ".join(SCOPES)]},
        )
    return [scope for scope in SCOPES if scope in scopes]


def _client_id(name: str) -> str:
    """`sa_<name>_<random>`; what is unsafe in a header or a file name is replaced."""
    readable = _UNSAFE_IN_ID.sub("-", name).strip("-.")
    return f"{SERVICE_PREFIX}{readable or 'account'}_{secrets.token_hex(6)}"


def _new_secret() -> str:
    # The prefix lets secret scanners recognise one that was committed by mistake.
    return "asc_" + secrets.token_urlsafe(_SECRET_BYTES)


def _expiry(days: int, now: dt.datetime) -> dt.datetime | None:
    return now + dt.timedelta(days=days) if days else None


def _digest(secret: str) -> str:
    return digests.keyed("client_secret", secret)
