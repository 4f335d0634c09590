"""Keyed digests of things the database must recognise but not know: secrets, refresh tokens,
names people typed. Random secrets need no slow hash; passwords are hashed elsewhere.
"""

import hashlib
import hmac

from django.conf import settings


def keyed(purpose: str, text: str) -> str:
    """HMAC-SHA256 in hex; equal texts under different purposes do not match."""
    message = f"{purpose}\0{text}".encode("utf-8", "surrogatepass")
    return hmac.new(settings.ARTSTORE_DIGEST_KEY.encode(), message, hashlib.sha256).hexdigest()


def fits(expected: str, found: str) -> bool:
    """Whether two digests are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(expected, found)
