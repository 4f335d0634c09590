"""Digests a client may send with a body (RFC 9530) and how they are compared. No I/O.

Only sha-256 is verified; a header that names other algorithms alone says nothing to us, as the RFC
allows. In a multipart request the headers speak of the whole form, but many clients mean the file:
either is accepted, since both prove that the bytes came through unharmed.
"""

import base64
import binascii
import re
from collections.abc import Mapping

from django.utils.translation import gettext as _

from artstore.errors import ValidationError

SHA256_BYTES = 32
_MEMBER = re.compile(r"\s*([A-Za-z0-9*_.-]+)\s*=\s*:([A-Za-z0-9+/=]*):\s*(?:;[^,]*)?")
_HEX = re.compile(r"[0-9a-fA-F]{64}")


def expected_digests(headers: Mapping[str, str | None]) -> frozenset[str]:
    """The sha256 values, in hex, that `Content-Digest` and `Repr-Digest` ask for."""
    found = (_sha256_of(name, value) for name, value in headers.items() if value)
    return frozenset(digest for digest in found if digest)


def checksum_field(text: str) -> str:
    """The form's `checksum`: sha256 in hex, any case."""
    if not _HEX.fullmatch(text):
        raise _malformed("checksum", _("Must be the sha256 of the file as 64 hex digits."))
    return text.lower()


def _sha256_of(name: str, value: str) -> str | None:
    for member in value.split(","):
        match = _MEMBER.fullmatch(member)
        if match is None:
            raise _malformed(name, _("Must look like sha-256=:<base64>: (RFC 9530)."))
        if match[1].lower() == "sha-256":
            return _decoded(name, match[2])
    return None


def _decoded(name: str, text: str) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as failure:
        raise _malformed(name, _("The digest is not valid base64.")) from failure
    if len(raw) != SHA256_BYTES:
        raise _malformed(name, _("A sha-256 digest has 32 bytes."))
    return raw.hex()


def _malformed(field: str, message: str) -> ValidationError:
    return ValidationError(
        _("The upload was refused because a digest it announced cannot be read."),
        details={field: [message]},
    )
