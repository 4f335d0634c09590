"""The main job on the real system: in, found, out; a node killed under load; awkward names."""

import concurrent.futures
import contextlib
import json
import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
import requests

from artstore.tests.curl import Sent, curl, downloaded_sha256, sha256, upload, write_headers
from artstore.tests.live import LiveSystem, eventually

UPLOADS = 200
CLIENTS = 24
# Mixed, around the sizes at which the paths differ: inside the log, one block, several.
SIZES_BYTES = (0, 1, 900, 4096, 60_000, 70_000, 300_000, 1_048_577, 3_000_000)

FILE_SCOPES = ("files:read", "files:write")


@pytest.fixture(scope="module")
def token(live_web: LiveSystem) -> str:
    return live_web.service_token(FILE_SCOPES)


@pytest.fixture(scope="module")
def header_file(token: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_headers(tmp_path_factory.mktemp("curl") / "headers", token)


def test_the_main_job_passes_as_a_command(live_web: LiveSystem) -> None:
    client_file = live_web.home / "secrets" / "smoke-client.json"
    said = live_web.manage(
        *("smoke", "--url", live_web.base_url, "--size", "5MiB"),
        *("--client-file", str(client_file)),
    )
    assert said.rstrip().endswith("The main job works.")


# --- a node killed under load -------------------------------------------------------------------


def test_every_acknowledged_upload_is_there_after_a_node_was_killed_in_the_middle(
    live_web: LiveSystem, token: str, header_file: Path, tmp_path: Path
) -> None:
    paths = list(make_files(tmp_path))
    victim = live_web.element("node-edit")["pid"]
    acknowledged = threading.Semaphore(0)

    def send(path: Path) -> Sent:
        sent = upload(live_web, header_file, path, f"{tmp_path.name}-{path.name}")
        if sent.status == 201:
            acknowledged.release()
        return sent

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        running = [clients.submit(send, path) for path in paths]
        for _ in range(UPLOADS // 4):
            assert acknowledged.acquire(timeout=120)
        os.kill(victim, signal.SIGKILL)
        outcomes = [future.result() for future in running]

    wrong = [sent for sent in outcomes if sent.status not in {201, 502, 503}]
    assert not wrong, "errors have the right codes"
    eventually(lambda: takes_calls(live_web, "node-edit", after=victim), "node-edit is back")
    good = [sent for sent in outcomes if sent.status == 201]
    assert len(good) >= UPLOADS // 4
    for sent in good:
        assert downloaded_sha256(live_web, token, sent.answer["file_id"]) == sha256(sent.path)

    def settled(sent: Sent) -> Sent | None:
        again = upload(live_web, header_file, sent.path, sent.key)
        return again if again.status in (200, 201) else None

    for sent in outcomes:
        if sent.status != 201:
            again = eventually(
                lambda sent=sent: settled(sent), f"{sent.path.name} goes in after all", 180
            )
            assert downloaded_sha256(live_web, token, again.answer["file_id"]) == sha256(sent.path)


def takes_calls(system: LiveSystem, storage_id: str, after: int) -> bool:
    """Whether a node of another process than `after` answers; it replays its log before."""
    element = system.element(storage_id)
    if element["pid"] in (after, None):
        return False
    with contextlib.suppress(requests.ConnectionError):
        ready = f"{element['url']}/health/ready"
        return requests.get(ready, verify=system.ca_file, timeout=30).ok
    return False


def make_files(folder: Path) -> Iterator[Path]:
    source = random.Random(2026)
    for number in range(UPLOADS):
        path = folder / f"file-{number:03}.bin"
        path.write_bytes(source.randbytes(SIZES_BYTES[number % len(SIZES_BYTES)]))
        yield path


# --- names --------------------------------------------------------------------------------------

AWKWARD_NAMES = {
    "cyrillic": "Годовой отчёт за 2026 год.pdf",
    "chinese": "年度报告 二〇二六.txt",
    "emoji": "🎉 party 👩‍👩‍👧‍👦.png",
    "quotes": 'she said "it\'s" 50% off; a=b.txt',
    "longest": "я" * 251 + ".txt",
    "spaces": "  two  spaces .txt",
    "percent": "100%22 %41.txt",
}


@pytest.mark.parametrize("kind", AWKWARD_NAMES)
def test_an_awkward_name_comes_back_as_it_went_in(
    live_web: LiveSystem, token: str, header_file: Path, tmp_path: Path, kind: str
) -> None:
    name = AWKWARD_NAMES[kind]
    content = tmp_path / "content"
    content.write_bytes(name.encode())
    status, body = curl(
        header_file,
        *("-T", str(content), "-X", "POST"),
        f"{live_web.api}/files/upload?filename={quote(name)}",
    )
    assert status == 201, body
    check_round_trip(live_web, token, json.loads(body), name)


@pytest.mark.parametrize("kind", ["cyrillic", "chinese", "emoji", "quotes", "spaces"])
def test_an_awkward_name_in_a_form_comes_back_as_it_went_in(
    live_web: LiveSystem, token: str, header_file: Path, tmp_path: Path, kind: str
) -> None:
    name = AWKWARD_NAMES[kind]
    content = tmp_path / "content"
    content.write_bytes(name.encode())
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    status, body = curl(
        header_file, "-F", f'file=@{content};filename="{quoted}"', f"{live_web.api}/files/upload"
    )
    assert status == 201, body
    check_round_trip(live_web, token, json.loads(body), name)


def test_an_empty_file_comes_back_empty(
    live_web: LiveSystem, token: str, header_file: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "nothing.txt"
    empty.touch()
    sent = upload(live_web, header_file, empty, "an-empty-file")
    assert sent.status == 201
    assert sent.answer["size"] == 0
    assert downloaded_sha256(live_web, token, sent.answer["file_id"]) == sha256(empty)


def check_round_trip(live_web: LiveSystem, token: str, file: dict[str, Any], name: str) -> None:
    session = live_web.session(token)
    assert file["original_filename"] == name
    question = {"query": name, "mode": "exact"}
    found = session.post(f"{live_web.api}/search", json=question, timeout=30).json()
    assert [item["original_filename"] for item in found["items"]][:1] == [name]
    answer = session.get(f"{live_web.api}/files/{file['file_id']}/download", timeout=30)
    assert answer.content == name.encode()
    extended = answer.headers["Content-Disposition"].partition("filename*=UTF-8''")[2]
    assert unquote(extended) == name
