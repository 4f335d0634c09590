"""Forms parsed while they arrive, in any cut and any order."""

from collections.abc import Iterator

import pytest

from apps.ingester import multipart
from apps.ingester.body import ClientBody
from apps.ingester.errors import IncompleteBody
from apps.ingester.multipart import FormReader
from artstore.errors import ValidationError

BOUNDARY = "----b0undary"


def part(name: str, value: bytes, filename: str | None = None, extra: str = "") -> bytes:
    suffix = f'; filename="{filename}"' if filename is not None else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{suffix}{extra}\r\n'
    return head.encode() + b"\r\n" + value + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def body_of(raw: bytes, step: int = 7, cut: bool = False) -> ClientBody:
    """`raw` in pieces of `step` bytes; with `cut`, more was declared than comes."""
    pieces = iter([raw[at : at + step] for at in range(0, len(raw), step)])
    return ClientBody(lambda: next(pieces, b""), len(raw) + (10 if cut else 0))


def read(raw: bytes, step: int = 7, cut: bool = False) -> tuple[FormReader, bytes]:
    form = FormReader(body_of(raw, step, cut), BOUNDARY)
    form.read_leading()
    return form, b"".join(form.file_pieces())


@pytest.mark.parametrize("step", [1, 2, 3, 13, 64, 10_000])
def test_a_form_reads_the_same_however_it_is_cut(step: int) -> None:
    content = b"\r\n--" + BOUNDARY.encode()[:5] + bytes(range(256)) * 3 + b"\r\n"
    raw = part("description", "тест".encode()) + part("file", content, "a.bin") + part("tags", b"x")
    form, got = read(raw + END, step)
    assert got == content
    assert form.fields == {"description": ["тест"], "tags": ["x"]}
    assert form.trailing == ["tags"]
    assert form.has_leading


def test_repeated_fields_keep_their_order() -> None:
    raw = part("tags", b"b") + part("tags", b"a") + part("file", b"", "x")
    form, got = read(raw + END)
    assert (form.fields["tags"], got) == (["b", "a"], b"")


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ('filename="отчёт 2026.pdf"', "отчёт 2026.pdf"),
        ('filename="报告🚀.txt"', "报告🚀.txt"),
        ('filename="a%22b.txt"', 'a"b.txt'),
        (r'filename="a\"b.txt"', 'a"b.txt'),
        ("filename*=UTF-8''%D0%BE%D1%82%D1%87.pdf", "отч.pdf"),
        ("filename=\"_.pdf\"; filename*=utf-8''%C3%A9.pdf", "é.pdf"),
        ("filename=plain.txt", "plain.txt"),
        ('filename="semi;colon.txt"', "semi;colon.txt"),
    ],
)
def test_file_names_come_through_as_clients_write_them(disposition: str, filename: str) -> None:
    raw = part("file", b"x", extra="; " + disposition)
    form, _ = read(raw + END)
    assert form.file.filename == filename


def test_the_last_piece_is_followed_by_the_rest_of_the_form() -> None:
    """Whoever has exhausted the pieces knows every late field."""
    raw = part("file", b"abc", "x") + part("checksum", b"1234") + END
    form = FormReader(body_of(raw, step=1000), BOUNDARY)
    form.read_leading()
    pieces: Iterator[bytes] = form.file_pieces()
    assert next(pieces) == b"abc"
    assert "checksum" not in form.fields
    assert next(pieces, None) is None
    assert form.fields["checksum"] == ["1234"]


@pytest.mark.parametrize("missing", range(1, len(END) - 1, 3))
def test_a_form_that_never_closes_is_incomplete(missing: int) -> None:
    raw = part("a", b"1") + part("file", b"abc", "x") + END
    with pytest.raises(IncompleteBody):
        read(raw[: -missing - 2])


def test_a_body_cut_behind_the_form_is_incomplete() -> None:
    with pytest.raises(IncompleteBody):
        read(part("file", b"abc", "x") + END, cut=True)


@pytest.mark.parametrize(
    "raw",
    [
        part("description", b"no file") + END,
        part("file", b"1", "a") + part("file", b"2", "b") + END,
        part("file", b"1", "a") + part("other", b"2", "b") + END,
        part("description", b"\xff\xfe") + part("file", b"1", "a") + END,
        part("description", b"x" * (multipart.MAX_FIELD_BYTES + 1)) + part("file", b"", "a") + END,
        b"".join(part(f"f{n}", b"1") for n in range(multipart.MAX_PARTS + 1)) + END,
        b"".join(part("tags", b"x" * 60_000) for _ in range(6)) + part("file", b"", "a") + END,
        b"--" + BOUNDARY.encode() + b"\r\nNo-Disposition: 1\r\n\r\nx\r\n" + END,
        b"--" + BOUNDARY.encode() + b"\r\nX: " + b"y" * 20_000 + b"\r\n\r\nx\r\n" + END,
        b"not a form at all" * 10,
        b"--" + BOUNDARY.encode() + b"garbage" + END,
        part("file", b"1", "\xff").replace("\xff".encode(), b"\xff") + END,
    ],
)
def test_forms_that_cannot_be_used_are_refused(raw: bytes) -> None:
    with pytest.raises((ValidationError, IncompleteBody)):
        read(raw, step=4096)


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\u0411",
    ],
)
def test_a_form_without_a_usable_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(ValidationError):
        multipart.boundary_of(content_type)


def test_other_types_are_no_form() -> None:
    assert multipart.boundary_of("application/json; charset=utf-8") is None
    assert multipart.boundary_of("") is None
