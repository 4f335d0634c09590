"""What is known of a file besides its bytes: `FileAttributes`, its checks, its JSON of format 1, its name on disk.

Pure values: nothing here reads a clock, a disk or a request. The attributes file is the truth about a file; the wire
shows the same members without `format` and `stored_name`. Which changes are allowed when is decided in `store.py`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Self
from uuid import UUID

from storage_node.attribute_rules import check_draft, check_patch
from storage_node.names import stored_name

FORMAT = 1
ACTIVE, EXPIRED, DELETED, DAMAGED = "active", "expired", "deleted", "damaged"
RECORDED_STATUSES = (ACTIVE, EXPIRED, DELETED)
DEFAULT_TTL_DAYS = 30
# Bytes of a file, and how often it was changed: sums over all files still fit SQLite's integers.
LARGEST = 10**15 - 1
_TIMES = ("uploaded_at", "updated_at", "expires_at", "deleted_at")
_NOT_ON_THE_WIRE = ("format", "stored_name")
# One encoder for every file: building one per call costs as much as the encoding.
encode_json = json.JSONEncoder(ensure_ascii=False, sort_keys=True, allow_nan=False).encode


class AttributesCorrupt(ValueError):
    """Bytes that should be an attributes file and are not; the text says what is wrong."""


_quoted: Callable[[str], str] = json.encoder.encode_basestring


def _time(value: datetime | None) -> str:
    return "null" if value is None else f'"{stamp(value)}"'


def stamp(moment: datetime) -> str:
    """A UTC moment as every JSON of ours writes it: six decimals and Z."""
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def moment(text: str) -> datetime:
    """The inverse of `stamp`; takes any RFC 3339 text with an offset. ValueError otherwise."""
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return parsed.astimezone(UTC)


@dataclass(frozen=True)
class UploadDraft:
    """What a caller says of a file about to be sent. `declared_bytes` and `sha256` (hex) are promises to check."""

    file_id: UUID
    uploaded_by: str
    original_filename: str
    content_type: str = "application/octet-stream"
    description: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    retention_policy: str = "temporary"
    ttl_days: int | None = None
    expires_at: datetime | None = None
    declared_bytes: int | None = None
    sha256: str | None = None

    def check(self) -> None:
        """Raises `ValidationFailed` naming every member that is not allowed."""
        check_draft(self)


@dataclass(frozen=True)
class AttributesPatch:
    """What an edit replaces; `given` names the members, so that null can be told from absent."""

    given: frozenset[str]
    description: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raises `ValidationFailed` naming every member that is not allowed."""
        check_patch(self)


