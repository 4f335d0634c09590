"""Two hundred people and programs at once, for minutes: everything answers and nothing grows.

Lasts DRILL_SECONDS (600), after a minute in which pools, threads and caches are made.
"""

import collections
import os
import random
import statistics
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest
import requests

from artstore.tests.live import LiveSystem
from storage_node.tests.drill_report import say, seconds

SIZES = (100, 4_096, 4_096, 4_096, 100_000, 1_500_000)


@dataclass
class Crowd:
    """Clients that upload, search, download and list, each in its own order."""

    system: LiveSystem
    token: str
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    taken: dict[str, list[float]] = field(default_factory=lambda: collections.defaultdict(list))
    wrong: list[str] = field(default_factory=list)
    files: list[tuple[str, int]] = field(default_factory=list)

    def run(self, clients: int, lasting_seconds: float) -> None:
        threads = [threading.Thread(target=self._client, args=(n,)) for n in range(clients)]
        for thread in threads:
            thread.start()
        time.sleep(lasting_seconds)
        self.over.set()
        for thread in threads:
            thread.join(120)

    def _client(self, number: int) -> None:
        lots = random.Random(number)
        acts = [self._upload, self._search, self._download, self._download, self._list]
        with self.system.session(self.token) as session:
            while not self.over.is_set():
                self._timed(lots.choice(acts), session, lots)
                # People and programs think between their requests.
                self.over.wait(lots.random())

    def _timed(self, act: Any, session: requests.Session, lots: random.Random) -> None:
        began = time.monotonic()
        try:
            wrong = act(session, lots)
        except requests.RequestException as failure:
            wrong = repr(failure)
        with self.lock:
            self.taken[act.__name__.strip("_")].append(time.monotonic() - began)
            if wrong:
                self.wrong.append(f"{act.__name__}: {wrong}"[:300])

    def _upload(self, session: requests.Session, lots: random.Random) -> str:
        size = lots.choice(SIZES)
        answer = session.post(
            f"{self.system.api}/files/upload",
            params={"filename": f"mixed-{uuid.uuid4().hex[:8]}.bin"},
            data=os.urandom(size),
            timeout=120,
        )
        if answer.status_code == 201:
            with self.lock:
                self.files.append((answer.json()["file_id"], size))
            return ""
        return f"{answer.status_code} {answer.text[:200]}"

    def _download(self, session: requests.Session, lots: random.Random) -> str:
        with self.lock:
            file_id, size = lots.choice(self.files) if self.files else ("", 0)
        if not file_id:
            return ""
        answer = session.get(f"{self.system.api}/files/{file_id}/download", timeout=120)
        return "" if len(answer.content) == size else f"{answer.status_code} of {size} bytes"

    def _search(self, session: requests.Session, lots: random.Random) -> str:
        asked = {"query": "mixed", "mode": lots.choice(["partial", "fulltext"]), "limit": 20}
        answer = session.post(f"{self.system.api}/search", json=asked, timeout=120)
        return "" if answer.status_code == 200 else f"{answer.status_code} {answer.text[:200]}"

    def _list(self, session: requests.Session, lots: random.Random) -> str:
        answer = session.get(f"{self.system.api}/files", params={"limit": 50}, timeout=120)
        return "" if answer.status_code == 200 else f"{answer.status_code} {answer.text[:200]}"


def memory_bytes(system: LiveSystem) -> int:
    """Of every process of the system but the database, whose shared pages fill with use."""
    total = 0
    for process in psutil.process_iter(["environ", "name"]):
        told = process.info["environ"] or {}
        if told.get("ARTSTORE_HOME") == str(system.home) and process.info["name"] != "postgres":
            total += process.memory_info().rss
    return total


@pytest.mark.drill
def test_mixed_clients_get_no_5xx_and_memory_stays_flat(live_web: LiveSystem) -> None:
    clients, lasting = 200, seconds(600.0)
    token = live_web.service_token(["files:read", "files:write"])
    # Threads, pools and caches are made by the first of each kind; what counts comes after.
    Crowd(live_web, token).run(clients, 60.0)
    before = memory_bytes(live_web)
    crowd = Crowd(live_web, token)
    crowd.run(clients, lasting)
    grown = memory_bytes(live_web) - before
    assert not crowd.wrong, (len(crowd.wrong), crowd.wrong[:5])
    assert grown < 64 * 1024 * 1024, grown
    told = ", ".join(
        f"{name} {len(taken)} (p50 {statistics.median(taken) * 1000:.0f}, "
        f"p95 {sorted(taken)[int(len(taken) * 0.95)] * 1000:.0f} ms)"
        for name, taken in sorted(crowd.taken.items())
    )
    say(f"{clients} mixed clients for {lasting:.0f} s: no 5xx; {told}; memory +{grown >> 20} MiB")
