"""Heads of answers, well made and not."""

import http.client
import io
from typing import Any

import pytest

from apps.registry.heads import Answer, parse_status


class Pieces(io.BytesIO):
    """Bytes that arrive a few at a time."""

    def __init__(self, raw: bytes, piece_bytes: int) -> None:
        super().__init__(raw)
        self._piece_bytes = piece_bytes

    def readinto(self, buffer: Any) -> int:
        return super().readinto(memoryview(buffer)[: self._piece_bytes])


class Wire:
    """As much of a socket as an answer reads."""

    def __init__(self, text: str, piece_bytes: int) -> None:
        self._pieces = Pieces(text.replace("\n", "\r\n").encode("latin-1"), piece_bytes)

    def makefile(self, *_mode: Any) -> io.BufferedReader:
        return io.BufferedReader(self._pieces)


def read(text: str, method: str = "GET", piece_bytes: int = 1 << 20) -> Answer:
    answer = Answer(Wire(text, piece_bytes), method=method)  # type: ignore[arg-type]  # only makefile is asked
    answer.begin()
    return answer


def test_a_body_ends_where_its_length_says() -> None:
    answer = read("HTTP/1.1 200 OK\nContent-Length: 4\n\nbytes")
    assert (answer.status, answer.reason, answer.will_close) == (200, "OK", False)
    assert answer.read() == b"byte"


def test_headers_are_found_in_any_case_and_folded_lines_belong_together() -> None:
    answer = read("HTTP/1.1 200 OK\nX-One: a\n b\nCONTENT-LENGTH: 0\n\n")
    assert answer.headers["x-one"] == "a b"
    assert answer.length == 0


def test_chunks_count_more_than_a_length() -> None:
    answer = read("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nContent-Length: 9\n\n2\nok\n0\n\n")
    assert answer.read() == b"ok"


def test_without_a_length_the_connection_ends_the_body() -> None:
    for length in ("3, 4", "9" * 5000, "\xb2"):
        assert read(f"HTTP/1.1 200 OK\nContent-Length: {length}\n\n").will_close
    assert read("HTTP/1.1 200 OK\n\n").will_close


def test_what_has_no_body_leaves_the_connection_to_the_next_call() -> None:
    assert read("HTTP/1.1 304 Not Modified\nContent-Length: 9\n\n").length == 0
    assert read("HTTP/1.1 200 OK\nContent-Length: 9\n\n", "HEAD").length == 0


@pytest.mark.parametrize("line", [b"HTTP/1.1 \xb200 OK\r\n", b"HTTP/1.1 20 OK\r\n", b"ICY 200\r\n"])
def test_a_status_is_three_digits(line: bytes) -> None:
    with pytest.raises(http.client.BadStatusLine):
        parse_status(line)


def test_interim_answers_are_passed_over() -> None:
    assert (
        read("HTTP/1.1 100 Continue\n\nHTTP/1.1 201 Created\nContent-Length: 0\n\n").status == 201
    )


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 17, 60, 1 << 20])
def test_it_does_not_matter_in_which_pieces_a_head_comes(piece_bytes: int) -> None:
    head = "HTTP/1.1 200 OK\nContent-Length: 9\nX-One: a\n b\n\n"
    answer = read(f"{head}a\n\nb\n\nc", piece_bytes=piece_bytes)
    assert dict(answer.headers) == {"Content-Length": "9", "X-One": "a b"}
    assert answer.read() == b"a\r\n\r\nb\r\n\r"
    bare = read("HTTP/1.1 200 OK\n\na: b\n\nc", piece_bytes=piece_bytes)
    assert (dict(bare.headers), bare.read()) == ({}, b"a: b\r\n\r\nc")


@pytest.mark.parametrize(
    "text",
    [
        "HTTP/1.1 200 OK\nno header\n\n",
        "HTTP/1.1 200 OK\nName : value\n\n",
        "HTTP/1.1 200 OK\n: value\n\n",
        "HTTP/1.1 200 OK\nName: cut",
        "HTTP/1.1 200 OK\n" + "A: b\n" * 101 + "\n",
        "HTTP/1.1 200 OK\nA: " + "b" * 70_000 + "\n\n",
        "HTTP/2.0 200 OK\n\n",
        "ICY 200 OK\n\n",
    ],
)
def test_a_head_that_is_none_ends_the_call(text: str) -> None:
    for piece_bytes in (5, 1 << 20):
        with pytest.raises(http.client.HTTPException):
            read(text, piece_bytes=piece_bytes)
