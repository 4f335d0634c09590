"""The Admin module's public keys: fetched, kept in memory and in `jwks.json`, refreshed, aged.

Knows how to get keys and how long they may be trusted. What a token must say to be accepted lives in `auth.py`.
"""

import asyncio
import json
import logging
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

REFRESH_SECONDS = 300.0
RETRY_SECONDS = 30.0
FETCH_TIMEOUT_SECONDS = 10.0
FORCED_FETCH_INTERVAL_SECONDS = 10.0
FORCED_FETCH_BURST = 2
UNKNOWN_KID_SECONDS = 30.0
MAX_UNKNOWN_KIDS = 1024
MAX_DOCUMENT_BYTES = 1 << 20
MIN_KEY_BITS = 2048

log = logging.getLogger(__name__)


class KeysUnreachable(Exception):
    """The key source gave no usable, non-empty key set; the keys held so far stay."""


@dataclass(frozen=True)
class KeySet:
    """Public keys by kid, and when they were last seen at their source."""

    keys: dict[str, RSAPublicKey]
    document: list[dict[str, Any]]
    fetched_at: datetime


def parse_key_set(raw: bytes, fetched_at: datetime) -> KeySet:
    """Usable RS256 verification keys of an RFC 7517 document; KeysUnreachable when there is none.

    A key of another kind beside them is passed over, so that the Admin module may add one; a document without a single
    usable key is garbage and must not take the keys in use away.
    """
    try:
        listed = json.loads(raw)["keys"]
        candidates = [key for key in listed if isinstance(key, dict)]
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise KeysUnreachable(f"the answer is not a key set ({problem})") from problem
    keys: dict[str, RSAPublicKey] = {}
    for candidate in candidates:
        key = _public_key(candidate)
        if key is not None:
            keys[candidate["kid"]] = key
    if not keys:
        raise KeysUnreachable("the key set holds no RSA key of 2048 bits or more for RS256")
    kept = [candidate for candidate in candidates if candidate.get("kid") in keys]
    return KeySet(keys, kept, fetched_at)


def _public_key(candidate: dict[str, Any]) -> RSAPublicKey | None:
    kid = candidate.get("kid")
    if not isinstance(kid, str) or not kid or candidate.get("kty") != "RSA":
        return None
    if candidate.get("use", "sig") != "sig" or candidate.get("alg", "RS256") != "RS256":
        return None
    try:
        public = {name: candidate[name] for name in ("kty", "n", "e")}
        key = PyJWK.from_dict(public, algorithm="RS256").key
    except (PyJWTError, KeyError, ValueError, TypeError):
        return None
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_KEY_BITS:
        return None
    return key


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key set that has moved is a mistake or an attack; neither is followed."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow nothing: urllib then raises the redirect as an HTTPError."""


def url_source(url: str, ca_cert: Path | None) -> Callable[[], bytes]:
    """A blocking fetch of `url`, certificates checked against `ca_cert` or the public CAs."""
    context = ssl.create_default_context(cafile=str(ca_cert) if ca_cert else None)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), NoRedirect()
    )

    def fetch() -> bytes:
        try:
            with opener.open(url, timeout=FETCH_TIMEOUT_SECONDS) as answer:
                raw: bytes = answer.read(MAX_DOCUMENT_BYTES + 1)
        except (OSError, ValueError) as problem:
            raise KeysUnreachable(f"{url} did not answer with keys ({problem})") from problem
        if len(raw) > MAX_DOCUMENT_BYTES:
            raise KeysUnreachable(f"{url} answered with more than 1 MiB")
        return raw

    return fetch


def file_source(path: Path) -> Callable[[], bytes]:
    """A blocking read of a key file an operator (or a mounted secret) keeps current."""

    def fetch() -> bytes:
        try:
            return path.read_bytes()
        except OSError as problem:
            raise KeysUnreachable(f"{path} can not be read ({problem.strerror})") from problem

    return fetch


