"""A `multipart/form-data` body, parsed while it arrives: fields, one file, more fields.

Knows parts, names and limits. Does not know what the fields mean, nor where the file's bytes go.
The push parser is the `multipart` package's; DRF's and Django's parsers would write the file to
disk before anybody could look at it.
"""

import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field

import multipart as push
from django.utils.translation import gettext as _

from apps.ingester.body import ClientBody
from apps.ingester.errors import IncompleteBody
from artstore.errors import ValidationError

FILE_PART = "file"
MAX_PARTS = 128
MAX_FIELD_BYTES = 64 * 1024
MAX_FIELDS_BYTES = 256 * 1024
_MAX_PART_HEADER_BYTES = 8 * 1024
_MAX_PART_HEADERS = 16
_EXTENDED_NAME = re.compile(r""";\s*filename\*\s*=\s*"?utf-8'[^']*'([^;\s"]*)""", re.IGNORECASE)

Fields = dict[str, list[str]]


@dataclass(slots=True)
class FilePart:
    """The file's own headers. `content_type` is empty when the part names none."""

    filename: str
    content_type: str


@dataclass(slots=True)
class _OpenField:
    name: str
    pieces: list[bytes] = field(default_factory=list)
    size_bytes: int = 0


class FormReader:
    """Walks one form once: `read_leading`, then `file_pieces`, then everything is in `fields`.

    `fields` keeps the order of repeated values. `trailing` names the fields that came after the
    file.
    """

    def __init__(self, body: ClientBody, boundary: str) -> None:
        self.fields: Fields = {}
        self.trailing: list[str] = []
        self.file = FilePart("", "")
        self.has_leading = False
        self.body = body
        self._events = _events(body, boundary)
        self._open: _OpenField | None = None
        self._total_bytes = 0

    def read_leading(self) -> FilePart:
        """Read up to the file's first byte; `ValidationError` when the form ends without one."""
        for event in self._events:
            if isinstance(event, push.MultipartSegment) and event.name == FILE_PART:
                self.file = _file_part(event)
                self.has_leading = bool(self.fields)
                return self.file
            self._take(event)
        raise malformed("file", _("The form has no part named file."))

    def file_pieces(self) -> Iterator[bytes]:
        """The file's bytes as they come, then the fields behind it.

        The last piece is followed by reading the rest of the form, so whoever exhausts this
        iterator holds a form that ended properly.
        """
        for event in self._events:
            if event is None:
                break
            if isinstance(event, bytes | bytearray):
                yield bytes(event)
        self._read_trailing()

    def _read_trailing(self) -> None:
        for event in self._events:
            if isinstance(event, push.MultipartSegment):
                if event.name == FILE_PART:
                    raise malformed("file", _("One request takes one file; this form has two."))
                self.trailing.append(event.name or "")
            self._take(event)

    def _take(self, event: object) -> None:
        if isinstance(event, push.MultipartSegment):
            self._open = _OpenField(event.name or "")
            if event.filename:
                raise malformed(self._open.name, _("Only the part named file may be a file."))
        elif self._open is None:
            return
        elif event is None:
            self._close_field(self._open)
            self._open = None
        elif isinstance(event, bytes | bytearray):
            self._extend(self._open, bytes(event))

    def _extend(self, open_field: _OpenField, piece: bytes) -> None:
        open_field.size_bytes += len(piece)
        self._total_bytes += len(piece)
        if open_field.size_bytes > MAX_FIELD_BYTES or self._total_bytes > MAX_FIELDS_BYTES:
            raise malformed(open_field.name[:64], _("The fields of the form are too long."))
        open_field.pieces.append(piece)

    def _close_field(self, open_field: _OpenField) -> None:
        try:
            text = b"".join(open_field.pieces).decode()
        except UnicodeDecodeError as failure:
            raise malformed(open_field.name, _("The value is not valid UTF-8.")) from failure
        self.fields.setdefault(open_field.name, []).append(text)


def boundary_of(content_type: str) -> str | None:
    """The boundary of a multipart form; `None` when the type is another one."""
    kind, options = push.parse_options_header(content_type)
    if kind != "multipart/form-data":
        return None
    boundary = str(options.get("boundary", ""))
    if not boundary or len(boundary) > 200 or not boundary.isascii():
        raise malformed("file", _("The Content-Type of the form names no usable boundary."))
    return boundary


def malformed(name: str, message: str) -> ValidationError:
    return ValidationError(
        _("The upload was refused because its form cannot be used. Nothing was stored."),
        details={name or "non_field_errors": [message]},
    )


def _events(body: ClientBody, boundary: str) -> Iterator[object]:
    """Parser events until the end of the *body*, so that a cut behind the form is seen too."""
    parser = push.PushMultipartParser(
        boundary,
        max_header_size=_MAX_PART_HEADER_BYTES,
        max_header_count=_MAX_PART_HEADERS,
        max_segment_count=MAX_PARTS,
    )
    try:
        while piece := body.read_piece():
            yield from parser.parse(piece)
        parser.close()
    except push.ParserLimitReached as failure:
        raise malformed("", str(failure)) from failure
    except push.ParserError as failure:
        if body.finished and "end of multipart stream" in str(failure):
            raise IncompleteBody(
                _("The form ended before its last boundary. Nothing was stored.")
            ) from failure
        raise malformed(
            "", _("The form is not multipart: %(why)s.") % {"why": failure}
        ) from failure


def _file_part(segment: push.MultipartSegment) -> FilePart:
    disposition = segment.header("Content-Disposition", "")
    extended = _EXTENDED_NAME.search(disposition)
    filename = segment.filename or ""
    if extended:
        try:
            filename = urllib.parse.unquote(extended[1], errors="strict")
        except UnicodeDecodeError as failure:
            raise malformed("filename", _("The file name is not valid UTF-8.")) from failure
    return FilePart(filename, (segment.header("Content-Type", "") or "").strip())