@dataclass(frozen=True)
class FileAttributes:
    """One file as its attributes file tells it. `extra` are keys of a later format, kept on rewrite."""

    file_id: UUID
    original_filename: str
    stored_name: str
    content_type: str
    size: int
    checksum: str
    uploaded_by: str
    uploaded_at: datetime
    updated_at: datetime
    revision: int
    description: str | None
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    status: str
    retention_policy: str
    ttl_days: int | None
    expires_at: datetime | None
    deleted_at: datetime | None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_upload(cls, draft: UploadDraft, size_bytes: int, checksum: str, now: datetime) -> Self:
        """The attributes of a file whose whole body was received at `now`."""
        temporary = draft.retention_policy == "temporary"
        ttl_days = (draft.ttl_days or DEFAULT_TTL_DAYS) if temporary else None
        expires_at = draft.expires_at if temporary else None
        if ttl_days is not None and expires_at is None:
            expires_at = now + timedelta(days=ttl_days)
        return cls(
            file_id=draft.file_id,
            original_filename=draft.original_filename,
            stored_name=stored_name(
                draft.original_filename, draft.uploaded_by, now, str(draft.file_id)
            ),
            content_type=draft.content_type,
            size=size_bytes,
            checksum=checksum,
            uploaded_by=draft.uploaded_by,
            uploaded_at=now,
            updated_at=now,
            revision=1,
            description=draft.description,
            tags=draft.tags,
            metadata=draft.metadata,
            status=ACTIVE,
            retention_policy=draft.retention_policy,
            ttl_days=ttl_days,
            expires_at=expires_at,
            deleted_at=None,
        )

    @classmethod
    def from_json(cls, raw: bytes | str) -> Self:
        """Attributes from the bytes of an attributes file; raises `AttributesCorrupt`."""
        try:
            data = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise AttributesCorrupt(f"not JSON: {error}") from None
        if not isinstance(data, dict):
            raise AttributesCorrupt("not a JSON object")
        if data.pop("format", None) != FORMAT:
            raise AttributesCorrupt("not of format 1")
        return cls.from_members(data)

    @classmethod
    def from_members(cls, data: dict[str, Any]) -> Self:
        """Attributes from a decoded object without `format`; takes what it knows out of `data`."""
        known: dict[str, Any] = {}
        try:
            for name, kinds in _KINDS.items():
                known[name] = _typed(name, data.pop(name), kinds)
            for name in _TIMES:
                text = _typed(name, data.pop(name), (str, type(None)))
                known[name] = None if text is None else moment(text)
            known["file_id"] = UUID(known["file_id"])
            known["tags"] = tuple(str(tag) for tag in known["tags"])
        except KeyError as missing:
            raise AttributesCorrupt(f"{missing.args[0]} is missing") from None
        except (ValueError, TypeError, OverflowError) as error:
            raise AttributesCorrupt(str(error)) from None
        if known["uploaded_at"] is None or known["updated_at"] is None:
            raise AttributesCorrupt("uploaded_at or updated_at is null")
        numbers_fit = 0 <= known["size"] <= LARGEST and 1 <= known["revision"] <= LARGEST
        if known["status"] not in RECORDED_STATUSES or not numbers_fit:
            raise AttributesCorrupt("status, size or revision is out of range")
        if "/" in known["stored_name"] or known["stored_name"] in ("", ".", ".."):
            raise AttributesCorrupt("stored_name is not a plain file name")
        return cls(**known, extra=data)

    def edited(self, patch: AttributesPatch, now: datetime) -> Self:
        """The next revision with what `patch` gives put in place."""
        values = {name: getattr(patch, name) for name in patch.given}
        return replace(self, **values, revision=self.revision + 1, updated_at=now)

    def deleted(self, now: datetime) -> Self:
        """The next revision, marked deleted."""
        return replace(
            self, status=DELETED, deleted_at=now, revision=self.revision + 1, updated_at=now
        )

    def expired(self, now: datetime) -> Self:
        """The next revision, marked expired."""
        return replace(self, status=EXPIRED, revision=self.revision + 1, updated_at=now)

    def status_at(self, now: datetime) -> str:
        """The status a caller sees at `now`: past `expires_at` a file is expired whether marked or not."""
        if self.status == ACTIVE and self.expires_at is not None and self.expires_at <= now:
            return EXPIRED
        return self.status

    def to_wire(self) -> dict[str, Any]:
        """The members of the wire, JSON-ready."""
        return {
            name: value for name, value in self._members.items() if name not in _NOT_ON_THE_WIRE
        }

    @cached_property
    def _members(self) -> dict[str, Any]:
        members = dict(self.extra)
        members |= {name: getattr(self, name) for name in _PLAIN}
        members["format"] = FORMAT
        members["file_id"] = self.id_text
        for name in _TIMES:
            value = getattr(self, name)
            members[name] = None if value is None else stamp(value)
        return members

    @cached_property
    def id_text(self) -> str:
        """The id as 36 characters."""
        return str(self.file_id)

    @cached_property
    def wire_json(self) -> str:
        """The wire form as JSON text: sorted keys, nothing escaped that need not be."""
        return encode_json(self.to_wire()) if self.extra else "".join(self._pieces)

    @cached_property
    def file_bytes(self) -> bytes:
        """What the attributes file holds, to the byte."""
        if self.extra:
            return (encode_json(self._members) + "\n").encode()
        first, second, third = self._pieces
        return f'{first}"format": {FORMAT}, {second}"stored_name": {_quoted(self.stored_name)}, {third}\n'.encode()

    @cached_property
    def _pieces(self) -> tuple[str, str, str]:
        """What `encode_json` gives for known keys, cut where the two keys go that are not on the wire.

        Put together by hand, once for both forms: a quarter of the time of a small upload went into this.
        """
        description, tags, metadata = self.description, self.tags, self.metadata
        ttl_days = "null" if self.ttl_days is None else self.ttl_days
        first = (
            f'{{"checksum": {_quoted(self.checksum)}, "content_type": {_quoted(self.content_type)}, '
            f'"deleted_at": {_time(self.deleted_at)}, '
            f'"description": {"null" if description is None else _quoted(description)}, '
            f'"expires_at": {_time(self.expires_at)}, "file_id": "{self.id_text}", '
        )
        second = (
            f'"metadata": {encode_json(metadata) if metadata else "{}"}, '
            f'"original_filename": {_quoted(self.original_filename)}, '
            f'"retention_policy": {_quoted(self.retention_policy)}, "revision": {self.revision}, '
            f'"size": {self.size}, "status": {_quoted(self.status)}, '
        )
        third = (
            f'"tags": [{", ".join(map(_quoted, tags))}], "ttl_days": {ttl_days}, '
            f'"updated_at": {_time(self.updated_at)}, "uploaded_at": {_time(self.uploaded_at)}, '
            f'"uploaded_by": {_quoted(self.uploaded_by)}}}'
        )
        return first, second, third


_KINDS: dict[str, tuple[type, ...]] = {
    "file_id": (str,),
    "original_filename": (str,),
    "stored_name": (str,),
    "content_type": (str,),
    "size": (int,),
    "checksum": (str,),
    "uploaded_by": (str,),
    "revision": (int,),
    "description": (str, type(None)),
    "tags": (list,),
    "metadata": (dict,),
    "status": (str,),
    "retention_policy": (str,),
    "ttl_days": (int, type(None)),
}
_PLAIN = tuple(name for name in _KINDS if name != "file_id")


def _typed(name: str, value: Any, kinds: tuple[type, ...]) -> Any:
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise TypeError(f"{name} is of the wrong kind")
    return value
