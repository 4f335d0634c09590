"""Signing keys: making, announcing, activating, retiring; and this process's view of them.

A key is announced in the JWKS before it signs and stays there until the longest token it signed
has expired, so nobody meets a token whose key they cannot know. Tokens are made in `tokens.py`.
"""

import base64
import datetime as dt
import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q

from apps.admin import audit, metrics
from apps.admin.errors import KeysUnusable
from apps.admin.models import KeyState, SigningKey

ALGORITHM = "RS256"
# How far clocks of different machines may differ; nodes allow the same.
LEEWAY_SECONDS = 30
# A key should be announced this long before it signs, so that cut-off nodes have heard of it.
SETTLED_AFTER = dt.timedelta(hours=24)
# Announced ahead of the active one. Two: a node that missed two rotations still knows the key.
ANNOUNCED_AHEAD = 2
_RSA_BITS = 2048
_LOCK_NAME = "artstore.signing_keys"
_FORCED_RELOAD_GAP_SECONDS = 0.2

PUBLISHED = (KeyState.ANNOUNCED, KeyState.ACTIVE, KeyState.RETIRING)


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


@dataclass(frozen=True)
class _View:
    """The keys of the database as read at one moment."""

    public: Mapping[str, rsa.RSAPublicKey]
    jwks: tuple[Mapping[str, Any], ...]
    active_kid: str | None
    active_longest_seconds: int


class Keyring:
    """The keys as this process knows them, read again every few seconds and on doubt."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._view: _View | None = None
        self._read_at = 0.0
        self._forced_at = 0.0
        self._private: dict[str, rsa.RSAPrivateKey] = {}
        self._public: dict[str, rsa.RSAPublicKey] = {}

    def public_key(self, kid: str) -> rsa.RSAPublicKey | None:
        """The verifying key, or `None`. An unknown `kid` makes one fresh look, rate-limited."""
        found = self._current().public.get(kid)
        if found is None and self._may_force():
            found = self._reload().public.get(kid)
        return found

    def knows(self, kid: str) -> bool:
        """Whether tokens of this key are still good."""
        return kid in self._current().public

    def jwks(self) -> list[dict[str, Any]]:
        return [dict(jwk) for jwk in self._current().jwks]

    def signing_key(self, lifetime_seconds: int) -> tuple[str, rsa.RSAPrivateKey]:
        """The key that signs now, asked of the database so that no process signs with a dropped one."""
        kid = _active_kid()
        if kid is None:
            raise KeysUnusable(
                "No token was made: there is no signing key. Run manage.py bootstrap."
            )
        view = self._current()
        if view.active_kid != kid:
            view = self._reload()
        if lifetime_seconds > view.active_longest_seconds:
            SigningKey.objects.filter(kid=kid, longest_token_seconds__lt=lifetime_seconds).update(
                longest_token_seconds=lifetime_seconds
            )
            self._reload()
        return kid, self._private_key(kid)

    def forget(self) -> None:
        """Read the database at the next use: this process has just changed the keys."""
        with self._lock:
            self._view = None

    def _current(self) -> _View:
        view = self._view
        fresh = time.monotonic() - self._read_at < settings.ARTSTORE_KEY_CACHE_SECONDS
        return view if view is not None and fresh else self._reload()

    def _may_force(self) -> bool:
        """A flood of made-up key ids costs a few queries a second, not one each."""
        with self._lock:
            moment = time.monotonic()
            if moment - self._forced_at < _FORCED_RELOAD_GAP_SECONDS:
                return False
            self._forced_at = moment
            return True

    def _reload(self) -> _View:
        read_at = time.monotonic()
        rows = list(_published(dt.datetime.now(dt.UTC)))
        public = {row.kid: self._public.get(row.kid) or _public_of(row.public_jwk) for row in rows}
        active = next((row for row in rows if row.state == KeyState.ACTIVE), None)
        view = _View(
            public=public,
            jwks=tuple(row.public_jwk for row in rows),
            active_kid=active.kid if active else None,
            active_longest_seconds=active.longest_token_seconds if active else 0,
        )
        with self._lock:
            self._view, self._read_at, self._public = view, read_at, public
            self._private = {kid: key for kid, key in self._private.items() if kid in public}
        return view

    def _private_key(self, kid: str) -> rsa.RSAPrivateKey:
        key = self._private.get(kid)
        if key is None:
            row = SigningKey.objects.get(kid=kid)
            key = open_private(row.private_pem_encrypted)
            with self._lock:
                self._private[kid] = key
        return key


keyring = Keyring()


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
    """Let the announced key sign and announce the next; `emergency` drops the old one at once."""
    with transaction.atomic():
        _take_lock()
        old = SigningKey.objects.filter(state=KeyState.ACTIVE).first()
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
        details = {"previous": rotation.previous_key_id, "emergency": emergency}
        audit.record(principal, "key.rotate", new.kid, details, now)
    keyring.forget()
    metrics.KEY_ROTATIONS.labels("emergency" if emergency else "routine").inc()
    return rotation


def discard_announced(principal: audit.Actor | None, now: dt.datetime) -> int:
    """Drop the keys announced for later, for when their private parts may be known to others."""
    with transaction.atomic():
        _take_lock()
        waiting = SigningKey.objects.filter(state=KeyState.ANNOUNCED)
        kids = list(waiting.values_list("kid", flat=True))
        waiting.update(
            state=KeyState.RETIRED, retired_at=now, leaves_at=now, private_pem_encrypted=""
        )
        audit.record(principal, "key.discard", "announced", {"keys": kids}, now)
    keyring.forget()
    return len(kids)


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


def seal_private(key: rsa.RSAPrivateKey) -> str:
    """The private part as text that only ARTSTORE_KEY_ENCRYPTION_KEYS opens."""
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return _fernet().encrypt(pem).decode()


def open_private(sealed: str) -> rsa.RSAPrivateKey:
    try:
        pem = _fernet().decrypt(sealed.encode())
    except InvalidToken:
        # `from None`: the chained exception could show key material in a traceback.
        raise KeysUnusable(
            "The signing key in the database cannot be opened: ARTSTORE_KEY_ENCRYPTION_KEYS does"
            " not hold the key it was sealed with. Restore that key, or rotate with emergency."
        ) from None
    # Our own row: the primality checks would cost tens of milliseconds and prove nothing.
    key = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeysUnusable("The signing key in the database is not an RSA key. Rotate the keys.")
    return key


def longest_token_seconds() -> int:
    """The longest life a token may be given by the settings."""
    lives = (
        settings.ARTSTORE_USER_TOKEN_SECONDS,
        settings.ARTSTORE_SERVICE_TOKEN_SECONDS,
        settings.ARTSTORE_ELEMENT_TOKEN_SECONDS,
    )
    return int(max(lives))


def _active_kid() -> str | None:
    """Asked for every token, so without the price of building a query set."""
    with connection.cursor() as cursor:
        cursor.execute("select kid from artstore_admin_signingkey where state = 'active'")
        row = cursor.fetchone()
    return str(row[0]) if row else None


def _take_lock() -> None:
    """Only one process at a time changes keys; released with the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [_LOCK_NAME])


