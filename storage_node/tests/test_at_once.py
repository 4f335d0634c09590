"""Downloads answered in place: the same answer as the ordinary door's, and never one that has ceased to be true."""

import datetime as dt
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from storage_node.tests.conftest import MakeNode, error_of, eventually, line_of
from storage_node.tests.node_process import NodeProcess, NodeSession
from storage_node.tests.raw_client import connected, head

# A caller's trace id is for the ordinary door.
ORDINARY = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
VARIES = {"date", "x-request-id"}


def stored(api: NodeSession, body: bytes = b"everyday", **attributes: Any) -> str:
    """A file that was downloaded once, so that the next download is answered in place."""
    file_id = str(api.put_file(body, **attributes).json()["file_id"])
    assert api.get(f"/api/v1/files/{file_id}/download").content == body
    return file_id


def facts(answer: requests.Response) -> tuple[int, bytes, Mapping[str, str]]:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return (
        answer.status_code,
        answer.content,
        {name: value for name, value in headers.items() if name not in VARIES},
    )


@pytest.mark.parametrize("size_bytes", [0, 1, 4096, 64 * 1024, 64 * 1024 + 1])
def test_it_is_the_ordinary_answer_to_the_byte(api: NodeSession, size_bytes: int) -> None:
    address = f"/api/v1/files/{stored(api, os.urandom(size_bytes), original_filename='отчёт.pdf')}/download"
    assert facts(api.get(address)) == facts(api.get(address, headers=ORDINARY))


def test_it_has_its_line_in_the_log_and_its_count(node: NodeProcess, api: NodeSession) -> None:
    file_id = stored(api)
    answer = api.get(f"/api/v1/files/{file_id}/download", headers={"X-Request-ID": "everyday-1"})
    assert answer.headers["X-Request-ID"] == "everyday-1"
    line = line_of(node, "everyday-1")
    told = (line["route"], line["status"], line["file_id"], line["bytes_out"], line["path"])
    assert told == ("download_file", 200, file_id, 8, f"/api/v1/files/{file_id}/download")
    assert line["principal"]


def test_a_deleted_file_is_gone_at_the_next_request(api: NodeSession) -> None:
    file_id = stored(api)
    assert api.delete(f"/api/v1/files/{file_id}").status_code == 200
    assert error_of(api.get(f"/api/v1/files/{file_id}/download")) == (410, "FILE_GONE")


def test_a_file_past_its_time_is_gone_whether_or_not_it_was_downloaded_before(
    api: NodeSession,
) -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=3)
    file_id = stored(api, retention_policy="temporary", expires_at=soon.isoformat())
    address = f"/api/v1/files/{file_id}/download"
    eventually(lambda: api.get(address).status_code != 200)
    gone = api.get(address)
    assert error_of(gone) == (410, "FILE_GONE")


def cut(content: Path) -> None:
    os.truncate(content, 100)


def grown(content: Path) -> None:
    with content.open("ab") as file:
        file.write(b"more")


def removed(content: Path) -> None:
    content.unlink()


@pytest.mark.parametrize("harm", [cut, grown, removed])
def test_a_file_harmed_on_the_disk_is_damaged_however_often_it_was_downloaded(
    node: NodeProcess, api: NodeSession, harm: Callable[[Path], None]
) -> None:
    file_id = stored(api, b"x" * 4096)
    address = f"/api/v1/files/{file_id}/download"
    leaf = node.data_dir / "files" / file_id[:2] / file_id[2:4]
    content = eventually(lambda: list(leaf.glob(f"[!.]*{file_id}.bin")))[0]
    for _ in range(3):
        assert api.get(address).content == b"x" * 4096
    harm(content)
    assert error_of(api.get(address)) == (409, "FILE_DAMAGED")


def test_a_token_without_the_scope_or_without_time_left_is_refused_as_ever(
    node: NodeProcess, api: NodeSession
) -> None:
    address = f"/api/v1/files/{stored(api)}/download"
    writer = node.session("files:write")
    for _ in range(2):
        assert error_of(writer.get(address)) == (403, "FORBIDDEN")
    assert requests.get(node.base_url + address, verify=api.verify, timeout=60).status_code == 401


def test_a_mode_that_forbids_downloads_forbids_them_at_once(make_node: MakeNode) -> None:
    api = make_node(SE_MODE="rw").session()
    address = f"/api/v1/files/{stored(api)}/download"
    for mode in ("ro", "ar"):
        assert api.get(address).status_code == 200
        moved = api.post("/api/v1/mode/transition", json={"target_mode": mode})
        assert moved.status_code == 200
    assert error_of(api.get(address)) == (409, "MODE_NOT_ALLOWED")


def test_two_requests_in_one_packet_get_two_answers_in_order(
    node: NodeProcess, api: NodeSession
) -> None:
    first, second = stored(api, b"first"), stored(api, b"second")
    asked = [
        head(
            "GET",
            f"/api/v1/files/{file_id}/download",
            {"Authorization": str(api.headers["Authorization"])},
        )
        for file_id in (first, second)
    ]
    with connected(node) as connection:
        connection.send(b"".join(asked))
        assert [connection.read_answer().body for _ in asked] == [b"first", b"second"]
