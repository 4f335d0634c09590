"""What a node says of one file, checked and typed. No I/O, no database.

The node's attributes are the truth, but they arrive over a network from a machine that may be
broken: an item that would not fit the database is refused here, by itself, before its page is
applied.
"""

import datetime as dt
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

STATUSES = frozenset({"active", "expired", "deleted"})
TOMBSTONE_STATUSES = frozenset({"expired", "deleted", "abandoned"})
RETENTIONS = frozenset({"temporary", "permanent"})
MAX_NAME_CHARACTERS = 255
MAX_CONTENT_TYPE_CHARACTERS = 255
MAX_DESCRIPTION_CHARACTERS = 1000
MAX_UPLOADER_CHARACTERS = 150
MAX_TAGS = 50
MAX_TAG_CHARACTERS = 64
MAX_METADATA_BYTES = 12 * 1024
MAX_TTL_DAYS = 365_000
MAX_BIGINT = 2**63 - 1

_SHA256 = re.compile(r"[0-9a-f]{64}")
# PostgreSQL stores neither NUL nor half a surrogate pair; one such character voids a whole COPY.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# The same NUL as JSON text writes it; a doubled backslash before it is only text about it.
_JSON_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
# Made once: `json.dumps` builds an encoder for each call with options, a fifth of a listing's time.
json_text = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


class AttributesInvalid(ValueError):
    """One item of a node's answer cannot become a record; the text says which field and why."""


@dataclass(frozen=True, slots=True)
class FileAttributes:
    """One file as its element describes it."""

    file_id: uuid.UUID
    original_filename: str
    content_type: str
    size: int
    checksum: str
    uploaded_by: str
    uploaded_at: dt.datetime
    updated_at: dt.datetime
    revision: int
    description: str | None
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    status: str
    retention_policy: str
    ttl_days: int | None
    expires_at: dt.datetime | None


# What a record repeats of a file, by the record's names and in the order of `api.md`: the one list
# from which rows are made, compared and shown.
RECORD_COLUMNS = tuple(
    "stored_revision" if member.name == "revision" else member.name
    for member in fields(FileAttributes)
)


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What remains of a file whose bytes were freed, or of an id that was given up."""

    file_id: uuid.UUID
    status: str
    at: dt.datetime


def parse_file(item: Any) -> FileAttributes:
    """The wire's JSON object as `FileAttributes`; `AttributesInvalid` for anything else."""
    if not isinstance(item, dict):
        raise AttributesInvalid("not an object")
    if item.get("status") == "damaged":
        raise AttributesInvalid("damaged on the element")
    return FileAttributes(
        file_id=file_id_of(item),
        original_filename=_text(item, "original_filename", MAX_NAME_CHARACTERS),
        content_type=_text(item, "content_type", MAX_CONTENT_TYPE_CHARACTERS),
        size=_integer(item, "size", 0),
        checksum=_checksum(item),
        uploaded_by=_text(item, "uploaded_by", MAX_UPLOADER_CHARACTERS),
        uploaded_at=_time(item, "uploaded_at"),
        updated_at=_time(item, "updated_at"),
        revision=_integer(item, "revision", 1),
        description=_description(item),
        tags=_tags(item),
        metadata=_metadata(item),
        status=_choice(item, "status", STATUSES),
        retention_policy=_choice(item, "retention_policy", RETENTIONS),
        ttl_days=None
        if item.get("ttl_days") is None
        else _integer(item, "ttl_days", 1, MAX_TTL_DAYS),
        expires_at=None if item.get("expires_at") is None else _time(item, "expires_at"),
    )


def parse_tombstone(item: Any) -> Tombstone:
    """A tombstone of the change feed; `AttributesInvalid` for anything else."""
    if not isinstance(item, dict):
        raise AttributesInvalid("not an object")
    status = _choice(item, "status", TOMBSTONE_STATUSES)
    return Tombstone(file_id_of(item), status, _time(item, "at"))