def _published(now: dt.datetime) -> Any:
    still = Q(leaves_at__isnull=True) | Q(leaves_at__gt=now)
    return SigningKey.objects.filter(still, state__in=PUBLISHED).defer("private_pem_encrypted")


def _make(state: KeyState, now: dt.datetime) -> SigningKey:
    private = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    jwk = _jwk_of(private.public_key())
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


def _next_key(now: dt.datetime) -> SigningKey:
    oldest = (
        SigningKey.objects.filter(state=KeyState.ANNOUNCED).order_by("created_at", "kid").first()
    )
    return oldest or _make(KeyState.ANNOUNCED, now)


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


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.ARTSTORE_KEY_ENCRYPTION_KEYS])


def _number(value: int) -> str:
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _jwk_of(public: rsa.RSAPublicKey) -> dict[str, str]:
    """RFC 7517, with the RFC 7638 thumbprint as `kid`."""
    numbers = public.public_numbers()
    modulus, exponent = _number(numbers.n), _number(numbers.e)
    thumbprint = hashlib.sha256(
        f'{{"e":"{exponent}","kty":"RSA","n":"{modulus}"}}'.encode()
    ).digest()
    kid = base64.urlsafe_b64encode(thumbprint).decode().rstrip("=")
    return {"kty": "RSA", "use": "sig", "alg": ALGORITHM, "kid": kid, "n": modulus, "e": exponent}


def _public_of(jwk: Mapping[str, str]) -> rsa.RSAPublicKey:
    def number(text: str) -> int:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")

    return rsa.RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()
