"""The upload door, through a real gunicorn into a real node."""

import base64
import hashlib
import json
import os
import socket
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
import requests

from apps.ingester.tests.web_process import WebProcess

pytestmark = pytest.mark.django_db

# The same claim at another size; `make drill` proves it there too.
LONG = pytest.mark.drill
MIB = 1024 * 1024
NAMES = [
    "отчёт за год.pdf",
    "报告文件.txt",
    "🚀 launch.bin",
    "я" * 255,
    'with "quotes".txt',
    "semi;colon, comma.txt",
    "e\u0301 combining.txt",
    "\u202ertl שלום.txt",
]


def upload_url(web: WebProcess) -> str:
    return f"{web.base_url}/api/v1/files/upload"


def check_stored(
    web: WebProcess, caller: requests.Session, file: dict[str, Any], content: bytes
) -> None:
    """The file downloads as it was sent."""
    got = caller.get(f"{web.base_url}/api/v1/files/{file['file_id']}/download", timeout=60)
    assert got.status_code == 200
    assert got.content == content
    assert file["checksum"] == hashlib.sha256(content).hexdigest()
    assert file["size"] == len(content)


@pytest.fixture
def curl(web: WebProcess, token: str) -> Any:
    """curl at the upload address; the answer's status and JSON."""

    auth = f"Authorization: Bearer {token}"

    def run(*arguments: str, path: str = "/api/v1/files/upload") -> tuple[int, Any]:
        done = subprocess.run(
            ["curl", "-sS", "-w", "\n%{http_code}", "-H", auth, *arguments, web.base_url + path],
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        answer, _, status = done.stdout.decode().rpartition("\n")
        return int(status), json.loads(answer)

    return run


def test_the_main_job_over_http(web: WebProcess, caller: requests.Session) -> None:
    content = os.urandom(3 * MIB + 17)
    answer = caller.post(
        upload_url(web),
        params={"filename": "отчёт.pdf", "retention_policy": "temporary", "ttl_days": "5"},
        data=content,
        headers={"Content-Type": "application/pdf"},
        timeout=60,
    )
    assert answer.status_code == 201, answer.text
    file = answer.json()
    assert answer.headers["Location"] == f"/api/v1/files/{file['file_id']}"
    assert answer.headers["ETag"] == f'"{file["checksum"]}"'
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert answer.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    assert (file["ttl_days"], file["content_type"], file["status"]) == (
        5,
        "application/pdf",
        "active",
    )
    assert "storage_element_id" not in file
    check_stored(web, caller, file, content)
    found = caller.post(f"{web.base_url}/api/v1/search", json={"query": "отчёт"}, timeout=60).json()
    assert file["file_id"] in [item["file_id"] for item in found["items"]]
    part = caller.get(
        f"{web.base_url}/api/v1/files/{file['file_id']}/download",
        headers={"Range": "bytes=100-199"},
        timeout=60,
    )
    assert (part.status_code, part.content) == (206, content[100:200])


class TestCurl:
    """Every form in which curl sends a file."""

    @pytest.mark.parametrize(
        "size", [0, pytest.param(10, marks=LONG), pytest.param(MIB, marks=LONG), 4 * MIB + 1]
    )
    @pytest.mark.parametrize("order", ["before", "after", "none"])
    def test_a_form_with_fields_before_or_after_the_file(
        self, web: WebProcess, curl: Any, caller: Any, tmp_path: Path, size: int, order: str
    ) -> None:
        path = tmp_path / "file.bin"
        path.write_bytes(os.urandom(size))
        fields = ["-F", "description=годовой", "-F", 'tags=["a","б"]', "-F", "ttl_days=3"]
        fields += ["-F", f"checksum={hashlib.sha256(path.read_bytes()).hexdigest()}"]
        file = ["-F", f"file=@{path}"]
        sent = {"before": fields + file, "after": file + fields, "none": file}[order]
        status, answer = curl(*sent)
        assert status == 201, answer
        check_stored(web, caller, answer, path.read_bytes())
        if order != "none":
            assert (answer["description"], answer["tags"], answer["ttl_days"]) == (
                "годовой",
                ["a", "б"],
                3,
            )

    def test_fields_on_both_sides_of_a_small_file(self, curl: Any, tmp_path: Path) -> None:
        path = tmp_path / "file.bin"
        path.write_bytes(b"small")
        status, answer = curl("-F", "description=d", "-F", f"file=@{path}", "-F", "tags=t")
        assert (status, answer["description"], answer["tags"]) == (201, "d", ["t"])

    def test_a_late_checksum_of_a_large_streamed_file_is_verified(
        self, web: WebProcess, curl: Any, caller: Any, tmp_path: Path
    ) -> None:
        path = tmp_path / "file.bin"
        path.write_bytes(os.urandom(5 * MIB))
        good = hashlib.sha256(path.read_bytes()).hexdigest()
        form = ["-F", "description=d", "-F", f"file=@{path}", "-F"]
        status, answer = curl(*form, f"checksum={'0' * 64}")
        assert (status, answer["error"]["code"]) == (400, "CHECKSUM_MISMATCH")
        status, answer = curl(*form, f"checksum={good}")
        assert status == 201
        check_stored(web, caller, answer, path.read_bytes())

    # curl 7.88 never ends the chunks of an empty file, so that case is a raw request below.
    @pytest.mark.parametrize(
        ("how", "size"),
        [
            (["-T"], 0),
            (["-T"], 10),
            (["-T"], 4 * MIB + 1),
            (["-X", "POST", "-T"], 4 * MIB + 1),
            (["-H", "Transfer-Encoding: chunked", "-T"], 10),
            (["-H", "Transfer-Encoding: chunked", "-T"], 4 * MIB + 1),
        ],
    )
    def test_a_raw_body_by_length_and_by_chunks(
        self, web: WebProcess, curl: Any, caller: Any, how: list[str], size: int, tmp_path: Path
    ) -> None:
        path = tmp_path / "file.bin"
        path.write_bytes(os.urandom(size))
        status, answer = curl(*how, str(path), path="/api/v1/files/upload?filename=raw.bin&tags=x")
        assert status == 201, answer
        assert (answer["original_filename"], answer["tags"]) == ("raw.bin", ["x"])
        check_stored(web, caller, answer, path.read_bytes())

    def test_expect_100_continue(self, curl: Any, tmp_path: Path) -> None:
        path = tmp_path / "file.bin"
        path.write_bytes(os.urandom(3 * MIB))
        status, answer = curl("-H", "Expect: 100-continue", "-F", f"file=@{path}")
        assert status == 201, answer

    @pytest.mark.parametrize("name", NAMES)
    def test_names_of_every_script_make_the_round_trip(
        self, web: WebProcess, curl: Any, caller: Any, tmp_path: Path, name: str
    ) -> None:
        path = tmp_path / "file.bin"
        path.write_bytes(b"x")
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        status, answer = curl("-F", f'file=@{path};filename="{quoted}"')
        assert (status, answer.get("original_filename")) == (201, name), answer
        got = caller.get(f"{web.base_url}/api/v1/files/{answer['file_id']}/download", timeout=60)
        exact = got.headers["Content-Disposition"].partition("filename*=UTF-8''")[2]
        assert requests.utils.unquote(exact) == name


@pytest.mark.usefixtures("nothing_stored")
class TestRefusals:
    """Bad input gets exactly the code of the contract, and nothing is stored."""

    @pytest.mark.parametrize(
        ("parameters", "field"),
        [
            ({}, "filename"),
            ({"filename": "a/b"}, "filename"),
            ({"filename": ".."}, "filename"),
            ({"filename": "я" * 256}, "filename"),
            ({"filename": "a", "retention_policy": "permanent", "ttl_days": "3"}, "ttl_days"),
            ({"filename": "a", "ttl_days": "0"}, "ttl_days"),
            ({"filename": "a", "tags": "[1]"}, "tags"),
            ({"filename": "a", "metadata": "[]"}, "metadata"),
            ({"filename": "a", "surprise": "1"}, "surprise"),
            ({"filename": "a", "checksum": "xyz"}, "checksum"),
        ],
    )
    def test_fields_that_are_not_valid(
        self, web: WebProcess, caller: Any, parameters: dict[str, str], field: str
    ) -> None:
        answer = caller.post(upload_url(web), params=parameters, data=b"x", timeout=60)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["code"] == "VALIDATION_ERROR"
        assert set(answer.json()["error"]["details"]) == {field}

    def test_checksums_that_do_not_match(self, web: WebProcess, caller: Any) -> None:
        wrong = base64.b64encode(b"\0" * 32).decode()
        for size in (10, 3 * MIB):
            for name in ("Repr-Digest", "Content-Digest"):
                answer = caller.post(
                    upload_url(web),
                    params={"filename": "a"},
                    data=b"x" * size,
                    headers={name: f"sha-256=:{wrong}:"},
                    timeout=60,
                )
                assert (answer.status_code, answer.json()["error"]["code"]) == (
                    400,
                    "CHECKSUM_MISMATCH",
                )

    def test_a_form_without_a_file_or_with_a_nameless_one(
        self, web: WebProcess, caller: Any
    ) -> None:
        for files in ({"other": (None, "x")}, {"file": (None, "x")}):
            answer = caller.post(upload_url(web), files=files, timeout=60)
            assert answer.status_code == 400, answer.text

    def test_a_coded_body_is_not_unpacked(self, web: WebProcess, caller: Any) -> None:
        answer = caller.post(
            upload_url(web),
            params={"filename": "a"},
            data=b"x",
            headers={"Content-Encoding": "gzip"},
            timeout=60,
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        )

    @pytest.mark.parametrize("key", ["", "x" * 256, "ключ"])
    def test_keys_are_printable_ascii(self, web: WebProcess, caller: Any, key: str) -> None:
        answer = caller.post(
            upload_url(web),
            params={"filename": "a"},
            data=b"x",
            headers={"Idempotency-Key": key.encode()},
            timeout=60,
        )
        assert answer.status_code == 400, answer.text


def raw_request(web: WebProcess, head: str, body: bytes = b"", close: bool = False) -> bytes:
    """Bytes on a socket, and all that comes back."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as line:
        line.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        if close:
            line.shutdown(socket.SHUT_WR)
        answer = b""
        while data := line.recv(65536):
            answer += data
        return answer


@pytest.mark.usefixtures("nothing_stored")
class TestCutBodies:
    """A body that ends early is refused and leaves nothing, however it ends."""

    @pytest.mark.parametrize("sent", [0, 1000, 2 * MIB, 5 * MIB - 1])
    def test_a_body_shorter_than_declared(
        self, web: WebProcess, token: str, element: Any, sent: int
    ) -> None:
        head = (
            f"POST /api/v1/files/upload?filename=a HTTP/1.1\nHost: localhost\n"
            f"Authorization: Bearer {token}\nContent-Length: {5 * MIB}"
        )
        answer = raw_request(web, head, b"x" * sent, close=True)
        assert answer.startswith(b"HTTP/1.1 400"), answer
        assert b'"INCOMPLETE_BODY"' in answer

    @pytest.mark.parametrize("tail", [b"", b"0\r\n", b"zz\r\n", b"5\r\nab"])
    def test_chunks_that_do_not_end(self, web: WebProcess, token: str, tail: bytes) -> None:
        head = (
            "POST /api/v1/files/upload?filename=a HTTP/1.1\nHost: localhost\n"
            f"Authorization: Bearer {token}\nTransfer-Encoding: chunked"
        )
        piece = b"x" * (2 * MIB)
        body = f"{len(piece):x}\r\n".encode() + piece + b"\r\n" + tail
        answer = raw_request(web, head, body, close=True)
        assert answer.startswith(b"HTTP/1.1 400"), answer
        assert b'"INCOMPLETE_BODY"' in answer

    def test_a_form_that_never_closes(self, web: WebProcess, token: str) -> None:
        boundary = uuid.uuid4().hex
        form = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="tags"\r\n\r\nx\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        ).encode() + b"x" * (3 * MIB)
        head = (
            "POST /api/v1/files/upload HTTP/1.1\nHost: localhost\n"
            f"Authorization: Bearer {token}\nContent-Length: {len(form)}\n"
            f"Content-Type: multipart/form-data; boundary={boundary}"
        )
        answer = raw_request(web, head, form)
        assert b'"INCOMPLETE_BODY"' in answer


def test_an_empty_chunked_body_is_an_empty_file(web: WebProcess, token: str) -> None:
    head = (
        "POST /api/v1/files/upload?filename=empty HTTP/1.1\nHost: localhost\nConnection: close\n"
        f"Authorization: Bearer {token}\nTransfer-Encoding: chunked"
    )
    assert raw_request(web, head, b"0\r\n\r\n").startswith(b"HTTP/1.1 201")


@pytest.mark.usefixtures("nothing_stored")
def test_a_client_that_falls_silent_is_told_so_and_leaves_nothing(
    web: WebProcess, token: str
) -> None:
    head = (
        "POST /api/v1/files/upload?filename=a HTTP/1.1\nHost: localhost\n"
        f"Authorization: Bearer {token}\nContent-Length: {5 * MIB}"
    )
    answer = raw_request(web, head, b"x" * 3 * MIB)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"No byte of the upload arrived" in answer


@pytest.mark.parametrize("query", ["filename=%ff%fe", "filename=a&tags=%ff"])
@pytest.mark.usefixtures("nothing_stored")
def test_query_texts_that_are_not_utf8_are_refused(
    web: WebProcess, caller: Any, query: str
) -> None:
    answer = caller.post(f"{upload_url(web)}?{query}", data=b"x", timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION_ERROR")


@pytest.mark.usefixtures("nothing_stored")
def test_two_names_for_one_file_are_refused(web: WebProcess, caller: Any) -> None:
    answer = caller.post(f"{upload_url(web)}?filename=a&filename=b", data=b"x", timeout=60)
    assert answer.json()["error"]["details"] == {"filename": ["Give this field once."]}


@pytest.mark.usefixtures("nothing_stored")
def test_a_transfer_coding_other_than_chunked_is_not_unpacked(web: WebProcess, token: str) -> None:
    head = (
        "POST /api/v1/files/upload?filename=a HTTP/1.1\nHost: localhost\n"
        f"Authorization: Bearer {token}\nTransfer-Encoding: gzip, chunked"
    )
    answer = raw_request(web, head, b"1\r\nx\r\n0\r\n\r\n")
    assert answer[:12] in {b"HTTP/1.1 415", b"HTTP/1.1 501", b"HTTP/1.1 400"}, answer


def test_an_answer_before_a_long_body_says_that_the_connection_ends(web: WebProcess) -> None:
    head = "POST /api/v1/files/upload HTTP/1.1\nHost: localhost\nContent-Length: 1000000000"
    answer = raw_request(web, head)
    assert b"\r\nConnection: close\r\n" in answer


class TestFieldsOnBothSides:
    """Fields before and after one large file."""

    def form(self, content: bytes, *late: tuple[str, str]) -> tuple[bytes, str]:
        boundary = uuid.uuid4().hex
        parts = [("tags", "early"), ("file", ""), *late]
        raw = b""
        for name, text in parts:
            extra = '; filename="f.bin"' if name == "file" else ""
            raw += (
                f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
            ).encode()
            raw += (content if name == "file" else text.encode()) + b"\r\n"
        return raw + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"

    def test_late_texts_are_kept_on_element_and_record(
        self, web: WebProcess, caller: Any, site: Any
    ) -> None:
        content = os.urandom(3 * MIB)
        raw, kind = self.form(content, ("description", "late"), ("tags", "later"))
        answer = caller.post(upload_url(web), data=raw, headers={"Content-Type": kind}, timeout=60)
        assert answer.status_code == 201, answer.text
        file = answer.json()
        assert (file["description"], file["tags"]) == ("late", ["early", "later"])
        held = site.node_session().get(f"/api/v1/files/{file['file_id']}").json()
        assert (held["description"], held["tags"]) == ("late", ["early", "later"])
        check_stored(web, caller, file, content)

    @pytest.mark.usefixtures("nothing_stored")
    def test_how_long_a_large_file_is_kept_has_to_be_said_before_it(
        self, web: WebProcess, caller: Any
    ) -> None:
        raw, kind = self.form(os.urandom(3 * MIB), ("retention_policy", "permanent"))
        answer = caller.post(upload_url(web), data=raw, headers={"Content-Type": kind}, timeout=60)
        assert answer.status_code == 400, answer.text
        assert set(answer.json()["error"]["details"]) == {"retention_policy"}