def file_id_of(item: Mapping[str, Any]) -> uuid.UUID:
    """The id alone, which a rejected item may still have."""
    value = item.get("file_id")
    if not isinstance(value, str) or len(value) != 36:
        raise AttributesInvalid("file_id: not a UUID")
    try:
        return uuid.UUID(value)
    except ValueError as failure:
        raise AttributesInvalid("file_id: not a UUID") from failure


def _text(item: Mapping[str, Any], field: str, limit: int) -> str:
    value = item.get(field)
    if not isinstance(value, str) or not value:
        raise AttributesInvalid(f"{field}: missing or not text")
    if len(value) > limit:
        raise AttributesInvalid(f"{field}: longer than {limit} characters")
    if _UNSTORABLE.search(value):
        raise AttributesInvalid(f"{field}: holds a character that cannot be stored")
    return value


def _integer(item: Mapping[str, Any], field: str, low: int, high: int = MAX_BIGINT) -> int:
    value = item.get(field)
    if type(value) is not int or not low <= value <= high:
        raise AttributesInvalid(f"{field}: not a whole number from {low} to {high}")
    return value


def _checksum(item: Mapping[str, Any]) -> str:
    value = item.get("checksum")
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise AttributesInvalid("checksum: not a sha256 in lower-case hex")
    return value


def _choice(item: Mapping[str, Any], field: str, allowed: frozenset[str]) -> str:
    value = item.get(field)
    if not isinstance(value, str) or value not in allowed:
        raise AttributesInvalid(f"{field}: not one of {', '.join(sorted(allowed))}")
    return value


def _time(item: Mapping[str, Any], field: str) -> dt.datetime:
    value = item.get(field)
    if not isinstance(value, str):
        raise AttributesInvalid(f"{field}: not a time")
    try:
        moment = dt.datetime.fromisoformat(value)
        # Turning it into UTC here catches the edges of the calendar, where PostgreSQL would fail.
        return moment.astimezone(dt.UTC) if moment.tzinfo else _refuse_naive(field)
    except (ValueError, OverflowError) as failure:
        raise AttributesInvalid(f"{field}: not a time in RFC 3339") from failure


def _refuse_naive(field: str) -> dt.datetime:
    raise AttributesInvalid(f"{field}: a time without a zone")


def _description(item: Mapping[str, Any]) -> str | None:
    value = item.get("description")
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_DESCRIPTION_CHARACTERS:
        raise AttributesInvalid(
            f"description: not text of at most {MAX_DESCRIPTION_CHARACTERS} characters"
        )
    if _UNSTORABLE.search(value):
        raise AttributesInvalid("description: holds a character that cannot be stored")
    return value


def _tags(item: Mapping[str, Any]) -> tuple[str, ...]:
    value = item.get("tags")
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_TAGS:
        raise AttributesInvalid(f"tags: not a list of at most {MAX_TAGS}")
    for tag in value:
        if not isinstance(tag, str) or len(tag) > MAX_TAG_CHARACTERS or _UNSTORABLE.search(tag):
            raise AttributesInvalid(f"tags: one is not text of at most {MAX_TAG_CHARACTERS}")
    return tuple(value)


def _metadata(item: Mapping[str, Any]) -> Mapping[str, Any]:
    value = item.get("metadata")
    return {} if value is None else checked_metadata(value)


def checked_metadata(value: Any) -> Mapping[str, Any]:
    """`value` if it is a JSON object the database can hold; `AttributesInvalid` if not."""
    if not isinstance(value, dict):
        raise AttributesInvalid("metadata: not an object")
    if not value:
        return value
    try:
        text = json_text(value)
        size_bytes = len(text.encode())
    except (ValueError, RecursionError) as failure:
        raise AttributesInvalid("metadata: holds a value that cannot be stored") from failure
    if size_bytes > 2 * MAX_METADATA_BYTES or ("\\u0000" in text and _JSON_NUL.search(text)):
        raise AttributesInvalid("metadata: too large, or holds a NUL")
    return value
