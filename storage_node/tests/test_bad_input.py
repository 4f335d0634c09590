"""Whatever is wrong with a request, it is answered with a 4xx in the envelope and nothing is stored."""

import base64
import json
import uuid
from typing import Any

import pytest

from storage_node.tests.conftest import error_of, eventually
from storage_node.tests.node_process import NodeProcess, NodeSession, attributes_header
from storage_node.tests.raw_client import connected, head

INVALID = (400, "VALIDATION_ERROR")
UNSAFE_NAMES = ("a/b", "/etc/passwd", "a\0b", "a\nb", "a\r\nX: y", "\x7f", "\x1b[31m", ".", "..")


@pytest.fixture(autouse=True)
def nothing_is_stored(node: NodeProcess) -> Any:
    """Around every test here: the index, files/ and the room are as before, no part is left, no 5xx is in the log."""
    before, lines = held(node), len(node.log_lines())
    yield
    eventually(lambda: not list((node.data_dir / "incoming").iterdir()))
    eventually(lambda: held(node) == before)
    assert not [line for line in node.log_lines()[lines:] if line.get("status", 0) >= 500]


def held(node: NodeProcess) -> tuple[Any, ...]:
    """All that a stored file would change."""
    info = node.session().get("/api/v1/info").json()
    files = sorted(path.name for path in (node.data_dir / "files").rglob("*") if path.is_file())
    return info["counts"], info["capacity"]["reserved_bytes"], info["last_change"], files


def put_head(node: NodeProcess, headers: dict[str, str], **attributes: Any) -> bytes:
    described = {"original_filename": "file.bin"} | attributes
    standard = {
        "Authorization": f"Bearer {node.token()}",
        "X-ArtStore-Attributes": attributes_header(described),
    }
    return head("PUT", f"/api/v1/files/{uuid.uuid4()}", standard | headers)


@pytest.mark.parametrize(
    "name",
    [
        *UNSAFE_NAMES,
        "",
        "x" * 256,
        "x" * 4096,
        5,
        None,
        ["a"],
    ],
    ids=repr,
)
def test_a_bad_file_name_is_refused(name: Any, api: NodeSession) -> None:
    assert error_of(api.put_file(b"x", original_filename=name)) == INVALID


@pytest.mark.parametrize("name", ["a/b", "a\0b", "..", "x" * 4096], ids=repr)
def test_a_bad_file_name_in_a_form_is_refused(name: str, api: NodeSession) -> None:
    boundary = "b0undary"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\nx\r\n--{boundary}--\r\n'
    ).encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    assert error_of(api.post("/api/v1/files/upload", data=body, headers=headers)) == INVALID


@pytest.mark.parametrize(
    "attributes",
    [
        {"ttl_days": 0},
        {"ttl_days": 366},
        {"ttl_days": "30"},
        {"ttl_days": 1.5},
        {"ttl_days": True},
        {"ttl_days": 30, "retention_policy": "permanent"},
        {"retention_policy": "forever"},
        {"retention_policy": 1},
        {"description": "x" * 1001},
        {"description": 5},
        {"tags": ["x"] * 51},
        {"tags": ["x" * 65]},
        {"tags": [""]},
        {"tags": [1]},
        {"tags": "one"},
        {"metadata": []},
        {"metadata": {"a": "x" * 13000}},
        {"metadata": {"a": "nul\0"}},
        {"content_type": "text/plain\r\nX: y"},
        {"content_type": "x" * 256},
        {"content_type": "тип/текст"},
        {"expires_at": "tomorrow"},
        {"expires_at": 5},
        {"original_filename": "\ud800"},
        {"description": "\ud800"},
    ],
    ids=lambda attributes: "-".join(f"{name}={value!r:.20}" for name, value in attributes.items()),
)
def test_attributes_out_of_range_are_refused(attributes: dict[str, Any], api: NodeSession) -> None:
    raw = json.dumps({"original_filename": "file.bin"} | attributes).encode()
    headers = {"X-ArtStore-Attributes": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()}
    assert error_of(api.put(f"/api/v1/files/{uuid.uuid4()}", data=b"x", headers=headers)) == INVALID


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"5",
        b"{",
        b"\xff\xfe",
        b'{"original_filename": "\xff"}',
        b"[" * 10000,
        b'"' + b"x" * 30000 + b'"',
        b"{" + b'"a":' * 3000,
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_an_attributes_header_that_is_no_utf8_json_object_is_refused(
    raw: bytes, api: NodeSession
) -> None:
    headers = {"X-ArtStore-Attributes": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()}
    assert error_of(api.put(f"/api/v1/files/{uuid.uuid4()}", data=b"x", headers=headers)) == INVALID


