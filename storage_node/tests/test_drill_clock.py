"""Drill: the clock of a real node is an hour back, then a year ahead (libfaketime), then right again."""

from pathlib import Path
from typing import Any

import pytest

from storage_node.tests.conftest import MakeNode, eventually
from storage_node.tests.drill_report import say
from storage_node.tests.node_process import NodeProcess, NodeSession

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


def clock_message(node: NodeProcess) -> str:
    """What health says of the clock; empty when nothing."""
    ready = NodeSession(node, None).get("/health/ready")
    assert ready.status_code == 200
    return str(ready.json()["checks"]["clock"].get("message", ""))


def collected(node: NodeProcess) -> list[dict[str, Any]]:
    """The log lines of garbage collections by the node itself."""
    return [line for line in node.log_lines() if line.get("event") == "garbage"]


def assert_nothing_goes(node: NodeProcess, files: int) -> None:
    """Through two of its own collections nothing is freed or marked, and health says why."""
    eventually(lambda: "no bytes are freed" in clock_message(node))
    before = len(collected(node))
    eventually(lambda: len(collected(node)) >= before + 2)
    for line in collected(node)[before:]:
        assert line["postponed_reason"]
        assert (line["freed_files"], line["expired_files"]) == (0, 0)
    assert len(list((node.data_dir / "files").rglob("*.attr.json"))) == files


@pytest.mark.drill
def test_on_a_wrong_clock_nothing_is_freed_and_health_says_so_until_it_is_right_again(
    make_node: MakeNode,
) -> None:
    node, offset = clocked(make_node)
    # From the start an hour back against what wrote the files: no token of now is good, and nothing goes.
    node.start()
    api = node.session()
    kept = [api.put_file(b"kept", ttl_days=1).json()["file_id"] for _ in range(5)]
    for shift in ("-3600", "+31536000"):
        offset.write_text(shift)
        eventually(lambda: clock_message(node) != "")
        over = api.put_file(b"over").json().get("file_id") if shift == "-3600" else None
        assert over is None or api.delete(f"/api/v1/files/{over}").status_code == 200
        assert_nothing_goes(node, len(kept) + 1)
        node.kill()
        node.start()
        # Also when it was wrong from the start, where nothing drifted.
        assert_nothing_goes(node, len(kept) + 1)
        offset.write_text("+0")
        node.kill()
        node.start()
    eventually(lambda: node.session().get("/api/v1/info").ok and clock_message(node) == "")
    eventually(lambda: len(list((node.data_dir / "files").rglob("*.attr.json"))) == len(kept))
    for file_id in kept:
        answer = node.session().get(f"/api/v1/files/{file_id}/download")
        assert (answer.status_code, answer.content) == (200, b"kept")
    say(
        "clock: an hour back and a year ahead, while running and from the start: nothing freed, nothing marked, said "
        "in health; normal again when the clock was"
    )
