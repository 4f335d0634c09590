"""People: creating, editing and removing them, their passwords and locks.

Signing in is `sessions.py`. Two things are always refused: taking away one's own access by
mistake, and leaving the system without an active administrator.
"""

import datetime as dt
import re
import secrets
import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as PasswordRefused
from django.db import IntegrityError, connection, transaction
from django.utils.translation import gettext as _

from apps.admin import audit, lockout, sessions
from apps.admin.errors import InvalidCredentials, NotLocked
from apps.admin.models import SERVICE_PREFIX, SYSTEM_SUBJECT, Role, User
from apps.admin.principals import Principal
from artstore.errors import Conflict, NotFound, ValidationError

_USERNAME = re.compile(r"[\w.@+-]{3,50}")
_LOOK_ALIKE = {"LATIN", "CYRILLIC", "GREEK"}
_GENERATED_PASSWORD_BYTES = 18
EDITABLE = ("email", "role", "is_active")


@dataclass(frozen=True)
class NewUser:
    username: str
    password: str = field(repr=False)
    role: str
    email: str | None = None


def create(draft: NewUser, by: audit.Actor | None, now: dt.datetime) -> User:
    username = _valid_username(draft.username)
    if draft.role not in Role.values:
        raise ValidationError(
            _("The user was not created: the role is not known."),
            details={"role": [", ".join(Role.values)]},
        )
    if sessions.find(username) is not None:
        # Before there is a statement with a hash in it, which PostgreSQL would log as it fails.
        raise _name_taken(username)
    user = User(
        username=username, email=draft.email, role=draft.role, created_at=now, updated_at=now
    )
    _set_password(user, draft.password, "password")
    try:
        with transaction.atomic():
            user.save(force_insert=True)
            audit.record(by, "user.create", username, {"role": draft.role}, now)
    except IntegrityError as failure:
        raise _name_taken(username) from failure
    return user


def get(user_id: uuid.UUID) -> User:
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound(_("There is no user with this id."))
    return user


def named(username: str) -> User:
    user = sessions.find(username)
    if user is None:
        raise NotFound(_("There is no user named %(name)s.") % {"name": username})
    return user


def edit(
    user_id: uuid.UUID, changes: Mapping[str, Any], by: audit.Actor | None, now: dt.datetime
) -> User:
    """Change email, role or is_active. Deactivating ends the user's sessions."""
    with transaction.atomic():
        user = _get_locked(user_id)
        changed = {
            name: changes[name]
            for name in EDITABLE
            if name in changes and changes[name] != getattr(user, name)
        }
        if "role" in changed or "is_active" in changed:
            _refuse_for_oneself(user, by)
        was_admin = _is_active_admin(user)
        for name, value in changed.items():
            setattr(user, name, value)
        if was_admin and not _is_active_admin(user):
            _refuse_for_last_admin(user)
        if changed:
            user.updated_at = now
            user.save(update_fields=[*changed, "updated_at"])
            audit.record(by, "user.edit", user.username, changed, now)
        if changed.get("is_active") is False:
            sessions.end_all(user, "deactivated", now)
    return user


def remove(user_id: uuid.UUID, by: audit.Actor | None, now: dt.datetime) -> None:
    with transaction.atomic():
        user = _get_locked(user_id)
        _refuse_for_oneself(user, by)
        if _is_active_admin(user):
            _refuse_for_last_admin(user)
        user.delete()
        audit.record(by, "user.delete", user.username, {"role": user.role}, now)


def reset_password(
    user_id: uuid.UUID, new_password: str, by: audit.Actor | None, now: dt.datetime
) -> None:
    """Set another's password; all sessions of that user end."""
    with transaction.atomic():
        user = _get_locked(user_id)
        _set_password(user, new_password, "new_password")
        user.updated_at = now
        user.save(update_fields=["password", "updated_at"])
        sessions.end_all(user, "password", now)
        audit.record(by, "user.reset_password", user.username, {}, now)