@pytest.mark.parametrize("value", ["!!!!", "a", "a b", "é", "AAAA=AAAA"])
def test_an_attributes_header_that_is_no_base64url_is_refused(value: str, api: NodeSession) -> None:
    headers = {"X-ArtStore-Attributes": value.encode()}
    assert error_of(api.put(f"/api/v1/files/{uuid.uuid4()}", data=b"x", headers=headers)) == INVALID


@pytest.mark.parametrize(
    "file_id",
    [
        "not-a-uuid",
        "0" * 32,
        "{" + str(uuid.UUID(int=1)) + "}",
        "%00",
        "%ff",
        "..",
        "a" * 3000,
        "urn:uuid:" + str(uuid.UUID(int=1)),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "GET", "PATCH", "DELETE"])
def test_an_address_without_a_file_id_is_a_400_and_never_a_missing_file(
    method: str, file_id: str, node: NodeProcess
) -> None:
    headers = {"Authorization": f"Bearer {node.token()}", "Content-Length": "0"}
    with connected(node) as connection:
        connection.send(head(method, f"/api/v1/files/{file_id}", headers))
        answer = connection.read_answer()
    assert (answer.status, answer.code) in (INVALID, (404, "UNKNOWN_ROUTE"))


@pytest.mark.parametrize(
    "digest",
    [
        "sha-256=abc",
        "sha-256=::",
        "sha-256=:!!!:",
        "sha-256=:" + "A" * 44 + ":",
        "sha-256",
        "zz",
        "sha-256=:,",
        "=::",
        "sha-512=abc",
    ],
)
def test_a_digest_header_that_can_not_be_read_is_refused(digest: str, api: NodeSession) -> None:
    assert error_of(api.put_file(b"x", headers={"Repr-Digest": digest})) == INVALID


def test_a_body_with_another_digest_is_refused(api: NodeSession) -> None:
    digest = "sha-256=:" + base64.b64encode(bytes(32)).decode() + ":"
    assert error_of(api.put_file(b"x", headers={"Repr-Digest": digest})) == (
        400,
        "CHECKSUM_MISMATCH",
    )
    assert error_of(api.put_file(b"x" * 3_000_000, headers={"Repr-Digest": digest})) == (
        400,
        "CHECKSUM_MISMATCH",
    )


@pytest.mark.parametrize(
    "length", ["-1", "abc", "1 2", "99999999999999999999999999", "0x10", "+5", "1,1"]
)
def test_a_length_that_is_no_number_is_refused(length: str, node: NodeProcess) -> None:
    with connected(node) as connection:
        connection.send(put_head(node, {"Content-Length": length}))
        answer = connection.read_answer()
    assert (answer.status, answer.code) == INVALID
    assert answer.headers["x-artstore-storage-id"] == "se-example"


def test_a_huge_length_is_refused_before_the_body(node: NodeProcess) -> None:
    with connected(node) as connection:
        connection.send(put_head(node, {"Content-Length": str(2**62)}))
        answer = connection.read_answer()
    assert (answer.status, answer.code) == (413, "FILE_TOO_LARGE")


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, identity",
    ],
)
def test_lengths_that_contradict_each_other_are_refused(headers: str, node: NodeProcess) -> None:
    with connected(node) as connection:
        connection.send(put_head(node, {})[:-2] + headers.encode() + b"\r\n\r\nhello")
        answer = connection.read_answer()
    assert answer.status == 400


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"-5\r\nhello\r\n",
        b"ffffffffffffffffff\r\n",
    ],
)
def test_a_chunked_body_that_can_not_be_read_is_refused(chunks: bytes, node: NodeProcess) -> None:
    with connected(node) as connection:
        connection.send(put_head(node, {"Transfer-Encoding": "chunked"}) + chunks)
        answer = connection.read_answer()
    assert (answer.status, answer.code) == INVALID


def test_a_body_longer_than_declared_is_refused(node: NodeProcess) -> None:
    with connected(node) as connection:
        connection.send(put_head(node, {"Content-Length": "5"}) + b"hello and more\r\n\r\n")
        answer = connection.read_answer()
    assert (answer.status, answer.code) == INVALID


