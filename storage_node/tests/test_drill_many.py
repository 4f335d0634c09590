"""Drill: five hundred callers that hardly move, and two hundred that do everything at once for ten minutes."""

import http.client
import json
import os
import random
import resource
import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from storage_node.tests.conftest import MakeNode
from storage_node.tests.drill_load import Wire
from storage_node.tests.drill_report import percentile, say, seconds
from storage_node.tests.node_process import NodeProcess, attributes_header
from storage_node.tests.raw_client import RawConnection, head
from storage_node.tests.test_uploads import put_head

MIB = 2**20
MEMORY_GROWTH_BYTES = 48 * MIB
FILES_PER_CLIENT = 8
_POOL = os.urandom(4 * MIB)


class Times:
    """How long calls took and how they were answered, by kind. Any thread adds."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}
        self.statuses: dict[int, int] = {}
        self.broken: list[str] = []

    def told(self, kind: str) -> str:
        taken = self.taken.get(kind, [])
        marks = (f"{percentile(taken, share) * 1000:.0f}" for share in (0.5, 0.95, 0.99))
        return f"{kind} {'/'.join(marks)} ms of {len(taken)}"

    def timed(self, kind: str, wire: Wire, *call: str | bytes, **headers: str) -> tuple[int, bytes]:
        began = time.monotonic()
        status, body = wire.call(*call, **headers)  # type: ignore[arg-type]  # method, path, body
        self.taken.setdefault(kind, []).append(time.monotonic() - began)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        return status, body


class Client:
    """Uploads, reads back, lists, edits and deletes files of its own over one connection."""

    def __init__(self, node: NodeProcess, context: ssl.SSLContext, times: Times) -> None:
        self._node, self._context, self._times = node, context, times
        self._random = random.Random(os.urandom(8))
        self._files: dict[str, bytes] = {}
        self._wire = Wire(node, node.token(), context)

    def run(self, until: threading.Event) -> None:
        """Goes on until told to stop; a token lasts fifteen minutes, a connection as long as it likes."""
        began = time.monotonic()
        while not until.is_set():
            try:
                self._call_something()
            except (OSError, http.client.HTTPException) as error:
                self._times.broken.append(repr(error))
                return
            if time.monotonic() - began > 600:
                self._wire.close()
                self._wire, began = (
                    Wire(self._node, self._node.token(), self._context),
                    time.monotonic(),
                )
        self._wire.close()

    def _call_something(self) -> None:
        dice = self._random.random()
        if not self._files or (dice < 0.25 and len(self._files) < FILES_PER_CLIENT):
            self._upload()
            return
        file_id = self._random.choice(list(self._files))
        path = f"/api/v1/files/{file_id}"
        if dice < 0.65:
            status, body = self._times.timed("download", self._wire, "GET", f"{path}/download")
            assert (status, body == self._files[file_id]) == (200, True), f"{status} {body[:200]!r}"
        elif dice < 0.8:
            self._times.timed("list", self._wire, "GET", "/api/v1/files?limit=50")
        elif dice < 0.9:
            body = json.dumps({"description": uuid.uuid4().hex}).encode()
            headers = {"Content_Type": "application/json"}
            self._times.timed("edit", self._wire, "PATCH", path, body, **headers)
        else:
            self._times.timed("delete", self._wire, "DELETE", path)
            del self._files[file_id]

    def _upload(self) -> None:
        size = self._random.choice((200, 4096, 4096, 40_000, 100_000, MIB))
        start = self._random.randrange(len(_POOL) - size)
        body, file_id = _POOL[start : start + size], str(uuid.uuid4())
        header = attributes_header({"original_filename": "смесь.bin"})
        path = f"/api/v1/files/{file_id}"
        status, raw = self._times.timed(
            "upload", self._wire, "PUT", path, body, X_ArtStore_Attributes=header
        )
        assert status == 201, f"{status} {raw[:200]!r}"
        self._files[file_id] = body


def memory_bytes(node: NodeProcess) -> int:
    """Resident memory of the node and its children."""
    assert node.process is not None
    main = node.process.pid
    children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    total = 0
    for pid in (str(main), *children):
        with suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return total * resource.getpagesize()


def mixed(node: NodeProcess, clients: int, lasting_seconds: float) -> tuple[Times, list[int]]:
    """(times, memory once a second) of so many clients for so long."""
    times, until = Times(), threading.Event()
    context = ssl.create_default_context(cafile=str(node.certificates.ca))
    threads = [
        threading.Thread(target=Client(node, context, times).run, args=(until,), daemon=True)
        for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    memory = []
    ends = time.monotonic() + lasting_seconds
    while time.monotonic() < ends:
        time.sleep(min(1.0, lasting_seconds / 10))
        memory.append(memory_bytes(node))
    until.set()
    for thread in threads:
        thread.join(60)
    assert times.broken == []
    assert not [status for status in times.statuses if status >= 500]
    assert set(times.statuses) <= {200, 201}
    return times, memory


KINDS = ("upload", "download", "list", "edit", "delete")


@pytest.mark.drill
def test_two_hundred_mixed_clients_for_ten_minutes_see_no_5xx_and_memory_stays_flat(
    make_node: MakeNode,
) -> None:
    lasting_seconds = seconds(600.0)
    node = make_node(SE_GC_INTERVAL="30s", SE_LOG_LEVEL="warning")
    times, memory = mixed(node, 200, lasting_seconds)
    third = max(1, len(memory) // 3)
    early, late = percentile(memory[third : 2 * third], 0.5), percentile(memory[-third:], 0.5)
    assert late - early < MEMORY_GROWTH_BYTES, f"{early / MIB:.0f} -> {late / MIB:.0f} MiB"
    calls = sum(times.statuses.values())
    say(
        f"200 mixed clients, {lasting_seconds:.0f} s: {calls} calls, no 5xx, memory {early / MIB:.0f} -> "
        f"{late / MIB:.0f} MiB (middle, last third); p50/p95/p99: {', '.join(map(times.told, KINDS))}"
    )


class Dawdler:
    """A caller that sends, or reads, one byte a second; given up by the node, it comes again."""

    def __init__(self, node: NodeProcess, file_id: str | None) -> None:
        self._node, self._file_id = node, file_id
        self.came_again = -1
        self._connect()

    def _connect(self) -> None:
        self.came_again += 1
        self._connection = RawConnection(self._node, receive_buffer_bytes=4096)
        if self._file_id is None:
            self._connection.send(put_head(self._node, MIB, Expect=""))
        else:
            token = {"Authorization": f"Bearer {self._node.token()}"}
            self._connection.send(head("GET", f"/api/v1/files/{self._file_id}/download", token))

    def move(self) -> None:
        """One byte."""
        try:
            if self._file_id is None:
                self._connection.socket.sendall(b"x")
            elif not self._connection.socket.recv(1):
                raise ConnectionError
        except OSError:
            self.close()
            self._connect()

    def close(self) -> None:
        self._connection.close()


@contextmanager
def dawdling(node: NodeProcess, count: int) -> Iterator[list[Dawdler]]:
    """So many callers, half up and half down, each moving one byte a second."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, max(limit, 8192)), most))
    big = node.session().put_file(bytes(16 * MIB)).json()["file_id"]
    callers = [Dawdler(node, None if number % 2 else big) for number in range(count)]
    over = threading.Event()

    def move_all() -> None:
        while not over.is_set():
            began = time.monotonic()
            for caller in callers:
                caller.move()
            over.wait(max(0.0, 1.0 - (time.monotonic() - began)))

    mover = threading.Thread(target=move_all, daemon=True)
    mover.start()
    try:
        yield callers
    finally:
        over.set()
        mover.join()
        for caller in callers:
            caller.close()


@pytest.mark.drill
def test_five_hundred_stalled_callers_leave_others_unharmed(make_node: MakeNode) -> None:
    lasting_seconds = min(90.0, seconds(90.0))
    node = make_node(SE_LOG_LEVEL="warning")
    alone, _ = mixed(node, 4, lasting_seconds / 4)
    with dawdling(node, 500) as callers:
        beside, _ = mixed(node, 4, lasting_seconds)
        again = sum(caller.came_again for caller in callers)
    say(
        f"500 stalled callers (one byte a second, half up, half down; {again} given up by the node came again), "
        f"{lasting_seconds:.0f} s: 4 others, no error; p50/p95/p99 alone: {alone.told('upload')}, "
        f"{alone.told('download')}; beside them: {beside.told('upload')}, {beside.told('download')}"
    )
