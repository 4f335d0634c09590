"""A `multipart/form-data` upload read as it comes: fields into memory, the file straight to where it is written.

Blocking and free of asyncio: the door feeds pieces from a worker thread. What the fields must say is the business of
`drafts.py`; where the bytes go is the business of whoever gives `begin`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from storage_node.errors import UnsupportedMediaType, ValidationFailed

FIELDS = frozenset({"description", "tags", "metadata", "retention_policy", "ttl_days", "checksum"})
MAX_FIELD_BYTES = 64 * 1024
MAX_PARTS = 128
# Everything in a form that is not the file: parts' headers and fields. Used to tell early that a file is too large.
MAX_OVERHEAD_BYTES = 1 << 20


class Sink(Protocol):
    """Where a file's bytes go."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes."""


@dataclass(frozen=True)
class NamedFile:
    """What the form says of its file part."""

    filename: str
    content_type: str | None


Fields = dict[str, list[str]]


@dataclass
class FormReader:
    """Feeds on pieces of a form. `begin` is called once, when the file part starts, with the fields seen so far."""

    boundary: str
    begin: Callable[[NamedFile, Fields], Sink]
    fields: Fields = field(default_factory=dict)
    file: NamedFile | None = None
    _sink: Sink | None = None
    _part: MultipartSegment | None = None
    _value: bytearray = field(default_factory=bytearray)
    _parser: PushMultipartParser = field(init=False)

    def __post_init__(self) -> None:
        try:
            self._parser = PushMultipartParser(
                self.boundary, max_segment_count=MAX_PARTS, strict=True
            )
        except MultipartError as problem:
            raise _unreadable(problem) from None

    def feed(self, piece: bytes | bytearray | memoryview) -> None:
        """Take the next piece of the form; raises ValidationFailed, or whatever the sink raises."""
        try:
            for event in self._parser.parse(bytes(piece)):
                if isinstance(event, MultipartSegment):
                    self._start(event)
                elif event is None:
                    self._end()
                else:
                    self._take(event)
        except MultipartError as problem:
            raise _unreadable(problem) from None

    def finish(self) -> NamedFile:
        """The form has ended: it must be whole and have had a file."""
        try:
            self._parser.close()
        except MultipartError as problem:
            raise _unreadable(problem) from None
        if self.file is None:
            raise ValidationFailed(
                "The upload was refused: the form has no file.", {"file": ["is required"]}
            )
        return self.file

    def _start(self, part: MultipartSegment) -> None:
        self._part, self._value = part, bytearray()
        if part.name == "file":
            if self.file is not None:
                raise ValidationFailed(
                    "The upload was refused: the form has two files.", {"file": ["must be one"]}
                )
            self.file = NamedFile(part.filename or "", part.content_type)
            self._sink = self.begin(self.file, self.fields)
        elif part.name not in FIELDS:
            name = (part.name or "")[:64]
            raise ValidationFailed(
                "The upload was refused: the form has an unknown field.",
                {name: ["is not a field of this form"]},
            )

    def _take(self, data: bytes) -> None:
        assert self._part is not None
        if self._part.name == "file":
            assert self._sink is not None
            self._sink.write(data)
            return
        self._value += data
        if len(self._value) > MAX_FIELD_BYTES:
            raise ValidationFailed(
                "The upload was refused: a field is too long.",
                {str(self._part.name): ["must be at most 64 KiB"]},
            )

    def _end(self) -> None:
        assert self._part is not None
        if self._part.name != "file":
            try:
                text = self._value.decode("utf-8")
            except UnicodeDecodeError:
                raise ValidationFailed(
                    "The upload was refused: a field is not UTF-8.",
                    {str(self._part.name): ["must be UTF-8"]},
                ) from None
            self.fields.setdefault(str(self._part.name), []).append(text)
        self._part = None


def boundary_of(content_type: str | None) -> str:
    """The boundary that a multipart/form-data Content-Type names; UnsupportedMediaType for anything else."""
    kind, options = parse_options_header(content_type or "")
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise UnsupportedMediaType(
            "The upload was refused: send a form as multipart/form-data with a boundary."
        )
    return str(options["boundary"])


def _unreadable(problem: MultipartError) -> ValidationFailed:
    return ValidationFailed(
        "The upload was refused: the form can not be read.", {"body": [str(problem)]}
    )
