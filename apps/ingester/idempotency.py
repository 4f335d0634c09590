"""The same key from the same principal is the same file: ids made from keys, and comparison.

An id comes from the key alone, so a registry that was lost and rebuilt still knows it. After a
fault an element may have given an id up for good; the key then moves on to its next id, and the
highest one with a record is the one that counts.
"""

import hashlib
import hmac
import re
import uuid
from dataclasses import dataclass

from django.conf import settings
from django.utils.translation import gettext as _

from apps.ingester.incoming import IncomingFile
from apps.registry.models import FileRecord
from artstore.errors import ValidationError

MAX_KEY_CHARACTERS = 255
# Faults one key can outlive. Each costs an element's refusal on the next try.
GENERATIONS = 16
_PRINTABLE = re.compile(r"[ -~]{1,255}")


@dataclass(frozen=True, slots=True)
class Claim:
    """A client's idempotency key, bound to whoever sent it."""

    principal_id: uuid.UUID
    key: str

    def file_id(self, generation: int) -> uuid.UUID:
        """UUIDv8 over the key; the setting makes it unguessable to whoever knows the key."""
        said = f"{self.principal_id}\n{generation}\n{self.key}".encode()
        digest = hmac.digest(settings.ARTSTORE_DIGEST_KEY.encode(), said, hashlib.sha256)
        return _version_8(digest[:16])

    def file_ids(self) -> list[uuid.UUID]:
        return [self.file_id(generation) for generation in range(GENERATIONS)]


def check_key(key: str) -> str:
    """The key, if it may be one."""
    if not _PRINTABLE.fullmatch(key):
        raise ValidationError(
            _("The upload was refused because its Idempotency-Key cannot be used."),
            details={
                "Idempotency-Key": [
                    _("1 to %(n)d printable ASCII characters.") % {"n": MAX_KEY_CHARACTERS}
                ]
            },
        )
    return key


def latest(claim: Claim) -> tuple[int, FileRecord | None]:
    """The generation to use and its record: the highest one that has any, else the first."""
    ids = claim.file_ids()
    found = {record.file_id: record for record in FileRecord.objects.filter(pk__in=ids)}
    for generation in reversed(range(GENERATIONS)):
        if ids[generation] in found:
            return generation, found[ids[generation]]
    return 0, None


def is_same(record: FileRecord, incoming: IncomingFile) -> bool:
    """Whether a repeated upload, its bytes read to the end, is the one the record came from."""
    given = incoming.final_fields()
    return (
        record.checksum == incoming.content.sha256
        and record.size == incoming.content.size_bytes
        and record.original_filename == incoming.name.original_filename
        and record.content_type == incoming.name.content_type
        and (record.description or None) == given.description
        and tuple(record.tags) == given.tags
        and record.metadata == given.metadata
        and record.retention_policy == given.retention_policy
        and record.ttl_days == given.ttl_days
    )


def _version_8(raw: bytes) -> uuid.UUID:
    bits = int.from_bytes(raw)
    bits = bits & ~(0xF << 76) | 8 << 76
    bits = bits & ~(0x3 << 62) | 2 << 62
    return uuid.UUID(int=bits)
