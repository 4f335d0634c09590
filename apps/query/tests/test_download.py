"""The download door, through a real gunicorn from a real node."""

import base64
import contextlib
import hashlib
import os
import socket
import subprocess
import uuid
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from apps.ingester.tests.web_process import WebProcess
from apps.registry.models import FileRecord, FileStatus

pytestmark = pytest.mark.django_db

MIB = 1024 * 1024
CONTENT = os.urandom(3 * MIB + 5)
SUM = hashlib.sha256(CONTENT).hexdigest()
# What the server itself adds to every answer.
SERVERS_OWN = {"server", "date", "connection", "transfer-encoding"}


@pytest.fixture(scope="module")
def stored(web: WebProcess, token: str) -> dict[str, Any]:
    """A file of 3 MiB with a name of many scripts."""
    answer = requests.post(
        f"{web.base_url}/api/v1/files/upload",
        params={"filename": 'отчёт "2026".pdf'},
        data=CONTENT,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/pdf"},
        timeout=60,
    )
    assert answer.status_code == 201, answer.text
    return answer.json()  # type: ignore[no-any-return]


@pytest.fixture
def url(web: WebProcess, stored: dict[str, Any]) -> str:
    return f"{web.base_url}/api/v1/files/{stored['file_id']}/download"


def headers_of(answer: requests.Response) -> dict[str, str]:
    return {k.lower(): v for k, v in answer.headers.items() if k.lower() not in SERVERS_OWN}


def test_a_whole_file_has_the_headers_of_the_contract_and_no_others(caller: Any, url: str) -> None:
    answer = caller.get(url, timeout=60)
    assert (answer.status_code, answer.content == CONTENT) == (200, True)
    found = headers_of(answer)
    parsedate_to_datetime(found.pop("last-modified"))
    assert found.pop("x-request-id")
    assert found == {
        "content-type": "application/pdf",
        "content-length": str(len(CONTENT)),
        "accept-ranges": "bytes",
        "etag": f'"{SUM}"',
        "repr-digest": f"sha-256=:{base64.b64encode(bytes.fromhex(SUM)).decode()}:",
        "content-disposition": 'attachment; filename="_____ _2026_.pdf"; '
        "filename*=UTF-8''%D0%BE%D1%82%D1%87%D1%91%D1%82%20%222026%22.pdf",
        "x-content-type-options": "nosniff",
        "cache-control": "private",
    }


def test_inline_is_sandboxed(caller: Any, url: str) -> None:
    answer = caller.get(url, params={"disposition": "inline"}, timeout=60)
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    assert answer.headers["Content-Disposition"].startswith("inline; ")


def test_an_unknown_disposition_is_refused(caller: Any, url: str) -> None:
    assert caller.get(url, params={"disposition": "x"}, timeout=60).status_code == 400


def test_head_says_what_get_would_and_sends_no_byte(caller: Any, url: str) -> None:
    whole, head = caller.get(url, timeout=60), caller.head(url, timeout=60)
    assert (head.status_code, head.content) == (200, b"")
    ours = {"x-request-id"}
    assert {k: v for k, v in headers_of(head).items() if k not in ours} == {
        k: v for k, v in headers_of(whole).items() if k not in ours
    }


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        (f"bytes={MIB - 5}-{2 * MIB + 5}", MIB - 5, 2 * MIB + 5),
        ("bytes=3000000-", 3_000_000, len(CONTENT) - 1),
        ("bytes=-7", len(CONTENT) - 7, len(CONTENT) - 1),
        ("bytes=10-999999999999", 10, len(CONTENT) - 1),
    ],
)
def test_a_range_is_206_with_just_those_bytes(
    caller: Any, url: str, asked: str, first: int, last: int
) -> None:
    answer = caller.get(url, headers={"Range": asked}, timeout=60)
    assert answer.status_code == 206
    assert answer.content == CONTENT[first : last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(CONTENT)}"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "items=0-1"])
