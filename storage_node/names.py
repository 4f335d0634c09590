"""Names on disk: readable for a person, safe on any common filesystem, never trusted when reading.

`<stem>_<uploader>_<UTC stamp>_<file_id><extension>`. The attributes say the original name; this one only helps whoever
has nothing but the directory. No I/O.
"""

import re
import unicodedata
from datetime import datetime
from functools import lru_cache
from uuid import UUID

ATTRIBUTES_SUFFIX = ".attr.json"
NAME_LIMIT_BYTES = 255
_STORED_LIMIT_BYTES = NAME_LIMIT_BYTES - len(ATTRIBUTES_SUFFIX)
_UPLOADER_LIMIT_BYTES = 32
_EXTENSION_LIMIT_BYTES = 16

_PLAIN = re.compile(r"[A-Za-z0-9 ()+,=@_.-]*")
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,15}")
_UNSAFE_EVERYWHERE = frozenset('<>:"/\\|?*')
_ID_IN_NAME = re.compile(r"_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.[A-Za-z0-9]{1,15})?$")
_UNFINISHED = re.compile(r"\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Joins two characters into one picture; cutting beside it leaves half a picture.
_JOINER = "\u200d"


def stored_name(original: str, uploader: str, at: datetime, file_id: str) -> str:
    """The name a file gets on disk; with `.attr.json` it fits 255 bytes."""
    dot = original.rfind(".")
    stem, extension = original, ""
    if dot > 0 and _EXTENSION.fullmatch(original, dot):
        stem, extension = original[:dot], original[dot:]
    when = at.isoformat()
    date, time = f"{when[:4]}{when[5:7]}{when[8:10]}", f"{when[11:13]}{when[14:16]}{when[17:19]}"
    tail = f"_{_who(uploader)}_{date}T{time}Z_{file_id}{extension}"
    room_bytes = _STORED_LIMIT_BYTES - len(tail.encode())
    return (cut(safe(stem), room_bytes) or "_") + tail


@lru_cache(1024)
def _who(uploader: str) -> str:
    """Few principals send many files."""
    return cut(safe(uploader), _UPLOADER_LIMIT_BYTES)


def safe(text: str) -> str:
    """`text` with everything replaced that some common filesystem or terminal chokes on."""
    if not _PLAIN.fullmatch(text):
        text = "".join(character if _is_safe(character) else "_" for character in text)
    return text.strip(" .")


def _is_safe(character: str) -> bool:
    if character in _UNSAFE_EVERYWHERE:
        return False
    # Cf holds the marks that reorder text on screen; the joiner among them is part of emoji.
    return (
        unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        or character == _JOINER
    )


def cut(text: str, limit_bytes: int) -> str:
    """The longest beginning of `text` within `limit_bytes` of UTF-8 that ends where a character ends."""
    raw = text.encode()
    if len(raw) <= limit_bytes:
        return text
    end = len(raw[:limit_bytes].decode(errors="ignore"))
    while end > 0 and _continues(text, end):
        end -= 1
    return text[:end].rstrip(" .")


def _continues(text: str, at: int) -> bool:
    """Whether the character at `at` belongs to the picture begun before it."""
    character = text[at]
    if character == _JOINER or text[at - 1] == _JOINER:
        return True
    is_modifier = "\U0001f3fb" <= character <= "\U0001f3ff" or "\ufe00" <= character <= "\ufe0f"
    return (
        is_modifier
        or unicodedata.combining(character) != 0
        or unicodedata.category(character) in ("Mn", "Me", "Mc")
    )


def id_in_name(name: str) -> UUID | None:
    """The file_id a stored name claims: a hint for reports and for lookups that the attributes then confirm."""
    found = _ID_IN_NAME.search(name.removesuffix(ATTRIBUTES_SUFFIX))
    return UUID(found[1]) if found else None


def unfinished_path(file_id: UUID) -> str:
    """Where bytes and attributes are written before they get their names: nobody sees half of them under those."""
    return content_path(file_id, f".{file_id}")


def is_unfinished(name: str) -> bool:
    """Whether it is one of those. No file is named like that: stored names never begin with a dot."""
    return _UNFINISHED.fullmatch(name) is not None


def content_path(file_id: UUID, name: str) -> str:
    """Where a file's bytes lie, relative to the data directory."""
    digits = file_id.hex
    return f"files/{digits[:2]}/{digits[2:4]}/{name}"


def attributes_path(file_id: UUID, name: str) -> str:
    """Where a file's attributes lie, relative to the data directory."""
    return content_path(file_id, name) + ATTRIBUTES_SUFFIX
