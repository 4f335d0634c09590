"""The smoke job passes against a deployment that keeps the contract and fails, naming the step,
against one that does not. The deployment here is a fake at the wire."""

import base64
import datetime as dt
import hashlib
import io
import json
import re
import threading
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from django.core.management import CommandError, call_command
from multipart import MultipartParser

from artstore.smoke import job
from artstore.smoke.client import Client, SmokeFailed
from artstore.smoke.job import Credentials, Job, Step
from artstore.smoke.sources import GeneratedFile, GivenFile, Source, fingerprint

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
CREDENTIALS = Credentials("sa_smoke_1", "s3cret/with+signs=")
SMALL = GeneratedFile(300_000, "2026-03-01")


class Deployment(ThreadingHTTPServer):
    """Keeps files in memory and does what the contract says, unless told to misbehave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, dict[str, Any]] = {}
        self.bytes: dict[str, bytes] = {}
        self.by_key: dict[str, str] = {}
        self.spoil: Callable[[bytes], bytes] = lambda content: content
        self.hidden = False
        self.edited = False
        self.keeps_deleted = False

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up after what it has seen is no news."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Deployment

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, content: Any = None, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(body) if status != 204 else 0))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def do_POST(self) -> None:
        path = urlsplit(self.path)
        body = self.body()
        if path.path == "/api/v1/auth/token":
            pair = base64.b64decode(self.headers["Authorization"].split()[1]).decode()
            known = [unquote(part) for part in pair.split(":")]
            if known != [CREDENTIALS.client_id, CREDENTIALS.client_secret]:
                return self.answer(401, {"error": "invalid_client"})
            return self.answer(200, {"access_token": "t", "scope": "files:read files:write"})
        if path.path == "/api/v1/search":
            asked = json.loads(body)
            found = [f for f in self.server.files.values() if f["checksum"] == asked["checksum"]]
            return self.answer(200, {"items": [] if self.server.hidden else found})
        return self.upload(body, {k: v[0] for k, v in parse_qs(path.query).items()})

    def upload(self, body: bytes, fields: dict[str, str]) -> None:
        if self.headers.get_content_maintype() == "multipart":
            boundary = self.headers.get_param("boundary")
            for part in MultipartParser(io.BytesIO(body), boundary):
                if part.name == "file":
                    body = part.raw
                    # As browsers write a quote in a name, and as the Ingester reads it.
                    fields["filename"] = part.filename.replace("%22", '"')
                else:
                    fields[part.name] = part.value
        key = self.headers["Idempotency-Key"]
        if key in self.server.by_key and self.server.edited:
            return self.answer(422, {"error": {"code": "IDEMPOTENCY_MISMATCH"}})
        if key in self.server.by_key:
            return self.answer(200, self.server.files[self.server.by_key[key]])
        file_id = str(uuid.uuid4())
        self.server.by_key[key] = file_id
        self.server.bytes[file_id] = body
        self.server.files[file_id] = {
            "file_id": file_id,
            "original_filename": fields["filename"],
            "size": len(body),
            "checksum": hashlib.sha256(body).hexdigest(),
            "retention_policy": fields["retention_policy"],
            "status": "active",
        }
        return self.answer(201, self.server.files[file_id])

    def do_GET(self) -> None:
        file_id = self.path.split("/")[4]
        if file_id not in self.server.bytes:
            return self.answer(410, {"error": {"code": "FILE_GONE"}})
        content = self.server.spoil(self.server.bytes[file_id])
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted:
            first, last = int(wanted[1]), int(wanted[2])
            said = f"bytes {first}-{last}/{len(content)}"
            return self.answer(206, content[first : last + 1], Content_Range=said)
        return self.answer(200, content)

    def do_DELETE(self) -> None:
        if not self.server.keeps_deleted:
            del self.server.bytes[self.path.split("/")[4]]
        self.answer(204)


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    server = Deployment()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    yield server
    server.shutdown()
    server.server_close()


def run(
    deployment: Deployment, source: Source = SMALL, who: Credentials = CREDENTIALS
) -> list[Step]:
    steps: list[Step] = []
    Job(Client(deployment.url), source, steps.append).run(who, NOW)
    return steps


def test_both_retentions_make_the_whole_round_and_only_the_temporary_file_goes(
    deployment: Deployment,
) -> None:
    names = [step.name for step in run(deployment)]
    assert names == [
        "token by client credentials",
        "read the file to be sent",
        "upload, temporary",
        "search until found, temporary",
        "download and compare, temporary",
        "read a range, temporary",
        "upload, permanent",
        "search until found, permanent",
        "download and compare, permanent",
        "read a range, permanent",
        "delete the temporary file",
    ]
    kept = [deployment.files[file_id]["retention_policy"] for file_id in deployment.bytes]
    assert kept == ["permanent"]


def test_repeating_it_the_same_day_leaves_one_permanent_file(deployment: Deployment) -> None:
    run(deployment)
    steps = {step.name: step.outcome for step in run(deployment)}
    assert "the same as earlier with this key" in steps["upload, permanent"]
    assert len(deployment.bytes) == 1


def test_an_edited_permanent_file_does_not_fail_the_next_run(deployment: Deployment) -> None:
    run(deployment)
    deployment.edited = True
    run(deployment)
    assert len(deployment.bytes) == 2


@pytest.mark.parametrize("size_bytes", [0, 1, 999, 1_000_000])
def test_any_size_makes_the_round(deployment: Deployment, size_bytes: int) -> None:
    run(deployment, GeneratedFile(size_bytes, "x"))


def test_a_given_file_with_an_awkward_name_makes_the_round(
    deployment: Deployment, tmp_path: Path
) -> None:
    path = tmp_path / 'отчёт "итог" 文件 🎉.bin'
    path.write_bytes(b"content" * 1000)
    run(deployment, GivenFile(path))


def test_wrong_credentials_fail_at_the_token(deployment: Deployment) -> None:
    with pytest.raises(SmokeFailed, match=r"token by client credentials: .*401.*invalid_client"):
        run(deployment, who=Credentials("sa_smoke_1", "wrong"))


def test_one_changed_byte_fails_at_the_download(deployment: Deployment) -> None:
    deployment.spoil = lambda content: content[:-1] + b"?"
    with pytest.raises(SmokeFailed, match=r"download and compare, temporary: .*came back"):
        run(deployment)


def test_a_file_that_search_never_finds_fails_at_the_search(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "FOUND_WITHIN_SECONDS", 0.0)
    deployment.hidden = True
    with pytest.raises(SmokeFailed, match="search until found, temporary: not found"):
        run(deployment)


def test_a_deleted_file_that_still_comes_fails_at_the_delete(deployment: Deployment) -> None:
    deployment.keeps_deleted = True
    with pytest.raises(SmokeFailed, match=r"delete the temporary file: .*answered 200.*410"):
        run(deployment)


def test_nobody_there_is_said_without_a_traceback() -> None:
    with pytest.raises(SmokeFailed, match="was not answered: ConnectionRefusedError"):
        Job(Client("http://127.0.0.1:9"), SMALL, lambda _: None).run(CREDENTIALS, NOW)


def test_an_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(SmokeFailed, match="is no address"):
        Client("example.org")


def test_the_secret_is_in_no_text_the_job_can_print() -> None:
    assert CREDENTIALS.client_secret not in repr(CREDENTIALS)


def test_reading_a_large_file_needs_no_more_memory_than_a_small_one() -> None:
    tracemalloc.start()
    fingerprint(GeneratedFile(200 * 2**20, "x"))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 16 * 2**20


def test_a_generated_file_is_the_same_each_time_and_never_repeats_a_block() -> None:
    source = GeneratedFile(3 * 2**20 + 7, "x")
    blocks = list(source.blocks())
    assert blocks == list(source.blocks())
    assert sum(map(len, blocks)) == source.size_bytes
    assert len(set(blocks)) == len(blocks)


def test_without_credentials_and_without_a_person_it_says_what_to_set(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ARTSTORE_CLIENT_ID = settings.ARTSTORE_CLIENT_SECRET = ""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(CommandError, match="ARTSTORE_CLIENT_ID"):
        call_command("smoke", url="http://127.0.0.1:1")
