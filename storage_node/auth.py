"""Who is calling: an element token to a `Principal`, and whether its scopes suffice.

Nothing but RS256 element tokens for this very element is accepted. Where keys come from lives in `keys.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from storage_node.errors import Forbidden, Unauthorized
from storage_node.keys import KeyRing

TOKEN_TYPE = "element+jwt"  # noqa: S105  a media type, not a secret
LEEWAY_SECONDS = 30
MAX_TOKEN_CHARACTERS = 8192
MAX_SUBJECT_CHARACTERS = 255
MAX_REMEMBERED_TOKENS = 4096
_NEEDED_CLAIMS = ["iss", "aud", "sub", "iat", "nbf", "exp"]
# Times are checked against the `now` passed in, on every use of a remembered token as on the first.
_DECODE_OPTIONS: Any = {
    "require": _NEEDED_CLAIMS,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}


@dataclass(frozen=True)
class Principal:
    """Whoever the token speaks for. `module` is the program that acts for them, if it says so."""

    subject: str
    module: str | None
    scopes: frozenset[str]


@dataclass(frozen=True)
class _Verified:
    """A token whose signature was checked once; valid while `key` is still the ring's key for `kid`."""

    principal: Principal
    kid: str
    key: RSAPublicKey
    issued_at: int
    not_before: int
    expires_at: int


@dataclass
class TokenCheck:
    """Checks bearer tokens for one element. `note_trusted_clock(iat, now)` hears of every accepted token."""

    ring: KeyRing
    issuer: str
    audience: str
    note_trusted_clock: Callable[[int, datetime], None]
    _remembered: dict[bytes, _Verified] = field(default_factory=dict)
    _noted: tuple[int, float] = (0, 0.0)

    async def principal(self, authorization: bytes | None, scope: str, now: datetime) -> Principal:
        """The caller, from the value of `Authorization`; raises Unauthorized or, for a good token that may not do
        this, Forbidden."""
        if authorization is None:
            raise Unauthorized(
                "The call was refused: send an element token as Authorization: Bearer."
            )
        moment = now.timestamp()
        verified = self._remembered.get(authorization)
        if verified is None or self.ring.current(verified.kid, moment) is not verified.key:
            self._remembered.pop(authorization, None)
            verified = await self._verify(_bearer(authorization))
            self._remember(authorization, verified)
        return self._accepted(verified, scope, now)

    def known(self, authorization: bytes, scope: str, now: datetime) -> Principal | None:
        """As `principal`, for a token whose signature was checked before by a key still in use; None: ask `principal`."""
        verified = self._remembered.get(authorization)
        if verified is None:
            return None
        if self.ring.current(verified.kid, now.timestamp()) is not verified.key:
            return None
        try:
            return self._accepted(verified, scope, now)
        except (Unauthorized, Forbidden):
            return None

    def _accepted(self, verified: _Verified, scope: str, now: datetime) -> Principal:
        """What has to hold on every use of a token, the first and all others."""
        _check_times(verified, now.timestamp())
        self._note_clock(verified.issued_at, now)
        if scope not in verified.principal.scopes:
            raise Forbidden(f"The call was refused: the token lacks the scope {scope}.")
        return verified.principal

    def _note_clock(self, issued_at: int, now: datetime) -> None:
        """The same token again within a second is no new witness."""
        moment = now.timestamp()
        last_issued_at, last_moment = self._noted
        if issued_at != last_issued_at or not 0 <= moment - last_moment < 1:
            self._noted = (issued_at, moment)
            self.note_trusted_clock(issued_at, now)

    def _remember(self, authorization: bytes, verified: _Verified) -> None:
        if len(self._remembered) >= MAX_REMEMBERED_TOKENS:
            self._remembered.clear()
        self._remembered[authorization] = verified

    async def _verify(self, token: str) -> _Verified:
        kid = _checked_header(token)
        key = await self.ring.find(kid)
        if key is None:
            raise _refused(self._why_no_key(kid))
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=self.audience,
                issuer=self.issuer,
                options=_DECODE_OPTIONS,
            )
        except jwt.InvalidTokenError as problem:
            raise _refused(_why_refused(problem)) from None
        return _from_claims(claims, kid, key, self.audience)

    def _why_no_key(self, kid: str) -> str:
        age = self.ring.age_seconds()
        if age is None:
            return "no signing keys have been obtained yet from the Admin module"
        if age > self.ring.max_age_seconds:
            return "the signing keys held here are older than SE_JWKS_MAX_AGE and the Admin module can not be reached"
        return f"its key {kid[:64]!r} is not among the Admin module's signing keys"


def _bearer(authorization: bytes) -> str:
    scheme, _, token = authorization.decode("latin-1").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise _refused("Authorization must be Bearer and a token")
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise _refused("it is too long")
    return token


def _checked_header(token: str) -> str:
    """The kid, when the header says RS256, our type, and nothing critical that we do not know."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, RecursionError):
        raise _refused("it is not a JSON Web Token") from None
    if header.get("alg") != "RS256":
        raise _refused("it is not signed with RS256")
    if header.get("typ") != TOKEN_TYPE:
        raise _refused("its type is not element+jwt; get an element token")
    kid = header.get("kid")
    if "crit" in header or not isinstance(kid, str) or not kid:
        raise _refused("its header has no kid, or demands what this node does not know")
    return kid


def _why_refused(problem: jwt.InvalidTokenError) -> str:
    match problem:
        case jwt.InvalidAudienceError():
            return "it is meant for another audience than this element"
        case jwt.InvalidIssuerError():
            return "it was issued by someone else than this element trusts"
        case jwt.MissingRequiredClaimError():
            return f"it lacks the claim {problem.claim}"
        case jwt.InvalidSignatureError():
            return "its signature is wrong"
        case _:
            return "it can not be read"


def _from_claims(claims: dict[str, Any], kid: str, key: RSAPublicKey, audience: str) -> _Verified:
    subject, scopes, act = claims["sub"], claims.get("scopes"), claims.get("act")
    times = [claims[name] for name in ("iat", "nbf", "exp")]
    if claims["aud"] != audience:
        raise _refused("it is meant for several audiences; an element token names one")
    if (
        not isinstance(subject, str)
        or not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS
        or not subject.isprintable()
    ):
        raise _refused("its subject is not a name")
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise _refused("its scopes are not a list of words")
    if not all(
        isinstance(moment, int | float) and not isinstance(moment, bool) for moment in times
    ):
        raise _refused("its times are not numbers")
    try:
        issued_at, not_before, expires_at = (int(moment) for moment in times)
    except (ValueError, OverflowError):
        raise _refused("its times are not numbers") from None
    module = act.get("sub") if isinstance(act, dict) else None
    principal = Principal(subject, module if isinstance(module, str) else None, frozenset(scopes))
    return _Verified(principal, kid, key, issued_at, not_before, expires_at)


def _check_times(verified: _Verified, moment: float) -> None:
    if moment >= verified.expires_at + LEEWAY_SECONDS:
        raise _refused("it has expired")
    if (
        moment < verified.not_before - LEEWAY_SECONDS
        or moment < verified.issued_at - LEEWAY_SECONDS
    ):
        raise _refused(
            "it is not valid yet; compare the clocks of this machine and the Admin module"
        )


def _refused(why: str) -> Unauthorized:
    return Unauthorized(f"The token was refused: {why}.")
