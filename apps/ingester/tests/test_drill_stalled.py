"""Clients that hardly move: many of them leave all others unharmed."""

import os
import selectors
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from apps.ingester.tests.site import Site
from apps.ingester.tests.test_upload_api import upload_url
from apps.ingester.tests.web_process import WebProcess
from storage_node.tests.drill_report import say

pytestmark = pytest.mark.django_db

MIB = 1024 * 1024
# As docs/operations.md sizes it: more threads than slow clients, and some to spare.
THREADS = 1100
GATHERING = 10


@pytest.fixture(scope="module")
def roomy(site: Site) -> WebProcess:
    return site.web(
        ARTSTORE_WEB_THREADS=str(THREADS),
        ARTSTORE_DATABASE_POOL_SIZE="16",
        ARTSTORE_CLIENT_STALL_SECONDS="60",
    )


@pytest.fixture(scope="module")
def kept(roomy: WebProcess, token: str) -> str:
    """A file too large for anybody's socket buffers."""
    answer = requests.post(
        f"{upload_url(roomy)}?filename=large.bin",
        data=os.urandom(32 * MIB),
        headers={"Authorization": f"Bearer {token}"},
        timeout=120,
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["file_id"])


class Crawlers:
    """Uploads that send, and downloads that take, one byte a second, from one thread."""

    def __init__(self, web: WebProcess, token: str) -> None:
        self._web, self._token = web, token
        self._uploads: list[socket.socket] = []
        self._downloads: list[socket.socket] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._crawl, daemon=True)
        self.lost = 0

    def add_upload(self, first_bytes: int) -> None:
        head = (
            "POST /api/v1/files/upload?filename=slow.bin HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {self._token}\r\nContent-Length: {4 * MIB}\r\n\r\n"
        )
        line = socket.create_connection(("127.0.0.1", self._web.port), timeout=60)
        line.sendall(head.encode() + b"x" * first_bytes)
        self._uploads.append(line)

    def add_download(self, file_id: str) -> None:
        line = socket.socket()
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(60)
        line.connect(("127.0.0.1", self._web.port))
        line.sendall(
            f"GET /api/v1/files/{file_id}/download HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {self._token}\r\n\r\n".encode()
        )
        self._downloads.append(line)

    def __enter__(self) -> "Crawlers":
        self._thread.start()
        return self

    def __exit__(self, *_details: object) -> None:
        self._over.set()
        self._thread.join(30)
        for line in self._uploads + self._downloads:
            line.close()

    def _crawl(self) -> None:
        while not self._over.wait(1):
            with selectors.DefaultSelector() as ready:
                for line in self._downloads:
                    ready.register(line, selectors.EVENT_READ)
                readable = [key.fileobj for key, _events in ready.select(0)]
            self.lost += sum(not _moves(line.recv, 1) for line in readable)  # type: ignore[union-attr]
            self.lost += sum(not _moves(line.send, b"x") for line in self._uploads)


def _moves(act: Any, what: Any) -> bool:
    try:
        return bool(act(what))
    except OSError:
        return False


def others(web: WebProcess, token: str, rounds: int) -> list[float]:
    """Seconds that everybody else's requests take; each of them has to succeed."""
    taken = []
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {token}"
        for number in range(rounds):
            began = time.monotonic()
            sent = session.post(
                f"{upload_url(web)}?filename=quick-{number}.bin", data=b"x" * 4096, timeout=60
            )
            assert sent.status_code == 201, sent.text
            url = f"{web.base_url}/api/v1/files/{sent.json()['file_id']}"
            assert session.get(f"{url}/download", timeout=60).content == b"x" * 4096
            assert session.get(f"{web.base_url}/health/live", timeout=60).status_code == 200
            found = session.post(
                f"{web.base_url}/api/v1/search", json={"query": f"quick-{number}"}, timeout=60
            )
            assert found.status_code == 200, found.text
            taken.append((time.monotonic() - began) / 4)
    return taken


def downloads_running(site: Site) -> float:
    return site.metric("artstore_downloads_running")


@pytest.fixture
def nobody_left(site: Site) -> Iterator[None]:
    yield
    site.wait_for(lambda: site.metric("artstore_uploads_running") == 0, 120)


@pytest.mark.usefixtures("nobody_left")
@pytest.mark.parametrize("clients", [30, pytest.param(500, marks=pytest.mark.drill)])
def test_stalled_uploads_and_downloads_do_not_stop_other_requests(
    site: Site, roomy: WebProcess, token: str, kept: str, clients: int
) -> None:
    quiet = others(roomy, token, 10)
    with Crawlers(roomy, token) as crawlers:
        for number in range(clients):
            # Every tenth has bytes on the element already.
            crawlers.add_upload(MIB + MIB // 2 if number % 10 == 0 else 1)
            crawlers.add_download(kept)
            # They gather; five hundred full socket buffers at once would be another drill.
            if number % GATHERING == GATHERING - 1:
                site.wait_for(lambda: downloads_running(site) > number, 180)  # noqa: B023 - asked at once
        busy = others(roomy, token, 20)
        assert crawlers.lost == 0
    say(
        f"{clients} stalled uploads and {clients} stalled downloads: others' requests median "
        f"{statistics.median(busy) * 1000:.0f} ms, slowest {max(busy) * 1000:.0f} ms "
        f"(alone {statistics.median(quiet) * 1000:.0f} ms); none failed"
    )
