"""What an operator can get wrong about identity, found at start with a hint."""

import binascii
from collections.abc import Iterator, Sequence
from typing import Any

from cryptography.fernet import Fernet
from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.db import DatabaseError

from apps.admin import key_material, keys
from apps.admin.errors import KeysUnusable
from apps.admin.models import KeyState, SigningKey

_LONGEST_ELEMENT_TOKEN_SECONDS = 15 * 60
_SHORTEST_SECRET_CHARACTERS = 32
_LONGEST_KEY_CACHE_SECONDS = 10


@checks.register(checks.Tags.security)
def check_settings(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - Django's signature
    **_kwargs: Any,
) -> list[checks.CheckMessage]:
    return [*_lives(), *_secrets(), *_limits()]


@checks.register(checks.Tags.database)
def check_active_key_opens(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - Django's signature
    **_kwargs: Any,
) -> list[checks.CheckMessage]:
    """Runs with `check --database default`: the configured key opens what the database holds."""
    try:
        active = SigningKey.objects.filter(state=KeyState.ACTIVE).first()
        if active is not None:
            key_material.open_private(active.private_pem_encrypted)
    except DatabaseError:
        return []  # not migrated yet; migrate reports its own troubles
    except KeysUnusable as failure:
        return [checks.Error(str(failure), id="artstore.E107")]
    return []


def _lives() -> Iterator[checks.CheckMessage]:
    longest = keys.longest_token_seconds()
    if longest > settings.ARTSTORE_KEY_GRACE_SECONDS:
        yield checks.Error(
            f"Tokens may live {longest} s, but a retiring key is only kept for"
            f" {settings.ARTSTORE_KEY_GRACE_SECONDS} s: tokens would die early.",
            hint="Raise ARTSTORE_KEY_GRACE_SECONDS or shorten the token lives.",
            id="artstore.E101",
        )
    if not 60 < settings.ARTSTORE_ELEMENT_TOKEN_SECONDS <= _LONGEST_ELEMENT_TOKEN_SECONDS:
        yield checks.Error(
            "A token for a storage element lives more than 1 and at most 15 minutes: a suspended"
            " account is known there only by its token running out.",
            hint="Set ARTSTORE_ELEMENT_TOKEN_SECONDS between 61 and 900.",
            id="artstore.E102",
        )
    if settings.ARTSTORE_REFRESH_TOKEN_SECONDS < settings.ARTSTORE_USER_TOKEN_SECONDS:
        yield checks.Error(
            "A refresh token would die before the access token it renews.",
            hint="Raise ARTSTORE_REFRESH_TOKEN_SECONDS.",
            id="artstore.E103",
        )


def _secrets() -> Iterator[checks.CheckMessage]:
    if not settings.ARTSTORE_KEY_ENCRYPTION_KEYS:
        yield checks.Error(
            "There is no key to encrypt the private signing keys with.",
            hint="Set ARTSTORE_KEY_ENCRYPTION_KEYS.",
            id="artstore.E104",
        )
    for position, key in enumerate(settings.ARTSTORE_KEY_ENCRYPTION_KEYS, start=1):
        try:
            Fernet(key)
        except (ValueError, binascii.Error):
            yield checks.Error(
                f"Key {position} of ARTSTORE_KEY_ENCRYPTION_KEYS is not 32 bytes in urlsafe base64.",
                hint="Make one: openssl rand -base64 32 | tr '+/' '-_'",
                id="artstore.E105",
            )
    for name in ("SECRET_KEY", "ARTSTORE_DIGEST_KEY"):
        if len(getattr(settings, name)) < _SHORTEST_SECRET_CHARACTERS:
            yield checks.Error(
                f"{name} is shorter than {_SHORTEST_SECRET_CHARACTERS} characters.",
                hint="Make one: openssl rand -base64 48",
                id="artstore.E106",
            )


def _limits() -> Iterator[checks.CheckMessage]:
    for name in (
        "ARTSTORE_LOCK_FAILURES",
        "ARTSTORE_LOCK_SECONDS",
        "ARTSTORE_THROTTLE_ADDRESS_PER_MINUTE",
        "ARTSTORE_THROTTLE_NAME_PER_MINUTE",
        "ARTSTORE_USER_TOKEN_SECONDS",
        "ARTSTORE_SERVICE_TOKEN_SECONDS",
        "ARTSTORE_AUDIT_KEEP_DAYS",
    ):
        if getattr(settings, name) < 1:
            yield checks.Error(
                f"{name} must be at least 1.", hint=f"Correct {name}.", id="artstore.E108"
            )
    if not 0 <= settings.ARTSTORE_KEY_CACHE_SECONDS <= _LONGEST_KEY_CACHE_SECONDS:
        yield checks.Error(
            "A process may remember the signing keys for 0 to 10 seconds: until then it signs with"
            " the one before, and accepts one that leaked.",
            hint="Set ARTSTORE_KEY_CACHE_SECONDS between 0 and 10.",
            id="artstore.E111",
        )
    if settings.ARTSTORE_TRUSTED_PROXIES < 0:
        yield checks.Error(
            "ARTSTORE_TRUSTED_PROXIES cannot be negative.",
            hint="Count the proxies in front that append to X-Forwarded-For.",
            id="artstore.E109",
        )
    if not settings.ARTSTORE_ISSUER:
        yield checks.Error(
            "ARTSTORE_ISSUER is empty: nodes could not tell whose tokens they see.",
            hint="Set ARTSTORE_ISSUER, and SE_ISSUER on every node to the same.",
            id="artstore.E110",
        )
