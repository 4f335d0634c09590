"""Conditions that a request alone does not bring about: damage, expiry, a lost disk, an index being rebuilt."""

import asyncio
import json
import os
import shutil
import subprocess
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from storage_node import api, app, config, directory, telemetry
from storage_node.envelope import Envelope
from storage_node.tests.conftest import MakeNode, error_of, eventually
from storage_node.tests.node_process import NodeProcess, NodeSession
from storage_node.tests.wire_examples import load, play


def bytes_of(node: NodeProcess, file_id: str) -> Path | None:
    """The file under its final name, once it has one: before that it lies under a hidden one."""
    found = (node.data_dir / "files").rglob(f"[!.]*{file_id}*")
    return next((path for path in found if not path.name.endswith(".attr.json")), None)


def expected(name: str) -> tuple[int, str]:
    response = load(name).response
    return response["status"], response["body"]["error"]["code"]


def test_a_file_damaged_on_disk_is_refused_and_stays_listed(make_node: MakeNode) -> None:
    node = make_node()
    api_, file_id = node.session(), load("download_file-damaged").file_id
    assert file_id is not None
    play(load("put_file-created").about(file_id), node)
    path = eventually(lambda: bytes_of(node, file_id))
    os.truncate(path, 3)
    assert error_of(api_.get(f"/api/v1/files/{file_id}/download")) == expected(
        "download_file-damaged"
    )
    listed = eventually(
        lambda: api_.get("/api/v1/files", params={"status": "damaged"}).json()["items"]
    )
    assert [file["file_id"] for file in listed] == [file_id]


def test_a_file_past_its_time_is_gone_though_no_garbage_was_collected(make_node: MakeNode) -> None:
    node = make_node()
    api_ = node.session()
    soon = datetime.now(UTC) + timedelta(seconds=1)
    stored = api_.put_file(b"x", expires_at=soon.isoformat().replace("+00:00", "Z")).json()
    address = f"/api/v1/files/{stored['file_id']}"
    eventually(lambda: api_.get(f"{address}/download").status_code == 410)
    refused = api_.get(f"{address}/download")
    assert error_of(refused) == expected("download_file-gone_expired")
    assert refused.json()["error"]["status"] == "expired"
    assert api_.get("/api/v1/files", params={"status": "expired"}).json()["total"] == 1
    assert error_of(api_.patch(address, json={"tags": []})) == (410, "FILE_GONE")


def test_a_lost_data_directory_stops_writes_and_says_so(make_node: MakeNode) -> None:
    node = make_node()
    api_ = node.session()
    stored = api_.put_file(b"still readable").json()
    node.data_dir.rename(node.directory / "elsewhere")
    node.data_dir.mkdir()
    eventually(lambda: api_.get("/api/v1/info").json()["status"] == "degraded")
    refused = api_.put_file(b"x")
    assert error_of(refused) == expected("put_file-not_writable")
    assert refused.headers["Retry-After"]
    assert api_.get(f"/api/v1/files/{stored['file_id']}/download").content == b"still readable"
    ready = NodeSession(node, None).get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["checks"]["disk"]["status"] == "degraded"


def test_one_reconcile_at_a_time(make_node: MakeNode) -> None:
    # A byte a second: the run is under way until the node is told to end.
    node = make_node(SE_SCRUB_RATE="1", SE_SCRUB_PERIOD="1ms")
    api_ = node.session()
    for _ in range(3):
        api_.put_file(bytes(100_000))
    assert api_.post("/api/v1/maintenance/reconcile").status_code == 202
    assert error_of(api_.post("/api/v1/maintenance/reconcile")) == expected("reconcile-in_progress")
    assert api_.get("/api/v1/maintenance/reconcile").json()["status"] == "running"
    assert node.stop() == 0


def test_while_the_index_is_rebuilt_every_file_call_is_told_so_and_info_answers(
    make_node: MakeNode,
) -> None:
    node = make_node(start=False)
    node.port = 18199
    example = load("get_file-starting")

    async def ask(path: str, token: str | None) -> tuple[int, dict[bytes, bytes], Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "headers": headers,
            "query_string": b"",
        }
        await envelope(scope, None, send)  # type: ignore[arg-type]  # no body is read
        return sent[0]["status"], dict(sent[0]["headers"]), json.loads(sent[1]["body"])

    async def run() -> None:
        nonlocal envelope
        ready = app.prepared(settings)
        claimed = directory.claim(config.store_options(settings), app.utc_now())
        parts = app._node(ready, claimed)
        await parts.check.ring.refresh()
        envelope = Envelope(api.Doors(parts), parts, telemetry.Traces(None))
        token = node.token()
        for path in (f"/api/v1/files/{uuid.uuid4()}", "/api/v1/files", "/api/v1/changes"):
            status, headers, body = await ask(path, token)
            assert (status, body["error"]["code"]) == expected(example.name)
            assert headers[b"retry-after"]
        status, headers, body = await ask("/api/v1/info", None)
        assert (status, body["status"]) == (200, "starting")
        assert headers[b"x-artstore-instance-id"].decode() == body["instance_id"]
        status, _, body = await ask("/health/ready", None)
        assert (status, body["checks"]["index"]) == (
            503,
            {"status": "fail", "message": "rebuilding"},
        )
        ready.listener.close()
        claimed.close()

    envelope: Any = None
    settings = config.read(node.settings)
    asyncio.run(run())


def test_a_log_that_fails_leaves_the_outcome_open_and_the_node_unwritable(
    make_node: MakeNode, tmp_path: Path
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not here to make the disk fail")
    node = make_node()
    assert node.process is not None
    tracer = subprocess.Popen(
        [
            *("strace", "-f", "-qq", "-o", str(tmp_path / "strace"), "-p", str(node.process.pid)),
            *("-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO"),
        ],
    )
    try:
        eventually(
            lambda: "TracerPid:\t0" not in Path(f"/proc/{node.process.pid}/status").read_text()
        )
        answer = node.session().put_file(b"x")
    finally:
        tracer.terminate()
        tracer.wait()
    assert error_of(answer) in (
        expected("put_file-outcome_unknown"),
        expected("put_file-not_writable"),
    )
    assert error_of(node.session().put_file(b"x")) == expected("put_file-not_writable")


def test_health_says_when_the_clock_is_not_trusted_and_when_it_is_again(
    make_node: MakeNode,
) -> None:
    """No token was verified yet: bytes are not freed, health has the reason, everything else goes on."""
    node = make_node()

    def told() -> str:
        answer = NodeSession(node, None).get("/health/ready")
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
        return str(answer.json()["checks"]["clock"].get("message", ""))

    assert "no bytes are freed" in told()
    assert node.session().get("/api/v1/info").ok
    assert told() == ""
