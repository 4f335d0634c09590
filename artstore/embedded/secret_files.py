"""Secrets of the embedded system: made once, kept in files that only their owner may read."""

import base64
import os
import secrets
from collections.abc import Callable
from pathlib import Path

# No letters and digits that look alike: a person types this one.
_READABLE = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKMNPQRSTUVWXYZ23456789"


def write(path: Path, text: str) -> None:
    """Replace `path` as a whole, readable by its owner alone from the first byte on."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def keep(path: Path, make: Callable[[], str]) -> tuple[str, bool]:
    """What `path` holds, and whether it was made just now."""
    if path.exists():
        return path.read_text(encoding="utf-8").strip(), False
    text = make()
    write(path, f"{text}\n")
    return text, True


def random_text() -> str:
    return secrets.token_urlsafe(32)


def fernet_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def readable_password() -> str:
    """About 93 bits in four groups."""
    return "-".join("".join(secrets.choice(_READABLE) for _ in range(4)) for _ in range(4))
