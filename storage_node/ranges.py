"""Which bytes of a file a download answers with: `Range`, `If-Range`, `If-None-Match`, `If-Modified-Since`.

Pure functions over header values (RFC 9110, sections 13 and 14). No request, no file.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from storage_node.errors import InvalidRange

_ONE_RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE)
# strftime would speak the operator's language.
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MOST_DIGITS = 18
_TAG = re.compile(r'(?:W/)?"[^"]*"')


@dataclass(frozen=True)
class Asked:
    """The conditional headers of a download, as sent."""

    range: str | None = None
    if_range: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None


@dataclass(frozen=True)
class Stored:
    """What the conditions are compared with."""

    size_bytes: int
    etag: str
    modified_at: datetime


@dataclass(frozen=True)
class Slice:
    """Bytes `start` up to but not including `end`. `partial` makes the answer a 206."""

    start: int
    end: int
    partial: bool

    @property
    def size_bytes(self) -> int:
        """How many bytes the answer's body has."""
        return self.end - self.start


def http_date(moment: datetime) -> str:
    """`Last-Modified` has whole seconds; they are cut, not rounded, so it never lies in the future."""
    at = moment.astimezone(UTC)
    day = f"{_DAYS[at.weekday()]}, {at.day:02} {_MONTHS[at.month - 1]} {at.year:04}"
    return f"{day} {at.hour:02}:{at.minute:02}:{at.second:02} GMT"


def not_modified(asked: Asked, stored: Stored) -> bool:
    """Whether the caller's copy is still good (304). `If-None-Match` hides `If-Modified-Since`."""
    if asked.if_none_match is not None:
        if asked.if_none_match.strip() == "*":
            return True
        return any(_opaque(tag) == stored.etag for tag in _TAG.findall(asked.if_none_match))
    since = _moment(asked.if_modified_since)
    return since is not None and stored.modified_at.replace(microsecond=0) <= since


def slice_of(asked: Asked, stored: Stored) -> Slice:
    """The bytes to send. Several ranges, or one that can not be read, mean the whole file (RFC 9110, 14.2);
    a well-formed one that the file does not have raises InvalidRange."""
    whole = Slice(0, stored.size_bytes, partial=False)
    if asked.range is None or not _range_applies(asked.if_range, stored):
        return whole
    match = _ONE_RANGE.fullmatch(asked.range.strip())
    if match is None or not (match[1] or match[2]):
        return _whole_or_refused(asked.range, whole)
    first, last = match[1], match[2]
    if not first:
        length = min(_number(last), stored.size_bytes)
        return _checked(stored.size_bytes - length, stored.size_bytes, stored)
    start, end = _number(first), stored.size_bytes
    if last:
        if _number(last) < start:
            raise _no_such_bytes(stored)
        end = min(_number(last) + 1, end)
    return _checked(start, end, stored)


def _number(digits: str) -> int:
    """Beyond any file all numbers are alike; and Python will not read thousands of digits."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _whole_or_refused(text: str, whole: Slice) -> Slice:
    """Ranges of other units and several ranges are ignored; `bytes=` with nonsense after it is refused."""
    unit, sign, rest = text.strip().partition("=")
    if unit.lower() != "bytes" or not sign or "," in rest:
        return whole
    raise InvalidRange("The download was refused: the Range header can not be read.", whole.end)


def _checked(start: int, end: int, stored: Stored) -> Slice:
    if start >= end:
        raise _no_such_bytes(stored)
    return Slice(start, end, partial=True)


def _no_such_bytes(stored: Stored) -> InvalidRange:
    return InvalidRange(
        f"The download was refused: the file has {stored.size_bytes} bytes, none of them in that range.",
        stored.size_bytes,
    )


def _range_applies(if_range: str | None, stored: Stored) -> bool:
    """`If-Range` names the version the caller has part of, by strong tag or by exact date."""
    if if_range is None:
        return True
    if_range = if_range.strip()
    if if_range.startswith(('"', "W/")):
        return if_range == stored.etag
    moment = _moment(if_range)
    return moment is not None and moment == stored.modified_at.astimezone(UTC).replace(
        microsecond=0
    )


def _opaque(tag: str) -> str:
    return tag.removeprefix("W/")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text.strip())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