def change_password(principal: Principal, current: str, new: str, now: dt.datetime) -> User:
    """Set one's own password; every other session of the user ends.

    A wrong current password counts like a failed login.
    """
    user = get(principal.id)
    with transaction.atomic():
        confirmed = sessions.check_one_password(user, user.username, current, now)
        if confirmed is not None:
            _set_password(confirmed, new, "new_password")
            confirmed.updated_at = now
            confirmed.save(update_fields=["password", "updated_at"])
            sessions.end_all(confirmed, "password", now, keep=principal.session_id)
            audit.record(principal, "user.change_password", user.username, {}, now)
    if confirmed is None:
        raise InvalidCredentials(
            _("The password was not changed: the current password is not right.")
        )
    return confirmed


def unlock(user_id: uuid.UUID, by: audit.Actor | None, now: dt.datetime) -> None:
    with transaction.atomic():
        user = get(user_id)
        if not lockout.states([user.username], now)[user.username].is_locked:
            raise NotLocked(
                _("Nothing was unlocked: %(name)s is not locked.") % {"name": user.username}
            )
        lockout.unlock(user.username)
        audit.record(by, "user.unlock", user.username, {}, now)


def ensure_first_admin(username: str, password: str | None, now: dt.datetime) -> str | None:
    """Make the first administrator when there is no user yet; safe to race.

    Answers the password when it was generated here, to be shown once; else `None`.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", ["first_admin"])
        if User.objects.exists():
            return None
        generated = secrets.token_urlsafe(_GENERATED_PASSWORD_BYTES)
        create(NewUser(username, password or generated, Role.ADMIN.value), None, now)
    return None if password else generated


def _get_locked(user_id: uuid.UUID) -> User:
    """The user's row and all administrators' rows, locked in one order against a race for the last."""
    admins = User.objects.select_for_update().filter(role=Role.ADMIN, is_active=True)
    list(admins.order_by("pk").values_list("pk"))
    user = User.objects.select_for_update().filter(pk=user_id).first()
    if user is None:
        raise NotFound(_("There is no user with this id."))
    return user


def _is_active_admin(user: User) -> bool:
    return user.is_active and user.role == Role.ADMIN


def _refuse_for_oneself(user: User, by: audit.Actor | None) -> None:
    if by is not None and by.kind == "user" and by.subject == user.username:
        raise Conflict(
            _("Nothing was changed: you cannot remove, deactivate or change the role of yourself.")
        )


def _refuse_for_last_admin(user: User) -> None:
    others = User.objects.filter(role=Role.ADMIN, is_active=True).exclude(pk=user.pk)
    if not others.exists():
        raise Conflict(
            _("Nothing was changed: %(name)s is the last active administrator.")
            % {"name": user.username}
        )


def _set_password(user: User, password: str, field_name: str) -> None:
    try:
        validate_password(password, user)
    except PasswordRefused as refused:
        raise ValidationError(
            _("The password was not accepted."), details={field_name: list(refused.messages)}
        ) from refused
    user.set_password(password)


def _name_taken(username: str) -> Conflict:
    return Conflict(_("The user was not created: the name %(name)s is taken.") % {"name": username})


def _alphabets(name: str) -> set[str]:
    """Which of the alphabets whose letters look alike the name uses."""
    return {unicodedata.name(letter, "").partition(" ")[0] for letter in name} & _LOOK_ALIKE


def _valid_username(username: str) -> str:
    normal = unicodedata.normalize("NFKC", username)
    problem = None
    if not _USERNAME.fullmatch(normal):
        problem = _("Use 3 to 50 letters, digits, or the characters . @ + - _")
    elif normal.casefold().startswith(SERVICE_PREFIX) or normal.casefold() == SYSTEM_SUBJECT:
        problem = _("This name is reserved for programs.")
    elif len(_alphabets(normal)) > 1:
        problem = _("Write the name in one alphabet: others have letters that look the same.")
    if problem:
        raise ValidationError(
            _("The user was not created: the name is not valid."),
            details={"username": [str(problem)]},
        )
    return normal