def test_several_ranges_or_another_unit_get_the_whole_file(
    caller: Any, url: str, asked: str
) -> None:
    answer = caller.get(url, headers={"Range": asked}, timeout=60)
    assert (answer.status_code, len(answer.content)) == (200, len(CONTENT))


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=9-3", "bytes=a-b", "bytes=-0"])
def test_a_range_that_cannot_be_is_416_in_the_envelope_with_the_size(
    caller: Any, url: str, asked: str
) -> None:
    """Prior art 18: 416 as plain text."""
    answer = caller.get(url, headers={"Range": asked}, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (416, "INVALID_RANGE")
    assert answer.headers["Content-Range"] == f"bytes */{len(CONTENT)}"
    assert answer.headers["Content-Type"] == "application/json"


class TestConditions:
    """Prior art 32: conditional headers not passed on, so resumed downloads mixed versions."""

    def test_an_unchanged_file_is_304_without_a_body(self, caller: Any, url: str) -> None:
        known = caller.head(url, timeout=60).headers
        for header in (
            {"If-None-Match": known["ETag"]},
            {"If-None-Match": "*"},
            {"If-None-Match": f'"other", W/{known["ETag"]}'},
            {"If-Modified-Since": known["Last-Modified"]},
        ):
            answer = caller.get(url, headers=header, timeout=60)
            assert (answer.status_code, answer.content) == (304, b""), header
            assert answer.headers["ETag"] == known["ETag"]
            assert "Content-Length" not in answer.headers or answer.headers["Content-Length"] == "0"

    def test_another_etag_or_an_old_date_get_the_file(self, caller: Any, url: str) -> None:
        for header in (
            {"If-None-Match": '"other"'},
            {"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"},
            {"If-None-Match": '"other"', "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
        ):
            assert caller.get(url, headers=header, timeout=60).status_code == 200, header

    def test_if_range_of_this_version_resumes_and_of_another_starts_anew(
        self, caller: Any, url: str
    ) -> None:
        part = {"Range": "bytes=1000-"}
        same = caller.get(url, headers=part | {"If-Range": f'"{SUM}"'}, timeout=60)
        other = caller.get(url, headers=part | {"If-Range": '"0000"'}, timeout=60)
        assert (same.status_code, same.content == CONTENT[1000:]) == (206, True)
        assert (other.status_code, other.content == CONTENT) == (200, True)


class TestTools:
    """Downloads the way people make them."""

    def test_curl_resumes_a_download_cut_anywhere(
        self, url: str, token: str, tmp_path: Path
    ) -> None:
        for cut in (0, 1, MIB, len(CONTENT) - 1):
            path = tmp_path / f"part-{cut}"
            path.write_bytes(CONTENT[:cut])
            subprocess.run(
                [
                    "curl",
                    "-sSf",
                    "-C",
                    "-",
                    "-o",
                    path,
                    "-H",
                    f"Authorization: Bearer {token}",
                    url,
                ],
                check=True,
                timeout=60,
            )
            assert path.read_bytes() == CONTENT

    def test_curl_asks_for_a_range_and_for_a_newer_file(
        self, url: str, token: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "out"
        auth = ["-H", f"Authorization: Bearer {token}"]
        subprocess.run(
            ["curl", "-sSf", "--range", "5-9", "-o", str(path), *auth, url], check=True, timeout=60
        )
        assert path.read_bytes() == CONTENT[5:10]
        path.unlink()
        subprocess.run(
            ["curl", "-sSf", "-z", "Fri, 01 Jan 2100 00:00:00 GMT", "-o", str(path), *auth, url],
            check=True,
            timeout=60,
        )
        assert not path.exists() or path.read_bytes() == b""

    def test_any_accept_header_is_fine(self, caller: Any, url: str) -> None:
        for accept in ("application/pdf", "image/*", "text/html", "*/*"):
            assert caller.head(url, headers={"Accept": accept}, timeout=60).status_code == 200


class TestMissing:
    """What is answered when there is no such file, or no more."""

    def test_an_unknown_file_is_404(self, web: WebProcess, caller: Any) -> None:
        answer = caller.get(f"{web.base_url}/api/v1/files/{uuid.uuid4()}/download", timeout=60)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")

    def test_nobody_gets_nothing(self, url: str) -> None:
        answer = requests.get(url, timeout=60)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "UNAUTHORIZED")

    def test_a_file_deleted_on_the_element_is_gone_and_the_record_learns_it(
        self, web: WebProcess, site: Any, caller: Any, token: str
    ) -> None:
        file = upload(web, token, b"to be deleted")
        assert site.node_session().delete(f"/api/v1/files/{file['file_id']}").ok
        url = f"{web.base_url}/api/v1/files/{file['file_id']}/download"
        answer = caller.get(url, timeout=60)
        assert (answer.status_code, answer.json()["error"]["code"]) == (410, "FILE_GONE")
        assert FileRecord.objects.get(pk=file["file_id"]).status == FileStatus.DELETED
        assert caller.get(url, timeout=60).status_code == 410

    def test_a_404_that_is_not_the_nodes_own_changes_no_record(
        self, web: WebProcess, site: Any, caller: Any, token: str
    ) -> None:
        """Prior art 31: any 404 (a proxy's default page) marked the record deleted."""
        file = upload(web, token, b"stays")
        with site.instead_of_node(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found"):
            answer = caller.get(
                f"{web.base_url}/api/v1/files/{file['file_id']}/download", timeout=60
            )
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "SE_UNAVAILABLE")
        assert FileRecord.objects.get(pk=file["file_id"]).status == FileStatus.ACTIVE

    def test_an_element_that_does_not_answer_is_502_and_the_record_stays(
        self, web: WebProcess, site: Any, caller: Any, token: str
    ) -> None:
        file = upload(web, token, b"stays")
        url = f"{web.base_url}/api/v1/files/{file['file_id']}/download"
        with site.node_down():
            answer = caller.get(url, timeout=60)
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "SE_UNAVAILABLE")
        assert FileRecord.objects.get(pk=file["file_id"]).status == FileStatus.ACTIVE
        assert caller.get(url, timeout=60).status_code == 200


def upload(web: WebProcess, token: str, content: bytes) -> dict[str, Any]:
    answer = requests.post(
        f"{web.base_url}/api/v1/files/upload?filename=f.bin",
        data=content,
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    )
    assert answer.status_code == 201, answer.text
    return answer.json()  # type: ignore[no-any-return]


def test_a_transfer_cut_on_the_way_is_a_broken_connection(
    web: WebProcess, site: Any, caller: Any, token: str
) -> None:
    """Never a short 200."""
    file = upload(web, token, os.urandom(64 * MIB))
    answer = caller.get(
        f"{web.base_url}/api/v1/files/{file['file_id']}/download", stream=True, timeout=60
    )
    pieces = answer.iter_content(MIB)
    assert next(pieces)
    with site.node_down(), pytest.raises(requests.exceptions.RequestException):
        list(pieces)


def test_a_client_that_stops_reading_is_cut_and_its_thread_freed(
    web: WebProcess, site: Any, token: str
) -> None:
    file = upload(web, token, os.urandom(64 * MIB))
    with socket.create_connection(("127.0.0.1", web.port), timeout=60) as line:
        line.sendall(
            f"GET /api/v1/files/{file['file_id']}/download HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        assert line.recv(100).startswith(b"HTTP/1.1 200")
        site.wait_for(lambda: site.metric("artstore_downloads_running") == 0)
        got = 100
        with contextlib.suppress(ConnectionResetError):
            while data := line.recv(MIB):
                got += len(data)
    assert got < 64 * MIB
