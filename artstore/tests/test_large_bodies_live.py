"""A body too large to be read leaves nothing behind on its connection that could be taken for a request."""

import json
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from urllib.parse import urlsplit

import pytest

from artstore.tests.live import LiveSystem

LIMIT_BYTES = 1024 * 1024
SMUGGLED = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
DOORS = [
    ("/api/v1/admin-auth/refresh", "application/json"),
    ("/api/v1/admin-auth/login", "application/json"),
    ("/api/v1/auth/token", "application/json"),
    ("/api/v1/auth/token", "application/x-www-form-urlencoded"),
]


@pytest.fixture
def wire(live_web: LiveSystem) -> Iterator[socket.socket]:
    address = urlsplit(live_web.base_url)
    with socket.create_connection((address.hostname or "", address.port or 80), 60) as connection:
        yield connection


def post(path: str, content_type: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def answer_on(wire: socket.socket) -> tuple[int, str | None, bytes]:
    answer = HTTPResponse(wire)
    answer.begin()
    return answer.status, answer.getheader("Connection"), answer.read()


def rest_of(wire: socket.socket) -> bytes:
    """Whatever still comes, to the end of the connection; being cut off is an end, too."""
    pieces = []
    try:
        while piece := wire.recv(65536):
            pieces.append(piece)
    except ConnectionError:
        pass
    return b"".join(pieces)


@pytest.mark.parametrize(("path", "content_type"), DOORS)
def test_a_body_too_large_is_answered_and_ends_its_connection(
    wire: socket.socket, path: str, content_type: str
) -> None:
    body = b'{"refresh_token": "' + b"x" * LIMIT_BYTES + b'"}' + SMUGGLED
    wire.sendall(post(path, content_type, body) + SMUGGLED)
    status, connection, refusal = answer_on(wire)
    assert status == 400
    assert connection == "close"
    assert "error" in json.loads(refusal)
    assert rest_of(wire) == b"", "neither the body nor what follows it is taken for a request"


def test_a_body_within_the_limit_leaves_its_connection_open(wire: socket.socket) -> None:
    path, content_type = DOORS[0]
    wire.sendall(post(path, content_type, b'{"refresh_token": "' + b"x" * 900_000 + b'"}'))
    status, connection, _refusal = answer_on(wire)
    assert (status, connection) == (401, "keep-alive")
    wire.sendall(SMUGGLED)
    assert answer_on(wire)[0] == 200
