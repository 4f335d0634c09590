"""What an upload says of its file, from the attributes header or from form fields, to the engine's `UploadDraft`.

Turns text into values and names what is not of the right kind; what a value may be (lengths, characters, limits) is the
business of `attributes.py`.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from storage_node.attributes import AttributesPatch, UploadDraft, moment
from storage_node.config import ATTRIBUTES_HEADER_LIMIT_BYTES
from storage_node.errors import ValidationFailed
from storage_node.multipart_body import Fields, NamedFile

ATTRIBUTES_HEADER = "X-ArtStore-Attributes"
_FILE_ID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}")
_SHA256_DIGEST = re.compile(r"\s*sha-256\s*=\s*:([A-Za-z0-9+/]{43}=):\s*")
_OTHER_DIGEST = re.compile(r"\s*[A-Za-z0-9*_.-]+\s*=\s*:[A-Za-z0-9+/=]*:\s*")
_DEFAULT_CONTENT_TYPE = "application/octet-stream"
_TEXTS = ("description", "content_type", "retention_policy", "expires_at")
_DRAFT_MEMBERS = ("original_filename", *_TEXTS, "tags", "metadata", "ttl_days")
_EDITABLE = frozenset({"description", "tags", "metadata"})


@dataclass(frozen=True)
class Sender:
    """What is known of an upload before its attributes are read. `sha256` is hex."""

    file_id: UUID
    uploaded_by: str
    declared_bytes: int | None
    sha256: str | None


def parse_file_id(text: str) -> UUID:
    """A file id in its usual 36 characters; a wrong one says nothing about any file, so it is not a 404."""
    if not _FILE_ID.fullmatch(text):
        raise ValidationFailed(
            "The call was refused: the address holds no file id.", {"file_id": ["must be a UUID"]}
        )
    return UUID(int=int(text.replace("-", ""), 16))


def parse_digest(header: str | None) -> str | None:
    """`Repr-Digest` or `Content-Digest` (RFC 9530) to sha256 hex; digests of other kinds are passed over, what is no
    digest at all is refused: the caller meant something to be checked."""
    if header is None:
        return None
    sha256 = None
    for member in header.split(","):
        if match := _SHA256_DIGEST.fullmatch(member):
            sha256 = base64.b64decode(match[1]).hex()
        elif not _OTHER_DIGEST.fullmatch(member) or member.strip().lower().startswith("sha-256="):
            raise ValidationFailed(
                "The upload was refused: the digest header can not be read.",
                {"Repr-Digest": ["must be sha-256=:base64:"]},
            )
    return sha256


def digest_header(checksum: str) -> str:
    """sha256 hex to the value of `Repr-Digest`."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(checksum)).decode()}:"


def from_header(header: str | None, sender: Sender) -> UploadDraft:
    """What the attributes header says of the file that `sender` sends."""
    if header is None:
        raise _bad({ATTRIBUTES_HEADER: ["is required"]})
    if len(header) > ATTRIBUTES_HEADER_LIMIT_BYTES:
        raise _bad({ATTRIBUTES_HEADER: ["must be at most 24 KiB"]})
    try:
        raw = base64.b64decode(header + "=" * (-len(header) % 4), altchars=b"-_", validate=True)
        members = json.loads(raw.decode("utf-8"))
    except (binascii.Error, ValueError, RecursionError):
        raise _bad({ATTRIBUTES_HEADER: ["must be base64url of UTF-8 JSON"]}) from None
    if not isinstance(members, dict):
        raise _bad({ATTRIBUTES_HEADER: ["must be a JSON object"]})
    return _draft(members, sender, {})


