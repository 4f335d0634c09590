"""Programs that people really use, in every way they fetch and send a file."""

import hashlib
import os
import random
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from apps.ingester.tests.web_process import WebProcess

pytestmark = pytest.mark.django_db

MIB = 1024 * 1024
CONTENT = os.urandom(12 * MIB + 345)


def needs(program: str) -> Any:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"there is no {program} here")


@pytest.fixture(scope="module")
def file(web: WebProcess, token: str) -> dict[str, Any]:
    answer = requests.post(
        f"{web.base_url}/api/v1/files/upload?filename=данные.bin",
        data=CONTENT,
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    )
    assert answer.status_code == 201, answer.text
    return answer.json()  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def url(web: WebProcess, file: dict[str, Any]) -> str:
    return f"{web.base_url}/api/v1/files/{file['file_id']}/download"


@pytest.fixture
def auth(tmp_path: Path, token: str) -> Path:
    """curl's and others' headers, from a file so that no process list shows them."""
    path = tmp_path / "headers"
    path.write_text(f"Authorization: Bearer {token}\n")
    return path


def run(*command: str, expected: int = 0) -> bytes:
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert done.returncode == expected, (done.stderr + done.stdout).decode(errors="replace")
    return done.stdout


def cut_download(url: str, token: str, path: Path, after_bytes: int) -> int:
    """What a client has of the file when its line breaks after that many bytes."""
    with (
        requests.get(
            url, headers={"Authorization": f"Bearer {token}"}, stream=True, timeout=60
        ) as answer,
        path.open("wb") as part,
    ):
        while part.tell() < after_bytes:
            part.write(answer.raw.read(min(65536, after_bytes - part.tell())))
    return path.stat().st_size


class TestCurl:
    @pytest.mark.parametrize("seed", range(6))
    def test_resumes_a_download_cut_at_a_random_point(
        self, url: str, token: str, auth: Path, tmp_path: Path, seed: int
    ) -> None:
        path = tmp_path / "part.bin"
        cut_at = random.Random(seed).randrange(1, len(CONTENT))
        assert cut_download(url, token, path, cut_at) == cut_at
        run("curl", "-sS", "--fail", "-H", f"@{auth}", "-C", "-", "-o", str(path), url)
        assert path.read_bytes() == CONTENT

    @pytest.mark.parametrize(
        ("asked", "got"),
        [
            ("0-0", CONTENT[:1]),
            ("100-199", CONTENT[100:200]),
            ("-77", CONTENT[-77:]),
            (f"{len(CONTENT) - 5}-", CONTENT[-5:]),
        ],
        ids=["first byte", "middle", "end", "to the end"],
    )
    def test_fetches_a_range(self, url: str, auth: Path, asked: str, got: bytes) -> None:
        assert run("curl", "-sS", "--fail", "-H", f"@{auth}", "--range", asked, url) == got

    def test_time_condition_spares_an_unchanged_file(
        self, url: str, auth: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "kept.bin"
        curl = ("curl", "-sS", "--fail", "-H", f"@{auth}", "-w", "%{http_code}")
        assert run(*curl, "-R", "-o", str(path), url) == b"200"
        assert run(*curl, "-z", str(path), "-o", str(tmp_path / "again.bin"), url) == b"304"
        assert run(*curl, "-z", "2001-01-01", "-o", str(path), url) == b"200"

    def test_names_the_file_as_the_server_does(
        self, url: str, auth: Path, tmp_path: Path, web: WebProcess
    ) -> None:
        run("curl", "-sS", "--fail", "-H", f"@{auth}", "-OJ", "--output-dir", str(tmp_path), url)
        names = [path.name for path in tmp_path.iterdir() if path != auth]
        assert len(names) == 1
        assert names[0].endswith(".bin")

    def test_head(self, url: str, auth: Path) -> None:
        head = run("curl", "-sS", "--fail", "-I", "-H", f"@{auth}", url).decode().lower()
        assert f"content-length: {len(CONTENT)}" in head


@needs("wget")
class TestWget:
    def test_fetches_and_resumes(self, url: str, token: str, tmp_path: Path, auth: Path) -> None:
        rc = tmp_path / "wgetrc"
        rc.write_text(f"header = {auth.read_text()}")
        path = tmp_path / "got.bin"
        cut_download(url, token, path, 5 * MIB + 1)
        run("wget", f"--config={rc}", "-q", "-c", "-O", str(path), url)
        assert path.read_bytes() == CONTENT
        run("wget", f"--config={rc}", "-q", "-O", str(tmp_path / "whole.bin"), url)
        assert (tmp_path / "whole.bin").read_bytes() == CONTENT


@needs("aria2c")
class TestAria2:
    def test_fetches_over_eight_connections_at_once(
        self, url: str, file: dict[str, Any], tmp_path: Path, auth: Path
    ) -> None:
        conf = tmp_path / "aria2.conf"
        conf.write_text(f"header={auth.read_text()}")
        eight = ("-x8", "-s8", "-k1M", f"--checksum=sha-256={file['checksum']}")
        run("aria2c", "-q", f"--conf-path={conf}", *eight, "-d", str(tmp_path), "-o", "got", url)
        assert (tmp_path / "got").read_bytes() == CONTENT


class TestPythonClients:
    def test_requests_sends_a_form_and_streams_the_file_back(
        self, web: WebProcess, caller: requests.Session
    ) -> None:
        sent = caller.post(
            f"{web.base_url}/api/v1/files/upload",
            files={"file": ("a.bin", CONTENT)},
            data={"description": "d", "tags": ["x", "y"]},
            timeout=60,
        )
        assert (sent.status_code, sent.json()["tags"]) == (201, ["x", "y"])
        url = f"{web.base_url}/api/v1/files/{sent.json()['file_id']}/download"
        with caller.get(url, stream=True, timeout=60) as got:
            sums = hashlib.sha256()
            for block in got.iter_content(MIB):
                sums.update(block)
        assert sums.hexdigest() == sent.json()["checksum"]

    @pytest.mark.parametrize("chunked", [False, True])
    def test_httpx_sends_and_fetches(self, web: WebProcess, token: str, chunked: bool) -> None:
        pieces = (CONTENT[at : at + MIB] for at in range(0, len(CONTENT), MIB))
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=web.base_url, headers=headers, timeout=60) as client:
            sent = client.post(
                "/api/v1/files/upload",
                params={"filename": "a.bin"},
                content=pieces if chunked else CONTENT,
            )
            assert sent.status_code == 201, sent.text
            path = f"/api/v1/files/{sent.json()['file_id']}/download"
            assert client.get(path).content == CONTENT
            with client.stream("GET", path, headers={"Range": "bytes=5-"}) as rest:
                assert b"".join(rest.iter_raw()) == CONTENT[5:]


def test_an_old_client_without_keep_alive_gets_its_file(
    web: WebProcess, url: str, token: str
) -> None:
    """HTTP/1.0: the end of the connection is the end of the answer, and the length agrees."""
    path = url.removeprefix(web.base_url)
    with socket.create_connection(("127.0.0.1", web.port), timeout=60) as line:
        line.sendall(
            f"GET {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        answer = b""
        while data := line.recv(MIB):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == CONTENT
    assert f"content-length: {len(CONTENT)}" in head.decode().lower()
