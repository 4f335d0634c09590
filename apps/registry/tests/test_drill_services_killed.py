"""Drill: PostgreSQL (with the broker in it), a node, the web process and the worker are killed and come back under load.

Clients see errors only while something is down, of the right kind; nothing is lost, nothing is there twice, nobody has to
do anything.
"""

import hashlib
import os
import signal
import threading
import time
import uuid
from dataclasses import dataclass, field

import pytest
import requests

from artstore.tests.live import LiveSystem, eventually
from storage_node.tests.drill_report import say

CLIENTS = 4
# A dead database or node is 502 or 503 (507: no element left that takes it); a dead web process is no answer at all.
WHILE_DOWN = {502, 503, 507}
PATIENCE_SECONDS = 120.0


@dataclass
class Load:
    """Clients that upload under idempotency keys of their own, retry what failed, and read back."""

    system: LiveSystem
    token: str
    over: threading.Event = field(default_factory=threading.Event)
    stored: dict[str, str] = field(default_factory=dict)
    failures: list[tuple[float, int | None, str]] = field(default_factory=list)
    done: int = 0

    def run(self) -> None:
        session = self.system.session(self.token)
        while not self.over.is_set():
            key = uuid.uuid4().hex
            while not self._upload(session, key):
                if self.over.wait(0.2):
                    break
            self._read(session, key)

    def _upload(self, session: requests.Session, key: str) -> bool:
        answer = self._call(
            session,
            "POST",
            f"/files/upload?filename={key}.txt",
            data=key.encode(),
            headers={"Content-Type": "text/plain", "Idempotency-Key": key},
        )
        if answer is None or answer.status_code not in (200, 201):
            return False
        self.stored[key] = answer.json()["file_id"]
        return True

    def _read(self, session: requests.Session, key: str) -> None:
        if key in self.stored:
            answer = self._call(session, "GET", f"/files/{self.stored[key]}/download")
            assert answer is None or answer.status_code != 200 or answer.content == key.encode()

    def _call(
        self, session: requests.Session, method: str, path: str, **more: object
    ) -> requests.Response | None:
        try:
            answer = session.request(method, self.system.api + path, timeout=60, **more)  # type: ignore[arg-type]  # what requests takes
        except requests.RequestException as failure:
            self.failures.append((time.monotonic(), None, type(failure).__name__))
            return None
        self.done += 1
        # 409: the first attempt of this very upload is still being settled.
        if answer.status_code >= 400 and answer.status_code != 409:
            self.failures.append((time.monotonic(), answer.status_code, answer.text[:200]))
        return answer


@pytest.mark.drill
def test_drill_services_are_killed_and_brought_back_under_load() -> None:
    system = LiveSystem(ARTSTORE_SYNC_PERIOD_SECONDS="60")
    try:
        system.up()
        load = Load(system, system.service_token(["files:read", "files:write"]))
        threads = [threading.Thread(target=load.run) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        windows = [killed(system, load, role) for role in ("postgres", "node", "web", "worker")]
        load.over.set()
        for thread in threads:
            thread.join()
        outside = [one for one in load.failures if not any(a <= one[0] <= b for a, b in windows)]
        assert outside == []
        codes = {status for _at, status, _text in load.failures}
        assert codes <= WHILE_DOWN | {None}, [f for f in load.failures if f[1] not in WHILE_DOWN]
        nothing_lost_or_twice(system, load)
        down = sum(end - start for start, end in windows)
        say(
            f"PostgreSQL with the broker, a node, web and worker killed under load: {load.done} calls,"
            f" {len(load.failures)} failed, all within {down:.0f} s of outage, {len(load.stored)} files"
            " stored, none lost, none twice, no manual step"
        )
    finally:
        system.remove()


def killed(system: LiveSystem, load: Load, role: str) -> tuple[float, float]:
    """kill -9; the stretch of time from it until uploads succeed again."""
    settled = len(load.stored) + CLIENTS
    eventually(lambda: len(load.stored) > settled, "the load runs", PATIENCE_SECONDS)
    victim = system.element("node-edit")["pid"] if role == "node" else system.ready["pids"][role]
    began = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: pid_of(system, role) not in (victim, None), f"{role} is back", 120)
    eventually(lambda: works(load), f"uploads work without {role}'s first life", PATIENCE_SECONDS)
    # Calls that began before the end of the outage may fail after it.
    settled = len(load.stored) + 3 * CLIENTS
    eventually(lambda: len(load.stored) > settled, "every client is through", PATIENCE_SECONDS)
    return began, time.monotonic()


def pid_of(system: LiveSystem, role: str) -> int | None:
    try:
        return system.element("node-edit")["pid"] if role == "node" else system.ready["pids"][role]
    except (FileNotFoundError, StopIteration):
        return None


def works(load: Load) -> bool:
    before = len(load.stored)
    time.sleep(0.5)
    return len(load.stored) > before


def nothing_lost_or_twice(system: LiveSystem, load: Load) -> None:
    session = system.session(load.token)
    for key, file_id in load.stored.items():
        answer = session.get(f"{system.api}/files/{file_id}/download", timeout=60)
        assert answer.status_code == 200, (key, answer.status_code, answer.text[:200])
        assert hashlib.sha256(answer.content).digest() == hashlib.sha256(key.encode()).digest()
        found = session.post(
            f"{system.api}/search",
            json={"query": f"{key}.txt", "mode": "exact"},
            timeout=60,
        ).json()
        assert [item["file_id"] for item in found["items"]] == [file_id]
    # Both exit with an error where records and element differ.
    system.manage("sync_elements", "--full")
    system.manage("compare_element", "node-edit")
    system.manage("compare_element", "node-rw")