def from_form(file: NamedFile, fields: Fields, sender: Sender) -> UploadDraft:
    """What a form says; the last of a repeated field counts, repeated `tags` are gathered."""
    problems: dict[str, list[str]] = {}
    members: dict[str, Any] = {
        "original_filename": file.filename,
        "content_type": file.content_type or _DEFAULT_CONTENT_TYPE,
    }
    for name in ("description", "retention_policy"):
        if name in fields:
            members[name] = fields[name][-1]
    if "ttl_days" in fields:
        members["ttl_days"] = _whole_number(fields["ttl_days"][-1], problems)
    if "tags" in fields:
        members["tags"] = _tags(fields["tags"], problems)
    if "metadata" in fields:
        members["metadata"] = _json(fields["metadata"][-1], "metadata", problems)
    sha256 = fields["checksum"][-1].lower() if "checksum" in fields else sender.sha256
    if sha256 is not None and not _SHA256_HEX.fullmatch(sha256):
        problems["checksum"] = ["must be 64 hexadecimal digits"]
    return _draft(members, replace(sender, sha256=sha256), problems)


def from_patch(raw: bytes) -> AttributesPatch:
    """What an edit gives, from its JSON body."""
    members = parse_object(raw)
    problems = {name: ["can not be edited"] for name in members.keys() - _EDITABLE}
    problems |= _wrong_kinds({"original_filename": "", **members})
    if problems:
        raise ValidationFailed("The edit was refused: its values are not valid.", problems)
    given = frozenset(members)
    values = {name: members[name] for name in given}
    if "tags" in given:
        values["tags"] = tuple(values["tags"] or ())
    if "metadata" in given:
        values["metadata"] = values["metadata"] or {}
    return AttributesPatch(given=given, **values)


def parse_object(raw: bytes) -> dict[str, Any]:
    """A JSON object out of a request body."""
    try:
        members = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ValidationFailed(
            "The request was refused: its body is not UTF-8 JSON.", {"body": ["must be JSON"]}
        ) from None
    if not isinstance(members, dict):
        raise ValidationFailed(
            "The request was refused: its body is not a JSON object.",
            {"body": ["must be an object"]},
        )
    return members


def _draft(members: dict[str, Any], sender: Sender, problems: dict[str, list[str]]) -> UploadDraft:
    problems = {**_wrong_kinds(members), **problems}
    expires_at = members.get("expires_at")
    if isinstance(expires_at, str):
        try:
            members = {**members, "expires_at": moment(expires_at)}
        except ValueError:
            problems["expires_at"] = ["must be an RFC 3339 time"]
    if problems:
        raise _bad(problems)
    known = {name: members[name] for name in _DRAFT_MEMBERS if members.get(name) is not None}
    known["tags"] = tuple(known.get("tags", ()))
    return UploadDraft(**known, **vars(sender))


def _wrong_kinds(members: dict[str, Any]) -> dict[str, list[str]]:
    """Values of the wrong JSON kind, by name."""
    problems: dict[str, list[str]] = {}
    if not isinstance(members.get("original_filename"), str):
        problems["original_filename"] = ["is required and must be text"]
    for name in _TEXTS:
        if not isinstance(members.get(name), str | None):
            problems[name] = ["must be text"]
    tags = members.get("tags")
    if tags is not None and not (
        isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)
    ):
        problems["tags"] = ["must be a list of texts"]
    if not isinstance(members.get("metadata"), dict | None):
        problems["metadata"] = ["must be a JSON object"]
    ttl_days = members.get("ttl_days")
    if ttl_days is not None and (not isinstance(ttl_days, int) or isinstance(ttl_days, bool)):
        problems["ttl_days"] = ["must be a whole number"]
    return problems


def _whole_number(text: str, problems: dict[str, list[str]]) -> int | None:
    if re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return int(text)
    problems["ttl_days"] = ["must be a whole number"]
    return None


def _json(text: str, name: str, problems: dict[str, list[str]]) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        problems[name] = ["must be JSON"]
        return None


def _tags(values: list[str], problems: dict[str, list[str]]) -> Any:
    """One JSON list, or one tag per repeated field."""
    if len(values) == 1 and values[0].lstrip().startswith("["):
        return _json(values[0], "tags", problems)
    return [value for value in values if value]


def _bad(details: dict[str, list[str]]) -> ValidationFailed:
    return ValidationFailed("The upload was refused: its attributes are not valid.", details)
