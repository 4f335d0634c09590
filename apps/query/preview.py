"""The beginning of a text file, to look at without downloading it.

Whether bytes are text is decided by the bytes, not by the type somebody gave them. What comes out
is a text, never markup: the page shows it as it is.
"""

import codecs
import datetime as dt
import uuid
from dataclasses import dataclass

from apps.admin.principals import Principal
from apps.query import download
from apps.query.download import Ask

# Enough to see what a file is about; a page stays below its weight.
SHOWN_BYTES = 32 * 1024
# Text in no Unicode is mostly Cyrillic of the kind old programs write.
OLD_ENCODING = "cp1251"
MOST_UNKNOWN_SHARE = 0.1
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What text may hold below the space: tab, line feed, form feed, carriage return, escape.
_CONTROLS_OF_TEXT = frozenset(b"\t\n\f\r\x1b")


@dataclass(frozen=True, slots=True)
class TextPreview:
    """The first bytes of a file as text; None when they are none. `is_cut`: the file goes on."""

    text: str | None
    shown_bytes: int
    is_cut: bool


def beginning(file_id: uuid.UUID, principal: Principal, now: dt.datetime) -> TextPreview:
    """Read the beginning of the file from its element."""
    record = download.find_present(file_id, now)
    if record.size == 0:
        return TextPreview("", 0, is_cut=False)
    last = min(record.size, SHOWN_BYTES) - 1
    ask = Ask(headers={"Range": f"bytes=0-{last}"})
    content = b"".join(download.open_file(file_id, ask, principal, now).blocks)
    return TextPreview(_as_text(content), len(content), is_cut=record.size > len(content))


def _as_text(content: bytes) -> str | None:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    if any(byte < 0x20 and byte not in _CONTROLS_OF_TEXT for byte in content):
        return None
    # The last character may be cut off, so the decoder is told that more may come.
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(content)
    is_unicode = text.count("\ufffd") <= len(text) * MOST_UNKNOWN_SHARE
    return text if is_unicode else content.decode(OLD_ENCODING, "replace")
