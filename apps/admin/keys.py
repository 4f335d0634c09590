"""Signing keys through their life: announced, active, retiring, retired. Each change is audited.

A key is announced in the JWKS before it signs and stays there until the longest token it signed
has expired, so nobody meets a token whose key they cannot know. What a process knows of them is
`keyring.py`; tokens are made in `tokens.py`.
"""

import datetime as dt
from dataclasses import dataclass

from django.conf import settings
from django.db import connection, transaction

from apps.admin import audit, metrics
from apps.admin.errors import KeysUnusable
from apps.admin.key_material import ALGORITHM, jwk_of, make_private, open_private, seal_private
from apps.admin.keyring import keyring
from apps.admin.models import KeyState, SigningKey

# How far clocks of different machines may differ; nodes allow the same.
LEEWAY_SECONDS = 30
# A key should be announced this long before it signs, so that cut-off nodes have heard of it.
SETTLED_AFTER = dt.timedelta(hours=24)
# Announced ahead of the active one. Two: a node that missed two rotations still knows the key.
ANNOUNCED_AHEAD = 2
_LOCK_NAME = "artstore.signing_keys"


@dataclass(frozen=True)
class Rotation:
    """What a rotation did. `warning` is set when nodes may not know the new key yet."""

    new_key_id: str
    previous_key_id: str | None
    grace_period_ends_at: dt.datetime | None
    warning: str | None


@dataclass(frozen=True)
class KeyStatus:
    """The keys as an operator sees them; the previous key only while it still verifies."""

    active_key_id: str
    algorithm: str
    created_at: dt.datetime
    previous_key_id: str | None
    grace_period_ends_at: dt.datetime | None


def ensure_signing_keys(now: dt.datetime) -> bool:
    """Make the first keys; safe when several processes start at once. Answers whether it did."""
    with transaction.atomic():
        _take_lock()
        if SigningKey.objects.filter(state=KeyState.ACTIVE).exists():
            return False
        active = _make(KeyState.ACTIVE, now)
        _announce(now)
        audit.record(None, "key.create", active.kid, {}, now)
    keyring.forget()
    return True


def rotate(principal: audit.Actor | None, now: dt.datetime, *, emergency: bool = False) -> Rotation:
    """Let the announced key sign and announce the next.

    `emergency` drops the old key at once, and the announced ones with it: they lay beside it, so
    whoever read one may have read all. A key made now signs; a node learns of it when it meets it,
    and drops the others with the same look.
    """
    with transaction.atomic():
        _take_lock()
        old = SigningKey.objects.filter(state=KeyState.ACTIVE).first()
        dropped = _drop_published(now) if emergency else []
        new = _next_key(now)
        if old is not None:
            _retire(old, now, at_once=emergency)
        announced_for = now - new.created_at
        _activate(new, now)
        _announce(now)
        rotation = Rotation(
            new_key_id=new.kid,
            previous_key_id=old.kid if old else None,
            grace_period_ends_at=old.leaves_at if old else None,
            warning=_warning(announced_for),
        )
        details = {"previous": rotation.previous_key_id, "emergency": emergency, "dropped": dropped}
        audit.record(principal, "key.rotate", new.kid, details, now)
    keyring.forget()
    metrics.KEY_ROTATIONS.labels("emergency" if emergency else "routine").inc()
    return rotation


def retire_expired(now: dt.datetime) -> int:
    """Close retiring keys whose last token has expired; answers how many left."""
    return SigningKey.objects.filter(state=KeyState.RETIRING, leaves_at__lte=now).update(
        state=KeyState.RETIRED
    )


def status(now: dt.datetime) -> KeyStatus:
    active = SigningKey.objects.filter(state=KeyState.ACTIVE).first()
    if active is None:
        raise KeysUnusable("There is no signing key yet. Run manage.py bootstrap.")
    previous = (
        SigningKey.objects.filter(state=KeyState.RETIRING, leaves_at__gt=now)
        .order_by("-retired_at", "kid")
        .first()
    )
    return KeyStatus(
        active_key_id=active.kid,
        algorithm=ALGORITHM,
        created_at=active.created_at,
        previous_key_id=previous.kid if previous else None,
        grace_period_ends_at=previous.leaves_at if previous else None,
    )


def longest_token_seconds() -> int:
    """The longest life a token may be given by the settings."""
    lives = (
        settings.ARTSTORE_USER_TOKEN_SECONDS,
        settings.ARTSTORE_SERVICE_TOKEN_SECONDS,
        settings.ARTSTORE_ELEMENT_TOKEN_SECONDS,
    )
    return int(max(lives))


def _take_lock() -> None:
    """Only one process at a time changes keys; released with the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [_LOCK_NAME])


def _make(state: KeyState, now: dt.datetime) -> SigningKey:
    private = make_private()
    jwk = jwk_of(private.public_key())
    return SigningKey.objects.create(
        kid=jwk["kid"],
        state=state,
        public_jwk=jwk,
        private_pem_encrypted=seal_private(private),
        longest_token_seconds=longest_token_seconds() if state == KeyState.ACTIVE else 0,
        created_at=now,
        activated_at=now if state == KeyState.ACTIVE else None,
    )


def _announce(now: dt.datetime) -> None:
    waiting = SigningKey.objects.filter(state=KeyState.ANNOUNCED).count()
    for _ in range(ANNOUNCED_AHEAD - waiting):
        _make(KeyState.ANNOUNCED, now)


def _drop_published(now: dt.datetime) -> list[str]:
    """Take every key but the active one out of the JWKS; answers which."""
    others = SigningKey.objects.filter(state__in=(KeyState.ANNOUNCED, KeyState.RETIRING))
    kids = list(others.order_by("kid").values_list("kid", flat=True))
    others.update(state=KeyState.RETIRED, retired_at=now, leaves_at=now, private_pem_encrypted="")
    return kids


def _next_key(now: dt.datetime) -> SigningKey:
    """The oldest announced key that opens. One sealed with a lost key could never sign: it goes."""
    for key in SigningKey.objects.filter(state=KeyState.ANNOUNCED).order_by("created_at", "kid"):
        try:
            open_private(key.private_pem_encrypted)
        except KeysUnusable:
            _retire(key, now, at_once=True)
        else:
            return key
    return _make(KeyState.ANNOUNCED, now)


def _activate(key: SigningKey, now: dt.datetime) -> None:
    key.state = KeyState.ACTIVE
    key.activated_at = now
    key.longest_token_seconds = longest_token_seconds()
    key.save(update_fields=["state", "activated_at", "longest_token_seconds"])


def _retire(key: SigningKey, now: dt.datetime, *, at_once: bool) -> None:
    grace_seconds = max(settings.ARTSTORE_KEY_GRACE_SECONDS, key.longest_token_seconds)
    grace = dt.timedelta(seconds=0 if at_once else grace_seconds + LEEWAY_SECONDS)
    key.state = KeyState.RETIRED if at_once else KeyState.RETIRING
    key.retired_at = now
    key.leaves_at = now + grace
    # It never signs again, so nothing needs its private part.
    key.private_pem_encrypted = ""
    key.save(update_fields=["state", "retired_at", "leaves_at", "private_pem_encrypted"])


def _warning(announced_for: dt.timedelta) -> str | None:
    if announced_for >= SETTLED_AFTER:
        return None
    return (
        "The new key was announced less than 24 hours ago. A storage element that was cut off"
        " since then refuses tokens until it reaches the JWKS again."
    )
