"""A load of uploads, edits and deletions on a real node over TLS that remembers what was acknowledged, and the look
afterwards whether all of it is there.

Each caller changes files of its own, one change at a time, so for every file at most one change is open when the node goes
away: the file must then be as acknowledged, or as the open change would make it.
"""

import hashlib
import http.client
import itertools
import json
import os
import random
import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage_node.tests.node_process import NodeProcess, attributes_header

CALLERS = 16
FILES_PER_CALLER = 24
SIZES_BYTES = (0, 200, 4096, 30_000, 65_536, 65_537, 250_000)
_POOL = os.urandom(2**20)
# (revision, description, status); None where the file is not there.
State = tuple[int, str | None, str] | None


class Wire:
    """One kept-alive TLS connection to a node."""

    def __init__(
        self, node: NodeProcess, token: str, context: ssl.SSLContext | None = None
    ) -> None:
        context = context or ssl.create_default_context(cafile=str(node.certificates.ca))
        self._connection = http.client.HTTPSConnection(
            "127.0.0.1", node.port, context=context, timeout=60
        )
        self._headers = {"Authorization": f"Bearer {token}"}

    def call(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """(status, body); raises `OSError` or `HTTPException` when the connection breaks."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body=body, headers=self._headers | named)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """The JSON of an answer that must be a good one."""
        status, raw = self.call(method, path, body)
        assert status < 300, f"{method} {path}: {status} {raw[:500]!r}"
        return json.loads(raw)

    def close(self) -> None:
        """Lets go of the connection."""
        self._connection.close()


@dataclass
class Known:
    """One file as its caller knows it. `open` is what the change without an answer would make of it."""

    checksum: str
    size: int
    acknowledged: State
    open: State = None
    is_open: bool = False

    @property
    def allowed(self) -> set[State]:
        """What may be found. A deleted file may be gone as well: garbage collection runs too."""
        states = {self.acknowledged, self.open} if self.is_open else {self.acknowledged}
        if any(state is not None and state[2] == "deleted" for state in states):
            states.add(None)
        return states


@dataclass
class Faults:
    """What must not be."""

    lost: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[str]:
        """Every one, with its kind."""
        return [
            f"{kind}: {text}"
            for kind in ("lost", "torn", "leftovers")
            for text in getattr(self, kind)
        ]


class Caller:
    """Changes files of its own, in a thread, until it is told to stop or the node is gone."""

    def __init__(self, load: "Load", number: int) -> None:
        self.thread = threading.Thread(target=self._run, name=f"caller-{number}", daemon=True)
        self._load = load
        self._files = load.files[number]
        self._random = random.Random(load.seed * 1000 + number)
        self.statuses: dict[int, int] = {}

    def _run(self) -> None:
        wire = Wire(self._load.node, self._load.token, self._load.context)
        while not self._load.stopping.is_set():
            try:
                self._change_something(wire)
            except (OSError, http.client.HTTPException):
                return
        wire.close()

    def _change_something(self, wire: Wire) -> None:
        settled = [
            file_id
            for file_id, known in self._files.items()
            if not known.is_open and known.acknowledged and known.acknowledged[2] == "active"
        ]
        dice = self._random.random()
        crowded = len(settled) >= FILES_PER_CALLER
        if not settled or (dice < 0.5 and not crowded):
            self._upload(wire)
        elif dice < 0.75:
            self._edit(wire, self._random.choice(settled))
        else:
            self._delete(wire, self._random.choice(settled))

    def _upload(self, wire: Wire) -> None:
        size = self._random.choice(SIZES_BYTES)
        start = self._random.randrange(len(_POOL) - size)
        body = (uuid.uuid4().bytes + _POOL[start : start + size])[:size]
        file_id = str(uuid.uuid4())
        known = Known(hashlib.sha256(body).hexdigest(), size, None, (1, None, "active"), True)
        self._files[file_id] = known
        header = attributes_header({"original_filename": f"отчёт {size}.bin"})
        path = f"/api/v1/files/{file_id}"
        self._settle(known, *wire.call("PUT", path, body, X_ArtStore_Attributes=header))

    def _edit(self, wire: Wire, file_id: str) -> None:
        known = self._files[file_id]
        assert known.acknowledged is not None
        text = uuid.uuid4().hex * self._random.choice((1, 20))
        known.open, known.is_open = (known.acknowledged[0] + 1, text, "active"), True
        body = json.dumps({"description": text}).encode()
        headers = {"Content_Type": "application/json"}
        answer = wire.call("PATCH", f"/api/v1/files/{file_id}", body, **headers)
        self._settle(known, *answer)

    def _delete(self, wire: Wire, file_id: str) -> None:
        known = self._files[file_id]
        assert known.acknowledged is not None
        revision, text, _ = known.acknowledged
        known.open, known.is_open = (revision + 1, text, "deleted"), True
        self._settle(known, *wire.call("DELETE", f"/api/v1/files/{file_id}"))

    def _settle(self, known: Known, status: int, raw: bytes) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status < 300:
            known.acknowledged, known.is_open = known.open, False
            self._load.acknowledged += 1
            return
        self._load.refused += 1
        if b"OUTCOME_UNKNOWN" not in raw:
            # Any other refusal promises that nothing was changed.
            known.is_open = False
        # A refusal costs the node nothing; asking again at once would only keep it from others.
        time.sleep(0.002)


class Load:
    """Sixteen callers and, where wanted, housekeeping beside them. What they know outlives a restart of the node."""

    def __init__(self, node: NodeProcess, callers: int = CALLERS, seed: int = 1) -> None:
        self.node = node
        self.seed = seed
        self.files: list[dict[str, Known]] = [{} for _ in range(callers)]
        self.acknowledged = 0
        self.refused = 0
        self.statuses: dict[int, int] = {}
        self.stopping = threading.Event()
        self.token = ""
        self.context = ssl.create_default_context(cafile=str(node.certificates.ca))
        self.findings: list[str] = []
        self._running: list[Caller] = []
        self._housekeeper: threading.Thread | None = None

    def start(self, housekeeping: bool = False) -> None:
        """Begins; callers end by themselves when the node is gone."""
        self.token = self.node.token()
        self.stopping.clear()
        self.seed += 1
        self._running = [Caller(self, number) for number in range(len(self.files))]
        for caller in self._running:
            caller.thread.start()
        if housekeeping:
            self._housekeeper = threading.Thread(target=self._keep_house, daemon=True)
            self._housekeeper.start()

    def _keep_house(self) -> None:
        """Garbage collection and reconcile in turn, so that a kill can meet both of them and the checkpoint."""
        wire = Wire(self.node, self.token, self.context)
        for path in itertools.cycle(("collect-garbage", "reconcile?wait=true")):
            if self.stopping.wait(0.05):
                break
            try:
                status, raw = wire.call("POST", f"/api/v1/maintenance/{path}")
            except (OSError, http.client.HTTPException):
                return
            if status == 200 and json.loads(raw).get("items") and path.startswith("reconcile"):
                self.findings.append(raw.decode())
        wire.close()

    def wait_for(self, acknowledged: int, within_seconds: float = 60.0) -> None:
        """Returns when that many changes have been acknowledged in all."""
        deadline = time.monotonic() + within_seconds
        while self.acknowledged < acknowledged:
            assert time.monotonic() < deadline, f"{self.acknowledged} of {acknowledged} changes"
            assert any(caller.thread.is_alive() for caller in self._running), (
                "every caller has ended"
            )
            time.sleep(0.005)

    def wait_for_refusals(self, more: int, within_seconds: float = 60.0) -> None:
        """Returns when that many further changes have been refused."""
        wanted, deadline = self.refused + more, time.monotonic() + within_seconds
        while self.refused < wanted:
            assert time.monotonic() < deadline, f"{self.refused} of {wanted} refusals"
            assert any(caller.thread.is_alive() for caller in self._running), "callers have ended"
            time.sleep(0.005)

    def present(self) -> list[str]:
        """Ids of the files that are surely there."""
        return [
            file_id
            for files in self.files
            for file_id, known in list(files.items())
            if not known.is_open and known.acknowledged and known.acknowledged[2] == "active"
        ]

    def keep(self, body: bytes) -> str:
        """The id for a file of `body` that somebody else uploads, to be found in the end like the others."""
        file_id = str(uuid.uuid4())
        state = (1, None, "active")
        self.files[0][file_id] = Known(
            hashlib.sha256(body).hexdigest(), len(body), None, state, True
        )
        return file_id

    def forget(self, file_id: str) -> None:
        """Somebody else deleted it."""
        for files in self.files:
            if file_id in files:
                revision, text, _ = files[file_id].acknowledged or (0, None, "")
                files[file_id].acknowledged = (revision + 1, text, "deleted")

    def read_all(self) -> int:
        """Downloads every file that is surely there and compares; how many."""
        wire, read = Wire(self.node, self.node.token(), self.context), 0
        known_of = {
            file_id: known for files in self.files for file_id, known in list(files.items())
        }
        for file_id in self.present():
            status, body = wire.call("GET", f"/api/v1/files/{file_id}/download")
            if status == 410 and self._running:
                continue  # its caller was faster
            assert status == 200, f"{file_id}: {status} {body[:300]!r}"
            assert hashlib.sha256(body).hexdigest() == known_of[file_id].checksum
            read += 1
        wire.close()
        return read

    def join(self) -> None:
        """Returns when every caller has ended."""
        for caller in self._running:
            caller.thread.join()
            for status, count in caller.statuses.items():
                self.statuses[status] = self.statuses.get(status, 0) + count
        self._running = []
        if self._housekeeper is not None:
            self._housekeeper.join()
            self._housekeeper = None

    def stop(self) -> None:
        """Lets every caller finish what it is at."""
        self.stopping.set()
        self.join()

    def check(self) -> Faults:
        """Compares a restarted node with what is known; afterwards nothing is open any more."""
        faults = Faults()
        faults.torn += [f"reconcile under load: {text}" for text in self.findings]
        wire = Wire(self.node, self.node.token(), self.context)
        told = {item["file_id"]: item for item in listing(wire)}
        for files in self.files:
            for file_id, known in list(files.items()):
                _compare(file_id, known, told.pop(file_id, None), faults)
                known.is_open = False
                if known.acknowledged is None or known.acknowledged[2] == "deleted":
                    del files[file_id]
        faults.leftovers += [f"{file_id} is listed and nobody sent it" for file_id in told]
        wire.ask("POST", "/api/v1/maintenance/collect-garbage")
        _look_into(self.node.data_dir, listing(wire), faults)
        wire.close()
        return faults


def listing(wire: Wire) -> Iterator[dict[str, Any]]:
    """Every file the node lists, of whatever status."""
    cursor = ""
    while True:
        page = wire.ask("GET", f"/api/v1/files?limit=1000{cursor}")
        yield from page["items"]
        if not page["has_more"]:
            return
        cursor = f"&cursor={page['next_cursor']}"


def _compare(file_id: str, known: Known, told: dict[str, Any] | None, faults: Faults) -> None:
    state = None if told is None else (told["revision"], told["description"], told["status"])
    if state not in known.allowed:
        faults.lost.append(f"{file_id}: {state} found, {known.allowed} allowed")
    if told is not None and (told["checksum"], told["size"]) != (known.checksum, known.size):
        faults.torn.append(f"{file_id}: other bytes than sent are listed")
    known.acknowledged = state


def _look_into(data_dir: Path, items: Iterator[dict[str, Any]], faults: Faults) -> None:
    """After garbage collection: two files for each listed one, whole and agreeing, and nothing else anywhere."""
    expected = {item["file_id"]: item for item in items}
    seen = set()
    for path in (data_dir / "files").rglob("*"):
        if path.is_dir():
            continue
        if not path.name.endswith(".attr.json"):
            if not Path(f"{path}.attr.json").exists():
                faults.leftovers.append(str(path))
            continue
        written = json.loads(path.read_bytes())
        item = expected.get(written["file_id"])
        seen.add(written["file_id"])
        body = path.with_name(written["stored_name"])
        if item is None:
            faults.leftovers.append(str(path))
        elif not body.exists() or hashlib.sha256(body.read_bytes()).hexdigest() != item["checksum"]:
            faults.torn.append(str(body))
        elif {name: written[name] for name in item} != item:
            faults.torn.append(f"{path} disagrees with the listing")
    faults.lost += [f"{file_id} is listed and not on disk" for file_id in expected.keys() - seen]
    for folder in ("incoming", "quarantine"):
        faults.leftovers += [str(path) for path in (data_dir / folder).iterdir()]
