"""What an upload says of its file, checked: names, description, tags, metadata, retention, checksum.

Takes texts (a form and a query string are nothing else) and gives typed values or a
`ValidationError` that names every bad field at once. No I/O, no database.
"""

import json
import math
import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from apps.ingester import digests
from apps.registry.attributes import (
    MAX_CONTENT_TYPE_CHARACTERS,
    MAX_DESCRIPTION_CHARACTERS,
    MAX_NAME_CHARACTERS,
    MAX_TAG_CHARACTERS,
    MAX_TAGS,
)
from apps.registry.models import Retention
from artstore.errors import ValidationError

MIN_TTL_DAYS = 1
MAX_TTL_DAYS = 365
DEFAULT_TTL_DAYS = 30
# Description, tags and metadata together, as the UTF-8 JSON in which the element keeps them.
MAX_TEXTS_BYTES = 12 * 1024
MAX_METADATA_DEPTH = 32
FIELD_NAMES = frozenset(
    {"description", "tags", "metadata", "retention_policy", "ttl_days", "checksum"}
)
DEFAULT_CONTENT_TYPE = "application/octet-stream"

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_CONTENT_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+(\s*;[ -~]*)?")
# The interpreter's own table: what the machine has under /etc must not change what is stored.
_TYPES = mimetypes.MimeTypes(filenames=())


@dataclass(frozen=True, slots=True)
class UploadFields:
    """What the client says beside the bytes. `checksum` is sha256 hex, or empty."""

    description: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    retention_policy: str = Retention.TEMPORARY.value
    ttl_days: int | None = DEFAULT_TTL_DAYS
    checksum: str = ""

    @property
    def texts(self) -> dict[str, Any]:
        """What can still be changed once the file is stored, as an edit of it would say it."""
        return texts_of(self)


def texts_of(described: Any) -> dict[str, Any]:
    """Description, tags and metadata of whatever has them: fields, a record, an element's word."""
    return {
        "description": described.description,
        "tags": list(described.tags),
        "metadata": dict(described.metadata),
    }


@dataclass(frozen=True, slots=True)
class FileName:
    """The file's name and type, both fit to be stored."""

    original_filename: str
    content_type: str


class _Findings:
    """Collects every complaint, so that the client mends its request once."""

    def __init__(self) -> None:
        self.details: dict[str, list[str]] = {}

    def add(self, name: str, message: str) -> None:
        self.details.setdefault(name, []).append(message)

    def raise_any(self) -> None:
        if self.details:
            raise ValidationError(
                _("The upload was refused because some of its fields are not valid."),
                details=self.details,
            )


def upload_fields(texts: Mapping[str, Sequence[str]]) -> UploadFields:
    """Typed fields from a form or query string. An empty text means the field was not given."""
    findings = _Findings()
    for name in sorted(set(texts) - FIELD_NAMES):
        findings.add(name[:64], _("Unknown field."))
    single = {name: _only(findings, name, texts.get(name, ())) for name in FIELD_NAMES - {"tags"}}
    retention = _retention(findings, single["retention_policy"])
    fields = UploadFields(
        description=_description(findings, single["description"]),
        tags=_tags(findings, texts.get("tags", ())),
        metadata=_metadata(findings, single["metadata"]),
        retention_policy=retention,
        ttl_days=_ttl_days(findings, single["ttl_days"], retention),
        checksum=_checksum(findings, single["checksum"]),
    )
    _check_size(findings, fields)
    findings.raise_any()
    return fields


def file_name(filename: str, content_type: str) -> FileName:
    """The name and type under which the file is kept; the type is guessed when none was sent."""
    findings = _Findings()
    if not filename:
        findings.add("filename", _("The file has no name."))
    elif len(filename) > MAX_NAME_CHARACTERS:
        findings.add("filename", _("At most %(n)d characters.") % {"n": MAX_NAME_CHARACTERS})
    elif filename in {".", ".."} or "/" in filename:
        findings.add("filename", _("This is a path, not a file name."))
    elif _CONTROL.search(filename) or _UNSTORABLE.search(filename):
        findings.add("filename", _("Holds a control character or is not valid UTF-8."))
    kept_type = content_type.strip() or _TYPES.guess_type(filename)[0] or DEFAULT_CONTENT_TYPE
    if len(kept_type) > MAX_CONTENT_TYPE_CHARACTERS:
        findings.add(
            "content_type", _("At most %(n)d characters.") % {"n": MAX_CONTENT_TYPE_CHARACTERS}
        )
    elif not _CONTENT_TYPE.fullmatch(kept_type):
        findings.add("content_type", _("This is not a media type."))
    findings.raise_any()
    return FileName(filename, kept_type)


