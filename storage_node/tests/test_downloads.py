"""Downloads: whole, in part, conditional, HEAD, with exactly the contract's headers; never a short 200."""

import hashlib
import os

import pytest
import requests

from storage_node.api_downloads import content_disposition
from storage_node.tests.conftest import error_of, line_of
from storage_node.tests.node_process import NodeProcess, NodeSession
from storage_node.tests.raw_client import connected, head

MIB = 1 << 20
HEADERS = {
    "Content-Type",
    "Content-Length",
    "Accept-Ranges",
    "ETag",
    "Last-Modified",
    "Repr-Digest",
    "Content-Disposition",
    "X-Content-Type-Options",
    "Cache-Control",
}


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(3 * MIB + 17)


@pytest.fixture(scope="module")
def address(node: NodeProcess, content: bytes) -> str:
    stored = (
        node.session()
        .put_file(content, original_filename="отчёт.pdf", content_type="application/pdf")
        .json()
    )
    return f"/api/v1/files/{stored['file_id']}/download"


def test_a_download_has_exactly_the_headers_of_the_contract(
    address: str, api: NodeSession, content: bytes
) -> None:
    answer = api.get(address)
    assert answer.status_code == 200
    assert answer.content == content
    assert answer.headers.keys() >= HEADERS
    assert answer.headers["ETag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert answer.headers["Cache-Control"] == "private"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Security-Policy" not in answer.headers
    assert {name for name in answer.headers if name.lower().startswith("x-artstore")} == {
        "x-artstore-storage-id",
        "x-artstore-instance-id",
        "x-artstore-epoch",
    }


def test_inline_is_sandboxed(address: str, api: NodeSession) -> None:
    answer = api.get(address, params={"disposition": "inline"})
    assert answer.headers["Content-Disposition"].startswith("inline; ")
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    assert error_of(api.get(address, params={"disposition": "form-data"})) == (
        400,
        "VALIDATION_ERROR",
    )


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, 1),
        (0, 100),
        (1000, 2 * MIB),
        (3 * MIB, 3 * MIB + 17),
        (0, 3 * MIB + 17),
        (MIB - 1, MIB + 1),
    ],
)
def test_a_range_is_those_bytes(
    start: int, end: int, address: str, api: NodeSession, content: bytes
) -> None:
    answer = api.get(address, headers={"Range": f"bytes={start}-{end - 1}"})
    assert answer.status_code == 206
    assert answer.content == content[start:end]
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(content)}"
    assert answer.headers["Content-Length"] == str(end - start)


def test_a_download_resumed_by_ranges_is_the_file(
    address: str, api: NodeSession, content: bytes
) -> None:
    received, tag = b"", api.head(address).headers["ETag"]
    while len(received) < len(content):
        answer = api.get(
            address,
            headers={"Range": f"bytes={len(received)}-{len(received) + MIB}", "If-Range": tag},
        )
        received += answer.content
    assert received == content


def test_head_tells_what_get_would_and_sends_no_body(
    address: str, node: NodeProcess, api: NodeSession
) -> None:
    got, told = api.get(address), api.head(address)
    assert told.status_code == 200
    assert {name: told.headers[name] for name in HEADERS} == {
        name: got.headers[name] for name in HEADERS
    }
    with connected(node) as connection:
        headers = {"Authorization": f"Bearer {node.token()}", "Range": "bytes=0-9"}
        connection.send(head("HEAD", address, headers) + head("GET", "/health/live", {}))
        status, headers = connection.read_head()
        assert (status, headers["content-length"]) == (206, "10")
        assert connection.read_head()[0] == 200


def test_an_unchanged_copy_is_a_304_without_a_body(address: str, api: NodeSession) -> None:
    first = api.get(address)
    for header, value in (
        ("If-None-Match", first.headers["ETag"]),
        ("If-Modified-Since", first.headers["Last-Modified"]),
    ):
        answer = api.get(address, headers={header: value})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == first.headers["ETag"]
        assert api.head(address, headers={header: value}).status_code == 304


def test_a_range_that_is_not_there_is_416_in_the_envelope(
    address: str, api: NodeSession, content: bytes
) -> None:
    answer = api.get(address, headers={"Range": "bytes=99999999-"})
    assert error_of(answer) == (416, "INVALID_RANGE")
    assert answer.headers["Content-Range"] == f"bytes */{len(content)}"
    assert answer.headers["Content-Type"] == "application/json"


def test_an_edit_leaves_tag_and_date_of_the_bytes_alone(api: NodeSession) -> None:
    stored = api.put_file(b"bytes").json()
    address = f"/api/v1/files/{stored['file_id']}"
    before = api.get(f"{address}/download").headers
    assert api.patch(address, json={"description": "new"}).json()["revision"] == 2
    after = api.get(f"{address}/download").headers
    assert (before["ETag"], before["Last-Modified"]) == (after["ETag"], after["Last-Modified"])


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html; charset=utf-8",
        "application/x-любой".encode().decode("ascii", "ignore"),
        'a/b;c="d e"',
    ],
)
def test_the_content_type_comes_back_as_it_was_given(content_type: str, api: NodeSession) -> None:
    stored = api.put_file(b"x", content_type=content_type)
    assert stored.status_code == 201, stored.text
    answer = api.get(stored.headers["Location"] + "/download")
    assert answer.headers["Content-Type"] == content_type


def test_a_reader_that_leaves_is_noticed_and_not_counted_as_served(
    api: NodeSession, node: NodeProcess
) -> None:
    stored = api.put_file(bytes(64 * MIB)).json()
    with connected(node, receive_buffer_bytes=4096) as connection:
        headers = {"Authorization": f"Bearer {node.token()}", "X-Request-ID": "left-early"}
        connection.send(head("GET", f"/api/v1/files/{stored['file_id']}/download", headers))
        assert connection.read_head()[0] == 200
    line = line_of(node, "left-early")
    assert line["cut"] is True
    assert line["bytes_out"] < 64 * MIB


def test_a_file_cut_short_on_disk_during_a_download_breaks_the_connection(
    api: NodeSession, node: NodeProcess
) -> None:
    stored = api.put_file(os.urandom(64 * MIB)).json()
    path = next(
        path
        for path in (node.data_dir / "files").rglob(f"*{stored['file_id']}*")
        if not path.name.endswith(".attr.json")
    )
    answer = api.get(f"/api/v1/files/{stored['file_id']}/download", stream=True)
    assert answer.status_code == 200
    os.truncate(path, MIB)
    with pytest.raises(requests.RequestException):
        _ = answer.content


def test_content_disposition_has_a_plain_and_a_real_name() -> None:
    assert (
        content_disposition("attachment", "a b.txt")
        == "attachment; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt"
    )
    hostile = content_disposition("attachment", 'a"; filename="evil.exe\\\r\n%')
    assert "\r" not in hostile
    assert hostile.count('"') == 2
    assert content_disposition("inline", "ж").startswith('inline; filename="_"; ')
