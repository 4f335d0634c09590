"""The signing keys as this process knows them: which one signs now and which ones verify.

Read again every few seconds and whenever in doubt, so that a rotation anywhere is followed
without a restart. Making and retiring keys is `keys.py`.
"""

import datetime as dt
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings
from django.db.models import Q, QuerySet

from apps.admin.errors import KeysUnusable
from apps.admin.key_material import open_private, public_of
from apps.admin.models import KeyState, SigningKey

_PUBLISHED = (KeyState.ANNOUNCED, KeyState.ACTIVE, KeyState.RETIRING)
_FORCED_RELOAD_GAP_SECONDS = 0.2


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
        """What is published, read now: whoever asks may just have met a key they do not know."""
        return [dict(jwk) for jwk in self._reload().jwks]

    def signing_key(self, lifetime_seconds: int) -> tuple[str, rsa.RSAPrivateKey]:
        """The key that signs, and its id.

        For ARTSTORE_KEY_CACHE_SECONDS after a rotation elsewhere that may still be the key before,
        which is published long enough for it, unless the rotation was an emergency.
        """
        view = self._current()
        kid = view.active_kid
        key = self._private.get(kid) if kid else None
        if kid is None or key is None or lifetime_seconds > view.active_longest_seconds:
            return self._open_signing_key(lifetime_seconds)
        return kid, key

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
        public = {row.kid: self._public.get(row.kid) or public_of(row.public_jwk) for row in rows}
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

    def _open_signing_key(self, lifetime_seconds: int) -> tuple[str, rsa.RSAPrivateKey]:
        """The active key as the database has it now, opened and kept; its longest life is noted."""
        row = SigningKey.objects.filter(state=KeyState.ACTIVE).first()
        if row is None:
            raise KeysUnusable(
                "No token was made: there is no signing key. Run manage.py bootstrap."
            )
        key = open_private(row.private_pem_encrypted)
        SigningKey.objects.filter(kid=row.kid, longest_token_seconds__lt=lifetime_seconds).update(
            longest_token_seconds=lifetime_seconds
        )
        self._reload()
        with self._lock:
            self._private = {row.kid: key}
        return row.kid, key


keyring = Keyring()


def _published(now: dt.datetime) -> QuerySet[SigningKey]:
    still = Q(leaves_at__isnull=True) | Q(leaves_at__gt=now)
    return SigningKey.objects.filter(still, state__in=_PUBLISHED).defer("private_pem_encrypted")