def _only(findings: _Findings, name: str, values: Sequence[str]) -> str:
    if len(values) > 1:
        findings.add(name, _("Give this field once."))
    return values[0] if values else ""


def _retention(findings: _Findings, text: str) -> str:
    if not text:
        return Retention.TEMPORARY.value
    if text not in Retention.values:
        findings.add("retention_policy", _("Must be temporary or permanent."))
    return text


def _ttl_days(findings: _Findings, text: str, retention: str) -> int | None:
    if retention == Retention.PERMANENT:
        if text:
            findings.add("ttl_days", _("A permanent file has no time to live."))
        return None
    if not text:
        return DEFAULT_TTL_DAYS
    if text.isascii() and text.isdigit() and len(text) <= 3:
        days = int(text)
        if MIN_TTL_DAYS <= days <= MAX_TTL_DAYS:
            return days
    findings.add(
        "ttl_days",
        _("Must be a whole number from %(low)d to %(high)d.")
        % {"low": MIN_TTL_DAYS, "high": MAX_TTL_DAYS},
    )
    return None


def _description(findings: _Findings, text: str) -> str | None:
    if len(text) > MAX_DESCRIPTION_CHARACTERS:
        findings.add(
            "description", _("At most %(n)d characters.") % {"n": MAX_DESCRIPTION_CHARACTERS}
        )
    if _UNSTORABLE.search(text):
        findings.add("description", _("Holds a character that cannot be stored."))
    return text or None


def _tags(findings: _Findings, texts: Sequence[str]) -> tuple[str, ...]:
    tags: Any = [text for text in texts if text]
    if len(tags) == 1 and tags[0].lstrip().startswith(("[", "{")):
        tags = _json(findings, "tags", tags[0])
        if tags is None:
            return ()
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        findings.add("tags", _("Must be a JSON array of texts, or be repeated."))
        return ()
    if len(tags) > MAX_TAGS:
        findings.add("tags", _("At most %(n)d tags.") % {"n": MAX_TAGS})
    if any(not 1 <= len(tag) <= MAX_TAG_CHARACTERS for tag in tags):
        findings.add("tags", _("Each tag has 1 to %(n)d characters.") % {"n": MAX_TAG_CHARACTERS})
    if any(_UNSTORABLE.search(tag) for tag in tags):
        findings.add("tags", _("Holds a character that cannot be stored."))
    return tuple(tags)


def _metadata(findings: _Findings, text: str) -> Mapping[str, Any]:
    if not text:
        return {}
    value = _json(findings, "metadata", text)
    if value is None:
        return {}
    if not isinstance(value, dict):
        findings.add("metadata", _("Must be a JSON object."))
        return {}
    if not _storable(value, MAX_METADATA_DEPTH):
        findings.add(
            "metadata",
            _("Nested deeper than %(n)d levels, or holds a value that cannot be stored.")
            % {"n": MAX_METADATA_DEPTH},
        )
        return {}
    return value


def _checksum(findings: _Findings, text: str) -> str:
    if not text:
        return ""
    try:
        return digests.checksum_field(text)
    except ValidationError as failure:
        findings.details.update({k: list(v) for k, v in (failure.details or {}).items()})
        return ""


def _json(findings: _Findings, name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        findings.add(name, _("This is not valid JSON."))
        return None


def _storable(value: Any, depth: int) -> bool:
    """Whether PostgreSQL's jsonb and UTF-8 can hold the value and give it back as it was."""
    if depth < 0:
        return False
    if isinstance(value, str):
        return not _UNSTORABLE.search(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(
            _storable(key, depth) and _storable(inner, depth - 1) for key, inner in value.items()
        )
    if isinstance(value, list):
        return all(_storable(inner, depth - 1) for inner in value)
    return True


def _check_size(findings: _Findings, fields: UploadFields) -> None:
    if findings.details:
        return
    texts = {
        "description": fields.description,
        "tags": fields.tags,
        "metadata": fields.metadata,
    }
    if len(json.dumps(texts, ensure_ascii=False).encode()) > MAX_TEXTS_BYTES:
        findings.add(
            "metadata",
            _("Description, tags and metadata together exceed %(n)d bytes as JSON.")
            % {"n": MAX_TEXTS_BYTES},
        )
