"""What an upload says of a file before its bytes arrive. Values only, no behaviour."""

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class UploadDraft:
    """A file somebody has begun to upload to one element; becomes a row `uploading`.

    `declared_bytes` is what the row reserves on its element while the size is not known. `pinned`
    binds the row to its element from the start, for a sender that has all bytes at hand.
    """

    file_id: uuid.UUID
    element_id: uuid.UUID
    original_filename: str
    content_type: str
    uploaded_by: str
    declared_bytes: int
    retention_policy: str
    ttl_days: int | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    checksum: str = ""
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim on a row that dies by itself when its holder does."""

    id: uuid.UUID
    seconds: float

    @classmethod
    def for_seconds(cls, seconds: float) -> "Lease":
        return cls(uuid.uuid4(), seconds)

    @property
    def duration(self) -> dt.timedelta:
        return dt.timedelta(seconds=self.seconds)