@pytest.mark.parametrize("sent", [b"", b"hel", b"x" * 200_000])
def test_a_body_shorter_than_declared_leaves_nothing(sent: bytes, node: NodeProcess) -> None:
    with connected(node) as connection:
        connection.send(put_head(node, {"Content-Length": "300000"}) + sent)
    with connected(node) as connection:
        connection.send(
            put_head(node, {"Transfer-Encoding": "chunked"}) + b"%x\r\n" % 300000 + sent
        )


@pytest.mark.parametrize(
    "bomb",
    [
        {"X-Bomb": "x" * 70_000},
        {f"X-Bomb-{number}": "x" * 100 for number in range(700)},
        {"X-ArtStore-Attributes": "A" * 70_000},
        {"Authorization": "Bearer " + "x" * 70_000},
    ],
    ids=["one", "many", "attributes", "token"],
)
def test_headers_past_64_kib_are_refused(bomb: dict[str, str], node: NodeProcess) -> None:
    with connected(node) as connection:
        connection.send(head("GET", "/api/v1/files", bomb))
        answer = connection.read_answer()
    assert (answer.status, answer.code) == (431, "HEADERS_TOO_LARGE")
    assert answer.headers["x-artstore-storage-id"] == "se-example"
    assert json.loads(answer.body)["request_id"] == answer.headers["x-request-id"]


def test_headers_without_an_end_are_refused_long_before_memory_is(node: NodeProcess) -> None:
    with connected(node) as connection:
        connection.send(b"GET /api/v1/files HTTP/1.1\r\n")
        for number in range(4000):
            connection.send(f"X-{number}: {'x' * 200}\r\n".encode())
        assert connection.read_answer().status in (431, 0)


def test_trailers_without_an_end_are_refused(node: NodeProcess) -> None:
    with connected(node) as connection:
        connection.send(put_head(node, {"Transfer-Encoding": "chunked"}) + b"1\r\nx\r\n0\r\n")
        for number in range(4000):
            connection.send(f"X-{number}: {'x' * 200}\r\n".encode())
        assert connection.read_answer().status in (431, 0)


@pytest.mark.parametrize(
    "line",
    [
        b"GET\r\n",
        b"\x16\x03\x01",
        b"GET / HTTP/9.9",
        b"get / HTTP/1.1",
        b"GET http://[::1 HTTP/1.1",
        b"CONNECT x:1 HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"GET /%ff%fe HTTP/1.1",
    ],
    ids=repr,
)
def test_a_request_that_is_no_http_is_refused(line: bytes, node: NodeProcess) -> None:
    with connected(node) as connection:
        connection.send(line + b"\r\nHost: node\r\n\r\n")
        answer = connection.read_answer()
    assert 400 <= answer.status < 500
    assert json.loads(answer.body)["error"]["code"]


def test_a_two_mebibyte_address_is_refused(node: NodeProcess) -> None:
    with connected(node) as connection:
        connection.send(b"GET /" + b"a" * (2 << 20) + b" HTTP/1.1\r\n\r\n")
        assert connection.read_answer().status in (431, 0)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=1.0",
        "limit=",
        "offset=-1",
        "offset=10001",
        "status=lost",
        "cursor=",
        "cursor=nonsense",
        "cursor=" + "x" * 600,
        "limit=" + "9" * 400,
        "limit=١",
    ],
)
def test_a_list_parameter_out_of_range_is_refused_and_not_bent(
    query: str, api: NodeSession
) -> None:
    assert error_of(api.get(f"/api/v1/files?{query}")) == INVALID


@pytest.mark.parametrize(
    "query",
    [
        "since=-1",
        "since=x",
        "limit=0",
        "limit=1001",
        "since=1",
        "since=99999999999999999999",
        "epoch=" + "x" * 600,
    ],
)
def test_a_changes_parameter_out_of_range_is_refused(query: str, api: NodeSession) -> None:
    assert error_of(api.get(f"/api/v1/changes?{query}")) == INVALID


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"size": 5}',
        b'{"uploaded_by": "me"}',
        b'{"tags": "a"}',
        b'{"metadata": 5}',
        b'{"description": 5}',
        b'{"metadata": {"a": NaN}}',
        b'{"description": "\\ud800"}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_an_edit_that_is_not_valid_is_refused(body: bytes, api: NodeSession) -> None:
    answer = api.patch(
        f"/api/v1/files/{uuid.uuid4()}", data=body, headers={"Content-Type": "application/json"}
    )
    assert error_of(answer) in (INVALID, (404, "NOT_FOUND"))
    if body not in (b'{"metadata": {"a": NaN}}', b'{"description": "\\ud800"}'):
        assert error_of(answer) == INVALID


