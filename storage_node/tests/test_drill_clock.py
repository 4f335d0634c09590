"""Drill: the clock of a real node is an hour back, then a year ahead (libfaketime), then right again."""

import time
from pathlib import Path
from typing import Any

import pytest

from storage_node.tests.conftest import MakeNode, eventually
from storage_node.tests.drill_report import say
from storage_node.tests.node_process import NodeProcess, NodeSession

HOUR_SECONDS, YEAR_SECONDS = 3600, 365 * 86400
LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
)


def clocked(make_node: MakeNode) -> tuple[NodeProcess, Path]:
    """A node that takes its wall clock's error from a file, and collects garbage every second."""
    library = next((name for name in LIBRARIES if Path(name).exists()), None)
    if library is None:
        pytest.skip("libfaketime is not installed (Debian: faketime), so no clock can be bent")
    node = make_node(start=False, SE_GC_INTERVAL="1s", SE_EXPIRED_GRACE="0")
    node.directory.mkdir(parents=True, exist_ok=True)
    offset = node.directory / "offset"
    offset.write_text("+0")
    node.environment |= {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    return node, offset


def session_at(node: NodeProcess, shift_seconds: int) -> NodeSession:
    """With a token of the node's own wrong time: the whole world is wrong together, which the node can not know."""
    now = int(time.time()) + shift_seconds
    return NodeSession(node, node.token(iat=now, nbf=now, exp=now + 900))


def clock_message(node: NodeProcess) -> str:
    """What health says of the clock; empty when nothing."""
    checks = NodeSession(node, None).get("/health/ready").json()["checks"]
    return str(checks.get("clock", {}).get("message", ""))


def collected(node: NodeProcess) -> list[dict[str, Any]]:
    """The log lines of garbage collections by the node itself."""
    return [line for line in node.log_lines() if line.get("event") == "garbage"]


def attribute_files(node: NodeProcess) -> int:
    return len(list((node.data_dir / "files").rglob("*.attr.json")))


def assert_nothing_goes(node: NodeProcess, files: int) -> None:
    """Through two of its own collections nothing is freed or marked, and health says why."""
    eventually(lambda: "no bytes are freed" in clock_message(node))
    before = len(collected(node))
    # The first may have begun while the clock was another.
    eventually(lambda: len(collected(node)) >= before + 3)
    for line in collected(node)[before + 1 :]:
        assert line["postponed_reason"]
        assert (line["freed_files"], line["expired_files"]) == (0, 0)
    assert attribute_files(node) == files


def deleted_file(session: NodeSession) -> None:
    """A file that garbage collection would free at once, on a clock it believes."""
    file_id = session.put_file(b"over").json()["file_id"]
    assert session.delete(f"/api/v1/files/{file_id}").status_code == 200


@pytest.mark.drill
def test_on_a_wrong_clock_nothing_is_freed_and_health_says_so_until_it_is_right_again(
    make_node: MakeNode,
) -> None:
    node, offset = clocked(make_node)
    node.start()
    kept = [node.session().put_file(b"kept", ttl_days=1).json()["file_id"] for _ in range(5)]
    for shift_seconds in (-HOUR_SECONDS, YEAR_SECONDS):
        offset.write_text(f"{shift_seconds:+d}")
        session = session_at(node, shift_seconds)
        if shift_seconds < 0:
            deleted_file(session)
        assert session.get("/api/v1/info").ok
        assert_nothing_goes(node, 6 if shift_seconds < 0 else 5)
        offset.write_text("+0")
        # Without a restart: the clock agrees with the monotonic one again, and a token confirms it.
        eventually(lambda: node.session().get("/api/v1/info").ok and clock_message(node) == "")
        eventually(lambda: attribute_files(node) == 5)
    for file_id in kept:
        answer = node.session().get(f"/api/v1/files/{file_id}/download")
        assert (answer.status_code, answer.content) == (200, b"kept")
    say(
        "clock: an hour back and a year ahead on a running node: nothing freed, nothing marked, said in health; normal "
        "again without a restart when the clock was"
    )


@pytest.mark.drill
def test_a_node_started_on_a_wrong_clock_frees_nothing_until_it_is_started_on_a_right_one(
    make_node: MakeNode,
) -> None:
    node, offset = clocked(make_node)
    node.start()
    for _ in range(5):
        node.session().put_file(b"kept", ttl_days=1)
    node.stop()
    offset.write_text(f"{-HOUR_SECONDS:+d}")
    node.start()
    deleted_file(session_at(node, -HOUR_SECONDS))
    assert_nothing_goes(node, 6)
    node.kill()
    offset.write_text(f"{YEAR_SECONDS:+d}")
    node.start()
    # Tokens of the right time are long over by this clock: they open nothing, and confirm nothing.
    assert node.session().get("/api/v1/files").status_code == 401
    assert_nothing_goes(node, 6)
    node.kill()
    offset.write_text("+0")
    node.start()
    eventually(lambda: node.session().get("/api/v1/info").ok and clock_message(node) == "")
    eventually(lambda: attribute_files(node) == 5)
    say(
        "clock: a node started an hour back, then a year ahead: nothing freed, nothing marked, said in health; normal "
        "when started on a right clock"
    )
