"""Uploads taken in place: what the ordinary door answers, word for word, and the same when anything goes wrong."""

import base64
import hashlib
import json
import os
import uuid
from typing import Any

import pytest
import requests

from storage_node.put_at_once import LARGEST_BYTES
from storage_node.tests.conftest import MakeNode, error_of, eventually, line_of
from storage_node.tests.node_process import NodeProcess, NodeSession, attributes_header
from storage_node.tests.raw_client import connected, head

# A caller's trace id is for the ordinary door.
ORDINARY = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
VARIES = {"date", "x-request-id"}
VARYING_MEMBERS = {"file_id", "uploaded_at", "updated_at", "expires_at"}


def target(file_id: str | None = None) -> str:
    return f"/api/v1/files/{file_id or uuid.uuid4()}"


def upload(api: NodeSession, address: str, size_bytes: int, **headers: str) -> bytes:
    """The head of an upload that is taken in place."""
    given = {
        "Authorization": str(api.headers["Authorization"]),
        "X-ArtStore-Attributes": attributes_header({"original_filename": "a.bin"}),
        "Content-Length": str(size_bytes),
    }
    return head("PUT", address, given | headers)


def facts(answer: requests.Response) -> tuple[int, dict[str, Any], dict[str, str]]:
    """What two uploads of the same bytes under different ids have in common."""
    members = {name: v for name, v in answer.json().items() if name not in VARYING_MEMBERS}
    headers = {name.lower(): value for name, value in answer.headers.items()}
    location = headers.pop("location", "")
    assert location.rpartition("/")[2] == answer.json().get("file_id", "")
    return (
        answer.status_code,
        members,
        {name: value for name, value in headers.items() if name not in VARIES},
    )


@pytest.fixture(autouse=True)
def known_token(api: NodeSession) -> None:
    """The node has seen this token: from here on uploads are taken in place."""
    assert api.put_file(b"first").status_code == 201


@pytest.mark.parametrize("size_bytes", [0, 1, 4096, LARGEST_BYTES, LARGEST_BYTES + 1])
def test_it_is_the_ordinary_answer_and_the_file_is_there(api: NodeSession, size_bytes: int) -> None:
    body = os.urandom(size_bytes)
    described: dict[str, Any] = {
        "original_filename": "отчёт.pdf",
        "tags": ["a"],
        "metadata": {"k": 1},
    }
    answer = api.put_file(body, **described)
    assert facts(answer) == facts(api.put_file(body, headers=ORDINARY, **described))
    file_id = answer.json()["file_id"]
    assert answer.json()["checksum"] == hashlib.sha256(body).hexdigest()
    assert api.get(f"/api/v1/files/{file_id}/download").content == body
    assert {"verified_at": None} | answer.json() == api.get(f"/api/v1/files/{file_id}").json()


def test_it_has_its_line_in_the_log(node: NodeProcess, api: NodeSession) -> None:
    file_id = str(uuid.uuid4())
    answer = api.put_file(b"12345678", file_id, headers={"X-Request-ID": "taken-1"})
    assert answer.headers["X-Request-ID"] == "taken-1"
    line = line_of(node, "taken-1")
    told = (line["route"], line["method"], line["status"], line["file_id"], line["bytes_in"])
    assert told == ("put_file", "PUT", 201, file_id, 8)
    assert line["bytes_out"] == len(answer.content)
    assert line["principal"]


def test_the_same_again_is_200_and_other_bytes_are_a_conflict(api: NodeSession) -> None:
    file_id = str(uuid.uuid4())
    first = api.put_file(b"one", file_id)
    again = api.put_file(b"one", file_id)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert error_of(api.put_file(b"two", file_id)) == (409, "CONFLICT")


def test_an_id_that_is_over_is_gone(api: NodeSession) -> None:
    file_id = str(uuid.uuid4())
    assert api.put_file(b"one", file_id).status_code == 201
    assert api.delete(f"/api/v1/files/{file_id}").status_code == 200
    assert error_of(api.put_file(b"one", file_id)) == (410, "FILE_GONE")


def test_a_digest_is_checked_and_nothing_of_a_wrong_one_stays(api: NodeSession) -> None:
    file_id = str(uuid.uuid4())
    right = base64.b64encode(hashlib.sha256(b"right").digest()).decode()
    promise = {"Repr-Digest": f"sha-256=:{right}:"}
    assert error_of(api.put_file(b"wrong", file_id, promise)) == (400, "CHECKSUM_MISMATCH")
    assert error_of(api.get(f"/api/v1/files/{file_id}")) == (404, "NOT_FOUND")
    assert api.put_file(b"right", file_id, promise).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"X-ArtStore-Attributes": "?"},
        {"X-ArtStore-Attributes": attributes_header({"original_filename": "a/b"})},
        {"Repr-Digest": "sha-256=x"},
    ],
)
def test_what_is_wrong_with_its_headers_is_told_as_ever(
    api: NodeSession, headers: dict[str, str]
) -> None:
    answer = api.put_file(b"x", headers=headers)
    ordinary = api.put_file(b"x", headers=headers | ORDINARY)
    assert error_of(answer) == error_of(ordinary) == (400, "VALIDATION_ERROR")
    assert answer.json()["error"] == ordinary.json()["error"]