def test_a_json_body_of_a_mebibyte_is_refused(api: NodeSession) -> None:
    answer = api.patch(
        f"/api/v1/files/{uuid.uuid4()}",
        data=b'"' + b"x" * (1 << 20),
        headers={"Content-Type": "application/json"},
    )
    assert error_of(answer) == (413, "FILE_TOO_LARGE")


@pytest.mark.parametrize(
    "if_match", ["1", '"x"', 'W/"1"', '"1", "2"', '"-1"', '"' + "9" * 40 + '"']
)
def test_an_if_match_that_can_not_be_read_is_refused(if_match: str, api: NodeSession) -> None:
    answer = api.patch(
        f"/api/v1/files/{uuid.uuid4()}", json={"tags": []}, headers={"If-Match": if_match}
    )
    assert error_of(answer) == INVALID


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=", b""),
        ("text/plain", b"x"),
        ("", b"x"),
        ("application/x-www-form-urlencoded", b"file=x"),
    ],
)
def test_a_form_that_is_no_multipart_is_refused(
    content_type: str, body: bytes, api: NodeSession
) -> None:
    answer = api.post("/api/v1/files/upload", data=body, headers={"Content-Type": content_type})
    assert error_of(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")


def part(name: str, value: str, extra: str = "") -> str:
    return f'--B\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n{value}\r\n'


FILE_PART = part("file", "content", '; filename="a.txt"')


@pytest.mark.parametrize(
    "body",
    [
        "",
        "--B--\r\n",
        "no boundary at all" * 20,
        FILE_PART,
        FILE_PART + "--B",
        part("description", "x") + "--B--\r\n",
        FILE_PART + FILE_PART + "--B--\r\n",
        FILE_PART + part("owner", "me") + "--B--\r\n",
        FILE_PART + part("description", "x" * 70_000) + "--B--\r\n",
        FILE_PART + part("ttl_days", "soon") + "--B--\r\n",
        FILE_PART + part("ttl_days", "400") + "--B--\r\n",
        part("ttl_days", "400") + FILE_PART + "--B--\r\n",
        FILE_PART + part("metadata", "{") + "--B--\r\n",
        FILE_PART + part("tags", "[1]") + "--B--\r\n",
        FILE_PART + part("checksum", "abc") + "--B--\r\n",
        part("checksum", "0" * 64) + FILE_PART + "--B--\r\n",
        FILE_PART + part("checksum", "0" * 64) + "--B--\r\n",
        part("file", "content") + "--B--\r\n",
        "--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--\r\n",
        "--B\r\n" + "X: y\r\n" * 100 + "\r\nx\r\n--B--\r\n",
        "--B\r\nX: " + "y" * 100_000,
        part("tags", "x") * 200 + FILE_PART + "--B--\r\n",
    ],
    ids=lambda body: repr(body[-40:]),
)
def test_a_form_that_is_not_valid_is_refused(body: str, api: NodeSession) -> None:
    answer = api.post(
        "/api/v1/files/upload",
        data=body.encode(),
        headers={"Content-Type": "multipart/form-data; boundary=B"},
    )
    assert answer.status_code == 400, answer.text
    assert error_of(answer)[1] in ("VALIDATION_ERROR", "CHECKSUM_MISMATCH")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v1/files/",
        "/api/v2/files",
        "/admin",
        "/../../etc/passwd",
        "/api/v1/files/%2e%2e/%2e%2e",
    ],
)
def test_an_unknown_address_is_answered_in_the_envelope_and_not_as_a_missing_file(
    path: str, node: NodeProcess
) -> None:
    with connected(node) as connection:
        connection.send(head("GET", path, {"Authorization": f"Bearer {node.token()}"}))
        answer = connection.read_answer()
    assert (answer.status, answer.code) == (404, "UNKNOWN_ROUTE")


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "TRACE", "PROPFIND", "CONNECT"])
def test_an_unknown_method_is_answered_in_the_envelope(method: str, node: NodeProcess) -> None:
    with connected(node) as connection:
        connection.send(head(method, "/api/v1/files", {"Content-Length": "0"}))
        answer = connection.read_answer()
    assert (answer.status, answer.code) in ((405, "METHOD_NOT_ALLOWED"), INVALID)
