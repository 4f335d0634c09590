"""Keys rotate in the running system while clients work: nobody is refused, nothing is restarted."""

import itertools
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import jwt
import pytest
import requests

from artstore.tests.live import LiveSystem

PATIENCE_SECONDS = 180.0


class Load:
    """Clients that fetch a token, upload and download, again and again, and note every status."""

    def __init__(self, system: LiveSystem, clients: int) -> None:
        self.system = system
        self.statuses: Counter[str] = Counter()
        self.rounds = itertools.count()
        self.finished_rounds = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._credentials = system.service_account(["files:read", "files:write"])
        self._old_token = self._token(requests.Session())
        self._threads = [threading.Thread(target=self._client) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def token(self) -> str:
        """One asked for now."""
        return self._token(requests.Session())

    def wait_for_rounds(self, more: int) -> None:
        """Until the clients together have done that many more rounds."""
        wanted, deadline = self.finished_rounds + more, time.monotonic() + PATIENCE_SECONDS
        while self.finished_rounds < wanted:
            assert time.monotonic() < deadline, f"the load stands still: {self.statuses}"
            time.sleep(0.05)

    def _client(self) -> None:
        session = requests.Session()
        session.trust_env = False
        while not self._stop.is_set():
            number = next(self.rounds)
            # Every other round with a token that was made before any rotation.
            token = self._old_token if number % 2 else self._token(session)
            self._round(session, token, b"round %d" % number)
            with self._lock:
                self.finished_rounds += 1

    def _token(self, session: requests.Session) -> str:
        answer = session.post(
            f"{self.system.api}/auth/token",
            data={"grant_type": "client_credentials"},
            auth=self._credentials,
            timeout=60,
        )
        self._note("token", answer)
        return str(answer.json()["access_token"])

    def _round(self, session: requests.Session, token: str, content: bytes) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        stored = session.post(
            f"{self.system.api}/files/upload?filename=round.txt",
            data=content,
            headers=headers | {"Content-Type": "text/plain"},
            timeout=60,
        )
        self._note("upload", stored)
        if stored.status_code == 201:
            path = f"{self.system.api}/files/{stored.json()['file_id']}/download"
            fetched = session.get(path, headers=headers, timeout=60)
            self._note("download", fetched)
            assert fetched.content == content

    def _note(self, what: str, answer: requests.Response) -> None:
        with self._lock:
            self.statuses[f"{what} {answer.status_code}"] += 1


def pids(system: LiveSystem) -> dict[str, int]:
    return {name: pid for name, pid in system.ready["pids"].items() if pid}


@pytest.mark.parametrize(
    "clients", [8, pytest.param(50, marks=pytest.mark.drill)], ids=["quick", "fifty_clients"]
)
def test_three_rotations_under_load_refuse_nobody(live_web: LiveSystem, clients: int) -> None:
    admin = live_web.session(live_web.admin_token())
    before, signing = pids(live_web), []
    with Load(live_web, clients) as load:
        load.wait_for_rounds(clients)
        for _ in range(3):
            old = admin.get(f"{live_web.api}/jwt-keys/status", timeout=60).json()
            rotated = admin.post(f"{live_web.api}/jwt-keys/rotate", json={}, timeout=60).json()
            assert rotated["previous_key_id"] == old["active_key_id"]
            load.wait_for_rounds(2 * clients)
            signing.append(kid_of(load.token()))
    assert set(load.statuses) == {"token 200", "upload 201", "download 200"}, load.statuses
    assert len(set(signing)) == 3, "each rotation changed the key that signs"
    assert pids(live_web) == before, "nothing was restarted"
    say(f"3 rotations, {clients} clients, {load.finished_rounds} rounds: {dict(load.statuses)}")


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def say(result: str) -> None:
    """A drill's one line, also for the file of results if there is one."""
    sys.stdout.write(result + "\n")
    if os.environ.get("DRILL_RESULTS"):
        with Path(os.environ["DRILL_RESULTS"]).open("a") as results:
            results.write(result + "\n")
