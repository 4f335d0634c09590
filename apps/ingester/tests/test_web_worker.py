"""Whom gunicorn's threads and its one loop wait for, and whom not."""

import re
import socket
import threading
from pathlib import Path

import pytest
import requests

from apps.ingester.tests.web_process import WebProcess

pytestmark = pytest.mark.django_db

ASKED = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_clients_that_do_not_hang_up_stop_nobody(web: WebProcess) -> None:
    """gunicorn's own loop would wait two seconds for each of them, one after the other."""
    lines = []
    for _ in range(20):
        lines.append(socket.create_connection(("127.0.0.1", web.port), timeout=60))
        lines[-1].sendall(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert requests.get(web.base_url + "/health/live", timeout=15).ok
    for line in lines:
        assert line.recv(12) == b"HTTP/1.1 404"
        line.close()


def test_requests_sent_at_once_are_answered_in_their_order(web: WebProcess) -> None:
    last = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", web.port), timeout=60) as line:
        line.sendall(ASKED % b"/health/live" + ASKED % b"/nowhere" + last)
        answers = b"".join(iter(lambda: line.recv(65536), b""))
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"404", b"200"]


def test_clients_that_ask_without_pause_leave_the_threads_to_others(
    transactional_db: None,
    tmp_path: Path,
) -> None:
    web = WebProcess(tmp_path / "web.log", threads=1).start()
    began, enough = threading.Event(), threading.Event()
    answers: list[int] = []

    def ask() -> None:
        with requests.Session() as session:
            while not enough.is_set():
                answer = session.get(f"{web.base_url}/health/live", timeout=60)
                answers.append(answer.status_code)
                began.set()

    busy = threading.Thread(target=ask)
    try:
        busy.start()
        assert began.wait(60)
        for _ in range(10):
            assert requests.get(f"{web.base_url}/health/live", timeout=30).ok
    finally:
        enough.set()
        busy.join()
        web.stop()
    assert set(answers) == {200}
