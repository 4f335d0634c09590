"""A file as an element's feed lists it: its row as COPY takes it. No I/O, no database.

A listing is mostly this, so an item that holds nothing out of the ordinary is proven sound and written out in one
go; any other goes by way of `attributes`, field by field, which also finds the words for what is wrong with it.
Both ways write the same row.
"""

import datetime as dt
import operator
import re
from collections.abc import Sequence
from typing import Any

import orjson

from apps.registry.attributes import (
    MAX_BIGINT,
    MAX_CONTENT_TYPE_CHARACTERS,
    MAX_DESCRIPTION_CHARACTERS,
    MAX_METADATA_BYTES,
    MAX_NAME_CHARACTERS,
    MAX_TAG_CHARACTERS,
    MAX_TAGS,
    MAX_TTL_DAYS,
    MAX_UPLOADER_CHARACTERS,
    RECORD_COLUMNS,
    RETENTIONS,
    STATUSES,
    FileAttributes,
    json_text,
    parse_file,
)

NULL = r"\N"
_FIELDS_FROM_STATUS = len(RECORD_COLUMNS) - RECORD_COLUMNS.index("status")
_SPECIAL = re.compile(r"[\\\t\n\r]")
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})

_fields = operator.itemgetter(*FileAttributes.__slots__)
_MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{6})?(?:Z|\+00:00)"
_has_shape = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12} [0-9a-f]{64}"
    rf" {_MOMENT} {_MOMENT} (?:{_MOMENT}|\\N)"
    rf" (?:{'|'.join(STATUSES)}) (?:{'|'.join(RETENTIONS)})"
).fullmatch
_moment = dt.datetime.fromisoformat
# However many bytes a character takes, so many of them are not too large.
_FEW_CHARACTERS = MAX_METADATA_BYTES // 4


def id_of(row: str) -> str:
    """Whose row it is; in lower case and with dashes, whatever the element wrote."""
    return row[:36]


def status_of(row: str) -> str:
    return row.rsplit("\t", _FIELDS_FROM_STATUS)[1]


def read(item: Any) -> str:
    """The wire's JSON object; `AttributesInvalid` for anything that cannot become a record."""
    try:
        found = _ordinary(item)
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError):
        found = None
    return found or written(parse_file(item))


def written(one: FileAttributes) -> str:
    """Any file; the row is in the order of the record's columns, which is that of the attributes."""
    values = (
        str(one.file_id),
        _text(one.original_filename),
        _text(one.content_type),
        str(one.size),
        one.checksum,
        _text(one.uploaded_by),
        one.uploaded_at.isoformat(),
        one.updated_at.isoformat(),
        str(one.revision),
        NULL if one.description is None else _text(one.description),
        _text(_array(one.tags)),
        _text(json_text(one.metadata)),
        one.status,
        one.retention_policy,
        NULL if one.ttl_days is None else str(one.ttl_days),
        NULL if one.expires_at is None else one.expires_at.isoformat(),
    )
    return "\t".join(values)


def _text(text: str) -> str:
    return text.translate(_ESCAPES) if _SPECIAL.search(text) else text


def _array(texts: Sequence[str]) -> str:
    """An array literal."""
    if not texts:
        return "{}"
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return '{"' + '","'.join(quoted) + '"}'


def _json(metadata: Any) -> str:
    text = orjson.dumps(metadata).decode()
    # So it writes what is no number, too.
    return json_text(metadata) if "null" in text else text


def _ordinary(item: Any) -> str | None:
    """None, or an error, when it has to be looked at field by field.

    Joining is a check as well: it takes texts and nothing else. What is printable holds no tab, no line's end, no
    NUL and no half of a surrogate pair. And that a moment is in the calendar is for `fromisoformat` to say.
    """
    # fmt: off
    (file_id, name, content_type, size, checksum, uploader, uploaded_at, updated_at, revision,
     description, tags, metadata, status, retention, ttl_days, expires_at) = _fields(item)
    # fmt: on
    said = "" if description is None else description
    array = _array(tags)
    known = _json(metadata) if metadata else "{}"
    ends = NULL if expires_at is None else expires_at
    texts = "".join((name, content_type, uploader, said, array, known))
    fixed = " ".join((file_id, checksum, uploaded_at, updated_at, ends, status, retention))
    if not (
        type(tags) is list
        and type(metadata) is dict
        and type(size) is int
        and type(revision) is int
        and (ttl_days is None or (type(ttl_days) is int and 0 < ttl_days <= MAX_TTL_DAYS))
        and 0 <= size <= MAX_BIGINT
        and 0 < revision <= MAX_BIGINT
        and 0 < len(name) <= MAX_NAME_CHARACTERS
        and 0 < len(content_type) <= MAX_CONTENT_TYPE_CHARACTERS
        and 0 < len(uploader) <= MAX_UPLOADER_CHARACTERS
        and len(said) <= MAX_DESCRIPTION_CHARACTERS
        and len(known) <= _FEW_CHARACTERS
        and len(tags) <= MAX_TAGS
        and (len(array) <= MAX_TAG_CHARACTERS or max(map(len, tags)) <= MAX_TAG_CHARACTERS)
        and texts.isprintable()
        and "\\" not in texts
        and _has_shape(fixed)
        and _moment(uploaded_at)
        and _moment(updated_at)
        and (expires_at is None or _moment(expires_at))
    ):
        return None
    if description is None:
        said = NULL
    if ttl_days is None:
        ttl_days = NULL
    return (
        f"{file_id}\t{name}\t{content_type}\t{size}\t{checksum}\t{uploader}\t{uploaded_at}"
        f"\t{updated_at}\t{revision}\t{said}\t{array}\t{known}\t{status}\t{retention}"
        f"\t{ttl_days}\t{ends}"
    )