@dataclass
class KeyRing:
    """Keys in use. `fetch` and `save` block and run in a thread; everything else stays on the loop.

    `save` gets the bytes to keep for a restart without the Admin module; `load_copy` takes them back.
    """

    fetch: Callable[[], bytes]
    save: Callable[[bytes], None]
    max_age_seconds: float
    clock: Callable[[], datetime]
    key_set: KeySet | None = None
    _unknown: dict[str, float] = field(default_factory=dict)
    _running: asyncio.Task[bool] | None = None
    _allowance: float = float(FORCED_FETCH_BURST)
    _allowance_at: float = 0.0

    def load_copy(self, raw: bytes) -> None:
        """Take the copy that `save` wrote earlier; a damaged one is as good as none."""
        try:
            fetched_at = datetime.fromisoformat(json.loads(raw)["fetched_at"])
            self.key_set = parse_key_set(raw, fetched_at)
        except (KeysUnreachable, ValueError, KeyError, TypeError) as problem:
            log.warning("saved keys are unusable", extra={"problem": str(problem)})

    def age_seconds(self) -> float | None:
        """Since the keys were last seen at their source; None when there never were any."""
        if self.key_set is None:
            return None
        return (self.clock() - self.key_set.fetched_at).total_seconds()

    def current(self, kid: str, moment: float) -> RSAPublicKey | None:
        """The key at `moment` (Unix seconds), unless it is unknown, was dropped, or the whole set is too old to trust."""
        key_set = self.key_set
        if key_set is None or moment - key_set.fetched_at.timestamp() > self.max_age_seconds:
            return None
        return key_set.keys.get(kid)

    async def find(self, kid: str) -> RSAPublicKey | None:
        """As `current`, after asking the source once more for a kid not seen before."""
        key = self.current(kid, self.clock().timestamp())
        if key is not None or not self._may_ask_for(kid):
            return key
        await self.refresh()
        key = self.current(kid, self.clock().timestamp())
        if key is None:
            self._remember_unknown(kid)
        return key

    def _may_ask_for(self, kid: str) -> bool:
        """False inside the negative cache, or when callers with made-up kids used up the allowance."""
        moment = asyncio.get_running_loop().time()
        if self._unknown.get(kid, 0.0) > moment:
            return False
        if self._running is not None:
            return True
        refill = (moment - self._allowance_at) / FORCED_FETCH_INTERVAL_SECONDS
        self._allowance = min(float(FORCED_FETCH_BURST), self._allowance + refill)
        self._allowance_at = moment
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def _remember_unknown(self, kid: str) -> None:
        if len(self._unknown) >= MAX_UNKNOWN_KIDS:
            self._unknown.clear()
        self._unknown[kid] = asyncio.get_running_loop().time() + UNKNOWN_KID_SECONDS

    async def refresh(self) -> bool:
        """Ask the source now; callers that come meanwhile share the one fetch. Whether it gave keys."""
        if self._running is None:
            self._running = asyncio.create_task(self._refresh())
            self._running.add_done_callback(self._finished)
        return await asyncio.shield(self._running)

    def _finished(self, _: asyncio.Task[bool]) -> None:
        self._running = None

    async def _refresh(self) -> bool:
        try:
            raw = await asyncio.to_thread(self.fetch)
            fresh = parse_key_set(raw, self.clock())
        except KeysUnreachable as problem:
            log.warning("keys not refreshed", extra={"problem": str(problem)})
            return False
        self.key_set = fresh
        copy = {"fetched_at": fresh.fetched_at.astimezone(UTC).isoformat(), "keys": fresh.document}
        try:
            await asyncio.to_thread(self.save, json.dumps(copy, indent=1).encode())
        except OSError as problem:
            log.warning("keys not saved for a restart", extra={"problem": str(problem)})
        return True

    async def keep_fresh(self) -> None:
        """Refresh for ever: every five minutes, sooner while the source is away."""
        while True:
            refreshed = await self.refresh()
            await asyncio.sleep(REFRESH_SECONDS if refreshed else RETRY_SECONDS)
