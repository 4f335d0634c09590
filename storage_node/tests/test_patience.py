"""Slow and stalled callers: given up when no byte moves, never for the length of a transfer, harmless to others."""

import json
import os
import threading
import time
from collections.abc import Iterator

import pytest
import requests

from storage_node.tests.conftest import MakeNode, eventually
from storage_node.tests.node_process import Certificates, Issuer, NodeProcess, NodeSession
from storage_node.tests.raw_client import RawConnection, connected, head
from storage_node.tests.test_uploads import parts, put_head

MIB = 1 << 20
STALL_SECONDS = 1.0


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, issuer: Issuer
) -> Iterator[NodeProcess]:
    environment = {"SE_STALL_TIMEOUT": f"{STALL_SECONDS}s"}
    with NodeProcess(
        tmp_path_factory.mktemp("impatient"), certificates, issuer, "se-example", environment
    ) as running:
        yield running


def test_a_body_that_stops_coming_is_given_up_with_408_and_leaves_nothing(
    node: NodeProcess,
) -> None:
    with connected(node) as connection:
        connection.send(put_head(node, 5 * MIB, Expect="") + bytes(2 * MIB))
        answer = connection.read_answer()
    assert (answer.status, answer.code) == (408, "REQUEST_STALLED")
    assert parts(node) == []
    assert node.session().get("/api/v1/info").json()["capacity"]["reserved_bytes"] == 0


def test_a_body_never_begun_after_100_continue_is_given_up(node: NodeProcess) -> None:
    with connected(node) as connection:
        connection.send(put_head(node, 10))
        assert connection.read_head()[0] == 100
        assert connection.read_answer().status == 408


def test_headers_that_dawdle_are_given_up_though_bytes_keep_moving(node: NodeProcess) -> None:
    with connected(node) as connection:
        done = threading.Event()

        def drip() -> None:
            connection.send(b"GET /api/v1/files HTTP/1.1\r\nX-Slow: ")
            while not done.wait(STALL_SECONDS / 10):
                connection.send(b"a")

        dripping = threading.Thread(target=drip)
        dripping.start()
        answer = connection.read_answer()
        done.set()
        dripping.join()
    assert (answer.status, answer.code) == (408, "REQUEST_STALLED")


def test_a_connection_that_says_nothing_is_closed(node: NodeProcess) -> None:
    with connected(node) as connection:
        assert connection.is_closed()


def test_a_slow_body_that_keeps_moving_is_taken_however_long_it_is(node: NodeProcess) -> None:
    pieces = 12
    began = time.monotonic()
    with connected(node) as connection:
        connection.send(put_head(node, pieces, Expect=""))
        pause = threading.Event()
        for _ in range(pieces):
            connection.send(b"x")
            pause.wait(STALL_SECONDS / 4)
        assert connection.read_answer().status == 201
    assert time.monotonic() - began > 2 * STALL_SECONDS


def test_a_reader_that_stops_reading_is_cut_off(node: NodeProcess) -> None:
    api = node.session()
    file_id = api.put_file(os.urandom(32 * MIB)).json()["file_id"]
    with connected(node, receive_buffer_bytes=4096) as connection:
        connection.send(
            head(
                "GET",
                f"/api/v1/files/{file_id}/download",
                {"Authorization": f"Bearer {node.token()}"},
            )
        )
        eventually(
            lambda: [
                line
                for line in node.log_lines()
                if line.get("file_id") == file_id and line.get("cut")
            ]
        )
    assert "artstore_node_cut_transfers_total 0.0" not in api.get("/metrics").text


def test_a_slow_reader_that_keeps_reading_gets_everything(node: NodeProcess) -> None:
    api = node.session()
    content = os.urandom(8 * MIB)
    file_id = api.put_file(content).json()["file_id"]
    pause = threading.Event()
    with connected(node, receive_buffer_bytes=65536) as connection:
        connection.send(
            head(
                "GET",
                f"/api/v1/files/{file_id}/download",
                {"Authorization": f"Bearer {node.token()}"},
            )
        )
        began = time.monotonic()
        assert connection.read_head()[0] == 200
        received = bytearray(connection._unread)
        while len(received) < len(content):
            piece = connection.socket.recv(256 * 1024)
            assert piece, "cut off although bytes were moving"
            received += piece
            if time.monotonic() - began < 3 * STALL_SECONDS:
                pause.wait(STALL_SECONDS / 10)
    assert bytes(received) == content


def test_idle_kept_alive_connections_are_kept(node: NodeProcess) -> None:
    with connected(node) as connection:
        for _ in range(3):
            connection.send(head("GET", "/health/live", {}))
            assert connection.read_answer().status == 200
            threading.Event().wait(2 * STALL_SECONDS)


def test_hundreds_of_stalled_callers_leave_others_unharmed(make_node: MakeNode) -> None:
    node = make_node()
    api = node.session()
    big = api.put_file(bytes(16 * MIB)).json()["file_id"]
    token = {"Authorization": f"Bearer {node.token()}"}
    stalled: list[RawConnection] = []
    try:
        for number in range(200):
            connection = RawConnection(node, receive_buffer_bytes=4096)
            stalled.append(connection)
            match number % 4:
                case 0:
                    connection.send(put_head(node, MIB, Expect="") + b"x")
                case 1:
                    connection.send(head("GET", f"/api/v1/files/{big}/download", token))
                case 2:
                    connection.send(b"GET /api/v1/files HTTP/1.1\r\nX-S")
                case _:
                    pass
        content = os.urandom(3 * MIB)
        file_id = api.put_file(content).json()["file_id"]
        assert api.get(f"/api/v1/files/{file_id}/download").content == content
        assert NodeSession(node, None).get("/health/ready").json()["status"] == "ok"
    finally:
        for connection in stalled:
            connection.close()


def test_a_node_told_to_stop_finishes_what_is_under_way(make_node: MakeNode) -> None:
    node = make_node()
    content = os.urandom(MIB)
    with connected(node) as connection:
        request = put_head(node, len(content), Expect="")
        connection.send(request + content[:1000])
        eventually(lambda: parts(node))
        stopping = threading.Thread(target=node.stop)
        stopping.start()
        while True:
            try:
                requests.get(
                    node.base_url + "/health/live", verify=str(node.certificates.ca), timeout=1
                )
            except requests.RequestException:
                break
        connection.send(content[1000:])
        answer = connection.read_answer()
        stopping.join()
    assert answer.status == 201
    node.start()
    file_id = json.loads(answer.body)["file_id"]
    assert node.session().get(f"/api/v1/files/{file_id}/download").content == content
