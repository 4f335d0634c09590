"""The kinds of signed tokens, made and read. Never interchangeable.

Access tokens (`typ: at+jwt`, `aud: artstore-api`) open our REST doors; element tokens
(`typ: element+jwt`, the audience names one storage element) open that element and are refused
here. Refresh tokens are opaque rows: `sessions.py`. Which key signs: `keys.py`.
"""

import datetime as dt
import hashlib
import re
import threading
import uuid
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from django.conf import settings
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError

from apps.admin import metrics
from apps.admin.errors import InvalidToken
from apps.admin.key_material import ALGORITHM
from apps.admin.keyring import keyring
from apps.admin.keys import LEEWAY_SECONDS
from apps.admin.models import ServiceAccount, User

API_AUDIENCE = "artstore-api"
ACCESS_TYPE = "at+jwt"
ELEMENT_TYPE = "element+jwt"
ELEMENT_AUDIENCE_PREFIX = "urn:artstore:element:"
STORAGE_ID = re.compile(r"[a-z0-9-]{1,63}")
_REQUIRED_CLAIMS = ["iss", "aud", "sub", "iat", "nbf", "exp", "jti"]
_LONGEST_TOKEN_CHARACTERS = 8192
# An element token is made anew when it has less than this left, so a call never starts late.
_RENEW_BEFORE_SECONDS = 60
_CACHED_ELEMENT_TOKENS = 10_000
_READ_TOKENS = 10_000


@dataclass(frozen=True)
class AccessClaims:
    """What a verified access token says: a user's session, or a service account's scopes."""

    subject: str
    session_id: uuid.UUID | None
    scopes: frozenset[str]


@dataclass(frozen=True)
class IssuedToken:
    token: str
    expires_in_seconds: int


class KeyringBackend(TokenBackend):
    """simplejwt's backend with our keyring behind it: several keys, a `kid` and a `typ`.

    simplejwt holds one key and writes no `kid`; the rest of its claim checks are used as they are.
    """

    def __init__(self, kind: str, audience: str) -> None:
        super().__init__(
            ALGORITHM,
            audience=audience,
            issuer=settings.ARTSTORE_ISSUER,
            leeway=LEEWAY_SECONDS,
        )
        self.kind = kind

    def encode(self, payload: dict[str, Any]) -> str:
        claims = payload | {"aud": self.audience, "iss": self.issuer}
        kid, private_key = keyring.signing_key(payload["exp"] - payload["iat"])
        return jwt.encode(
            claims, private_key, algorithm=self.algorithm, headers={"kid": kid, "typ": self.kind}
        )

    def get_verifying_key(self, token: Any) -> Any:
        """The key the header names; `TokenBackendError` for another kind or an unknown key."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as failure:
            raise TokenBackendError("This is not a signed token.") from failure
        if header.get("typ") != self.kind or header.get("alg") != self.algorithm:
            raise TokenBackendError("This token is of another kind.")
        key = keyring.public_key(str(header.get("kid", "")))
        if key is None:
            raise TokenBackendError("This token was signed with a key that is not ours.")
        return key


def user_token(user: User, session_id: uuid.UUID, now: dt.datetime) -> IssuedToken:
    """An access token of one login; it dies with that session."""
    claims = {"sub": user.username, "role": user.role, "sid": str(session_id)}
    metrics.TOKENS_ISSUED.labels("user").inc()
    return _access_token(claims, settings.ARTSTORE_USER_TOKEN_SECONDS, now)


def service_token(
    account: ServiceAccount, scopes: Collection[str], ends: dt.datetime | None, now: dt.datetime
) -> IssuedToken:
    """An access token of a service account; never outlives the secret it was asked with (`ends`)."""
    claims = {"sub": account.client_id, "scopes": sorted(scopes)}
    seconds = _capped(settings.ARTSTORE_SERVICE_TOKEN_SECONDS, ends, now)
    metrics.TOKENS_ISSUED.labels("service_account").inc()
    return _access_token(claims, seconds, now)


def read_access_token(token: str, now: dt.datetime) -> AccessClaims:
    """The claims of an access token of ours; `InvalidToken` for anything else."""
    if len(token) > _LONGEST_TOKEN_CHARACTERS:
        raise InvalidToken("This token is too long to be one of ours.")
    digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
    known = _read_tokens.get(digest, now)
    if known is not None:
        return known
    claims = _checked_claims(token, now)
    found = _access_claims(claims)
    _read_tokens.put(digest, str(jwt.get_unverified_header(token)["kid"]), claims["exp"], found)
    return found


def _checked_claims(token: str, now: dt.datetime) -> Mapping[str, Any]:
    try:
        claims = KeyringBackend(ACCESS_TYPE, API_AUDIENCE).decode(token)  # type: ignore[arg-type]  # simplejwt types the text as its Token class
    except (TokenBackendError, ValueError) as failure:
        raise InvalidToken("The token is not valid here, or has expired.") from failure
    if any(claim not in claims for claim in _REQUIRED_CLAIMS) or claims["exp"] <= now.timestamp():
        # Clocks may differ for the beginning of a token's life; the end is not stretched.
        raise InvalidToken("The token is not valid here, or has expired.")
    return claims


def element_token(
    storage_id: str, subject: str, module: str, scopes: Collection[str], now: dt.datetime
) -> str:
    """A token for one storage element's door, on behalf of `subject`; cached for its life.

    The caller (the registry) has made sure that the element is registered and is who it says.
    """
    return _element_tokens.get((storage_id, subject, module, frozenset(scopes)), now)


def element_token_for_client(
    storage_id: str,
    account: ServiceAccount,
    scopes: Collection[str],
    ends: dt.datetime | None,
    now: dt.datetime,
) -> IssuedToken:
    """The token behind `resource=`: the account itself talks to the element."""
    seconds = _capped(settings.ARTSTORE_ELEMENT_TOKEN_SECONDS, ends, now)
    claims = {"sub": account.client_id, "scopes": sorted(scopes)}
    metrics.TOKENS_ISSUED.labels("element").inc()
    return IssuedToken(_sign_for_element(storage_id, claims, seconds, now), seconds)


class _ElementTokens:
    """Tokens this process made for its own calls. Bounded; the least recently used goes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: OrderedDict[tuple[Any, ...], tuple[str, str, float]] = OrderedDict()

    def get(self, wanted: tuple[str, str, str, frozenset[str]], now: dt.datetime) -> str:
        with self._lock:
            cached = self._tokens.get(wanted)
            if cached is not None:
                self._tokens.move_to_end(wanted)
        if cached is not None:
            token, kid, expires_at = cached
            left_seconds = expires_at - now.timestamp()
            # An emergency rotation drops a key under tokens that have not expired yet.
            if left_seconds > _RENEW_BEFORE_SECONDS and keyring.knows(kid):
                return token
        return self._make(wanted, now)

    def _make(self, wanted: tuple[str, str, str, frozenset[str]], now: dt.datetime) -> str:
        storage_id, subject, module, scopes = wanted
        seconds = settings.ARTSTORE_ELEMENT_TOKEN_SECONDS
        claims = {"sub": subject, "act": {"sub": module}, "scopes": sorted(scopes)}
        token = _sign_for_element(storage_id, claims, seconds, now)
        metrics.TOKENS_ISSUED.labels("element").inc()
        kid = str(jwt.get_unverified_header(token)["kid"])
        with self._lock:
            self._tokens[wanted] = (token, kid, now.timestamp() + seconds)
            while len(self._tokens) > _CACHED_ELEMENT_TOKENS:
                self._tokens.popitem(last=False)
        return token