def test_a_token_without_the_scope_is_refused_as_ever(node: NodeProcess) -> None:
    reader = node.session("files:read")
    for _ in range(2):
        assert error_of(reader.put_file(b"x")) == (403, "FORBIDDEN")


def test_a_mode_without_uploads_refuses_them_at_once(make_node: MakeNode) -> None:
    api = make_node(SE_MODE="rw").session()
    assert api.put_file(b"x").status_code == 201
    assert api.post("/api/v1/mode/transition", json={"target_mode": "ro"}).status_code == 200
    assert error_of(api.put_file(b"x")) == (409, "MODE_NOT_ALLOWED")


def test_a_full_element_refuses_before_the_body(make_node: MakeNode) -> None:
    node = make_node(SE_MAX_CAPACITY="10KiB")
    api = node.session()
    assert api.put_file(b"x").status_code == 201
    with connected(node) as connection:
        connection.send(upload(api, target(), 16 * 1024))
        assert connection.read_answer().code == "STORAGE_FULL"


def test_requests_in_one_packet_are_answered_in_order(node: NodeProcess, api: NodeSession) -> None:
    ids = [str(uuid.uuid4()) for _ in range(3)]
    packet = b"".join(upload(api, target(file_id), 3) + b"abc" for file_id in ids)
    asked = {"Authorization": str(api.headers["Authorization"])}
    packet += head("GET", f"{target(ids[0])}/download", asked)
    with connected(node) as connection:
        connection.send(packet)
        stored = [connection.read_answer() for _ in ids]
        assert [json.loads(answer.body)["file_id"] for answer in stored] == ids
        assert connection.read_answer().body == b"abc"


def test_a_body_may_come_in_pieces(node: NodeProcess, api: NodeSession) -> None:
    address = target()
    with connected(node) as connection:
        connection.send(upload(api, address, 6) + b"ab")
        # Another connection's answer shows that the node has had time for the first piece.
        assert api.get("/api/v1/info").status_code == 200
        connection.send(b"cdef")
        assert connection.read_answer().status == 201
    assert api.get(f"{address}/download").content == b"abcdef"


def reserved_bytes(api: NodeSession) -> int:
    return int(api.get("/api/v1/info").json()["capacity"]["reserved_bytes"])


def test_a_caller_who_leaves_leaves_nothing(node: NodeProcess, api: NodeSession) -> None:
    address = target()
    with connected(node) as connection:
        connection.send(upload(api, address, 4096, **{"X-Request-ID": "leaves-1"}) + b"half")
        eventually(lambda: reserved_bytes(api) == 4096)
    line = line_of(node, "leaves-1")
    assert (line["status"], line["bytes_in"]) == (499, 4)
    assert reserved_bytes(api) == 0
    assert error_of(api.get(address)) == (404, "NOT_FOUND")


def test_a_body_that_stops_coming_is_given_up(make_node: MakeNode) -> None:
    node = make_node(SE_STALL_TIMEOUT="1")
    api = node.session()
    assert api.put_file(b"x").status_code == 201
    with connected(node) as connection:
        connection.send(upload(api, target(), 4096) + b"half")
        answer = connection.read_answer()
        assert (answer.status, answer.code) == (408, "REQUEST_STALLED")
        assert answer.headers["connection"] == "close"
    assert reserved_bytes(api) == 0


def test_a_body_that_ends_early_is_told_so(make_node: MakeNode) -> None:
    node = make_node(SE_INSECURE_LOOPBACK="1")
    api = node.session()
    assert api.put_file(b"x").status_code == 201
    with connected(node) as connection:
        connection.send(upload(api, target(), 4096) + b"half")
        connection.socket.shutdown(1)
        assert connection.read_answer().code == "INCOMPLETE_BODY"


def test_what_follows_a_body_and_is_no_request_is_refused(
    node: NodeProcess, api: NodeSession
) -> None:
    address = target()
    with connected(node) as connection:
        connection.send(upload(api, address, 3) + b"abcdef\r\n\r\n")
        assert connection.read_answer().status in (201, 400)
        eventually(connection.is_closed)
