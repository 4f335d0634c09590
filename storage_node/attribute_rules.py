"""What a caller may say of a file: lengths, characters, kinds. One sentence per broken rule.

Only rules about values. Whether the element takes the file at all (mode, room, tombstones) is decided elsewhere.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from storage_node.errors import ValidationFailed

NAME_LIMIT_CHARACTERS = 255
DESCRIPTION_LIMIT_CHARACTERS = 1000
TAG_LIMIT = 50
TAG_LIMIT_CHARACTERS = 64
CONTENT_TYPE_LIMIT_CHARACTERS = 255
UPLOADER_LIMIT_CHARACTERS = 255
TTL_LIMIT_DAYS = 365
TOGETHER_LIMIT_BYTES = 12 * 1024
METADATA_LIMIT_DEPTH = 32
EDITABLE = frozenset({"description", "tags", "metadata"})

_CONTENT_TYPE = re.compile(r"[!-~]+(?: *[!-~]+)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# C0 and C1 controls, DEL, and the halves of surrogate pairs, which no file of UTF-8 can hold.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Words(Protocol):
    """The members an upload and an edit share."""

    @property
    def description(self) -> str | None: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...


class Draft(Words, Protocol):
    """The members of an upload that have rules."""

    @property
    def uploaded_by(self) -> str: ...
    @property
    def original_filename(self) -> str: ...
    @property
    def content_type(self) -> str: ...
    @property
    def retention_policy(self) -> str: ...
    @property
    def ttl_days(self) -> int | None: ...
    @property
    def expires_at(self) -> datetime | None: ...
    @property
    def declared_bytes(self) -> int | None: ...
    @property
    def sha256(self) -> str | None: ...


class Patch(Words, Protocol):
    """An edit: which members it gives, and their values."""

    @property
    def given(self) -> frozenset[str]: ...


# One encoder for every draft: making one costs as much as the encoding.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
# dict first: asking an abstract class is slow.
_OBJECTS = (dict, Mapping)


class _Problems:
    """Gathers what is wrong, by member."""

    def __init__(self) -> None:
        self.details: dict[str, list[str]] = {}

    def add(self, member: str, problem: str) -> None:
        self.details.setdefault(member, []).append(problem)

    def raise_if_any(self, message: str) -> None:
        if self.details:
            raise ValidationFailed(message, self.details)


def check_draft(draft: Draft) -> None:
    """Raises `ValidationFailed` naming every member of an upload that is not allowed."""
    problems = _Problems()
    _check_filename(draft.original_filename, problems)
    if not 0 < len(draft.uploaded_by) <= UPLOADER_LIMIT_CHARACTERS or _CONTROL.search(
        draft.uploaded_by
    ):
        problems.add("uploaded_by", "must be 1 to 255 characters without control characters")
    content_type = draft.content_type
    if len(content_type) > CONTENT_TYPE_LIMIT_CHARACTERS or not _CONTENT_TYPE.fullmatch(
        content_type
    ):
        problems.add("content_type", "must be 1 to 255 printable ASCII characters")
    _check_retention(draft, problems)
    _check_words(draft, problems)
    if draft.declared_bytes is not None and draft.declared_bytes < 0:
        problems.add("size", "must not be negative")
    if draft.sha256 is not None and not _SHA256.fullmatch(draft.sha256):
        problems.add("checksum", "must be 64 lower-case hexadecimal digits")
    problems.raise_if_any("Upload was refused: the attributes are not valid.")


def check_patch(patch: Patch) -> None:
    """Raises `ValidationFailed` naming every member of an edit that is not allowed."""
    problems = _Problems()
    if not patch.given:
        problems.add("body", "must give at least one of description, tags, metadata")
    for name in sorted(patch.given - EDITABLE):
        problems.add(name, "can not be edited")
    _check_words(patch, problems)
    problems.raise_if_any("Edit was refused: the attributes are not valid.")


def _check_filename(name: object, problems: _Problems) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= NAME_LIMIT_CHARACTERS:
        problems.add("original_filename", "must be 1 to 255 characters")
        return
    if "/" in name:
        problems.add("original_filename", "may not contain /")
    if name in (".", ".."):
        problems.add("original_filename", "may not be . or ..")
    if _CONTROL.search(name):
        problems.add("original_filename", "may not contain control characters")


def _check_retention(draft: Draft, problems: _Problems) -> None:
    if draft.retention_policy == "permanent":
        if draft.ttl_days is not None:
            problems.add("ttl_days", "may only be given with retention_policy temporary")
        if draft.expires_at is not None:
            problems.add("expires_at", "may only be given with retention_policy temporary")
    elif draft.retention_policy != "temporary":
        problems.add("retention_policy", "must be temporary or permanent")
    ttl_days = draft.ttl_days
    is_number = isinstance(ttl_days, int) and not isinstance(ttl_days, bool)
    if ttl_days is not None and not (is_number and 1 <= ttl_days <= TTL_LIMIT_DAYS):
        problems.add("ttl_days", "must be between 1 and 365")
    if draft.expires_at is not None and draft.expires_at.tzinfo is None:
        problems.add("expires_at", "must have a time zone")


def _check_words(words: Words, problems: _Problems) -> None:
    if words.description is not None:
        if not isinstance(words.description, str):
            problems.add("description", "must be text or null")
        elif len(words.description) > DESCRIPTION_LIMIT_CHARACTERS:
            problems.add("description", "must be at most 1000 characters")
    if len(words.tags) > TAG_LIMIT:
        problems.add("tags", "must be at most 50")
    for tag in words.tags:
        if (
            not isinstance(tag, str)
            or not 0 < len(tag) <= TAG_LIMIT_CHARACTERS
            or _CONTROL.search(tag)
        ):
            problems.add("tags", "must each be 1 to 64 characters without control characters")
            break
    _check_metadata(words, problems)


def _check_metadata(words: Words, problems: _Problems) -> None:
    if not isinstance(words.metadata, _OBJECTS):
        problems.add("metadata", "must be an object")
        return
    if not words.metadata and not words.tags and not words.description:
        return
    if words.metadata and _is_deeper(words.metadata, METADATA_LIMIT_DEPTH):
        problems.add("metadata", "must not be nested deeper than 32")
        return
    try:
        together = _encode([words.description, words.tags, dict(words.metadata)])
        size_bytes = len(together.encode())
    except (ValueError, TypeError):
        problems.add("metadata", "must be JSON: no NaN, no infinity, no unpaired surrogates")
        return
    if _UNSTORABLE.search(together) or r"\u0000" in together:
        problems.add("metadata", "may not contain NUL, nor may description")
    if size_bytes > TOGETHER_LIMIT_BYTES:
        problems.add("metadata", "with description and tags must be at most 12 KiB as JSON")


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether containers are nested deeper than `levels`; walks without recursion."""
    layer: list[Any] = [value]
    for _ in range(levels + 1):
        inner: list[Any] = []
        for container in layer:
            members = container.values() if isinstance(container, Mapping) else container
            inner += [member for member in members if isinstance(member, Mapping | list | tuple)]
        if not inner:
            return False
        layer = inner
    return True