_element_tokens = _ElementTokens()


class _ReadTokens:
    """Access tokens whose signature this process has verified, by their digest. What they allow is
    asked of the database each time; a token is read anew when its key is dropped. Bounded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: OrderedDict[bytes, tuple[str, float, AccessClaims]] = OrderedDict()

    def get(self, digest: bytes, now: dt.datetime) -> AccessClaims | None:
        with self._lock:
            known = self._claims.get(digest)
        if known is None:
            return None
        kid, expires_at, claims = known
        return claims if now.timestamp() < expires_at and keyring.knows(kid) else None

    def put(self, digest: bytes, kid: str, expires_at: float, claims: AccessClaims) -> None:
        with self._lock:
            self._claims[digest] = (kid, expires_at, claims)
            while len(self._claims) > _READ_TOKENS:
                self._claims.popitem(last=False)


_read_tokens = _ReadTokens()


def _sign_for_element(
    storage_id: str, claims: Mapping[str, Any], seconds: int, now: dt.datetime
) -> str:
    if not STORAGE_ID.fullmatch(storage_id):
        raise ValueError(f"{storage_id!r} cannot name a storage element")
    backend = KeyringBackend(ELEMENT_TYPE, ELEMENT_AUDIENCE_PREFIX + storage_id)
    return backend.encode(dict(claims) | _times(seconds, now))


def _access_token(claims: Mapping[str, Any], seconds: int, now: dt.datetime) -> IssuedToken:
    backend = KeyringBackend(ACCESS_TYPE, API_AUDIENCE)
    return IssuedToken(backend.encode(dict(claims) | _times(seconds, now)), seconds)


def _times(seconds: int, now: dt.datetime) -> dict[str, Any]:
    issued = int(now.timestamp())
    return {"iat": issued, "nbf": issued, "exp": issued + seconds, "jti": uuid.uuid4().hex}


def _capped(seconds: int, ends: dt.datetime | None, now: dt.datetime) -> int:
    if ends is None:
        return seconds
    return max(1, min(seconds, int((ends - now).total_seconds())))


def _access_claims(claims: Mapping[str, Any]) -> AccessClaims:
    """Claims in the shape we write; a token of ours in any other shape is refused."""
    subject, scopes, session = claims["sub"], claims.get("scopes"), claims.get("sid")
    try:
        if "role" in claims and scopes is None:
            return AccessClaims(str(subject), uuid.UUID(str(session)), frozenset())
        if "role" not in claims and session is None and isinstance(scopes, list):
            return AccessClaims(str(subject), None, frozenset(map(str, scopes)))
    except ValueError as failure:
        raise InvalidToken("The token does not name its session.") from failure
    raise InvalidToken("The token names neither a session nor scopes.")
