"""What a handler is given: the facts of one request (`Call`) and the parts of the running node (`Node`).

No decisions and no I/O; the parts are put together in `app.py`.
"""

import re
import secrets
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

from storage_node.auth import Principal, TokenCheck
from storage_node.bridge import Bridge
from storage_node.config import NodeConfig
from storage_node.directory import NodeDirectory
from storage_node.errors import Starting
from storage_node.metrics import Metrics
from storage_node.store import Store

CALL_KEY = "artstore.call"


_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
# Unique, not secret: a random beginning per process and a number save asking the kernel for each request.
_process_mark = secrets.token_hex(8)
_numbers = count(1)


def new_request_id() -> str:
    """For a request that brings none, or none that is sane."""
    return f"{_process_mark}{next(_numbers):016x}"


def request_id_of(headers: dict[bytes, bytes]) -> str:
    """The caller's own id for the request where it is sane, else a new one."""
    given = headers.get(b"x-request-id")
    if given is not None and _SANE_REQUEST_ID.fullmatch(given):
        return given.decode()
    return new_request_id()


@dataclass(slots=True)
class Call:
    """One request as the log line, the metrics and the handler see it."""

    request_id: str
    headers: dict[bytes, bytes]
    started: float = field(default_factory=time.perf_counter)
    route: str = "unknown"
    principal: Principal | None = None
    file_id: str | None = None
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    trace_id: str | None = None

    def header(self, name: bytes) -> str | None:
        """A request header by its lower-case name; the last one where a caller sends several."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")


@dataclass
class Node:
    """The parts of a running node. `opened` is None until the engine has opened its directory.

    `threads` move file bytes; `housekeeping` is apart from them, so that a reconcile of hours holds up no transfer.
    `stopping` is set when the node has been told to end: what runs for long looks at it.
    """

    config: NodeConfig
    clock: Callable[[], datetime]
    check: TokenCheck
    bridge: Bridge
    threads: ThreadPoolExecutor
    housekeeping: ThreadPoolExecutor
    stopping: threading.Event
    metrics: Metrics
    directory: NodeDirectory
    opened: Store | None = None
    # Whoever is connected; the server keeps it.
    connections: Collection[object] = ()
    _standing: list[tuple[bytes, bytes]] | None = None

    @property
    def instance_id(self) -> str:
        """Which initialisation of the directory this is; known before the engine is open."""
        return str(self.directory.instance_id)

    def short_info(self, now: datetime) -> dict[str, str]:
        """Mode and status, for anyone and at any time."""
        if self.opened is None:
            return {"mode": self.directory.mode, "status": "starting"}
        info = self.opened.info(now)
        return {"mode": info.mode, "status": info.status}

    def headers_of_a_refusal(self) -> list[tuple[bytes, bytes]]:
        """For an answer to what never became a request: it gets an id too, to be found by."""
        return [*self.standing_headers(), (b"x-request-id", new_request_id().encode())]

    @property
    def store(self) -> Store:
        """The engine; raises Starting while the index is being rebuilt."""
        if self.opened is None:
            raise Starting("The call was refused: the index is being rebuilt. Ask again shortly.")
        return self.opened

    def standing_headers(self) -> list[tuple[bytes, bytes]]:
        """What every answer carries, so that a caller knows that it talks to this node and not to a proxy."""
        if self._standing is None:
            headers = [
                (b"x-artstore-storage-id", self.config.storage_id.encode()),
                (b"x-artstore-instance-id", self.instance_id.encode()),
            ]
            if self.opened is None:
                return headers
            self._standing = [*headers, (b"x-artstore-epoch", str(self.opened.epoch).encode())]
        return self._standing


def call_of(scope: Any) -> Call:
    """The facts of the request that `scope` describes."""
    call: Call = scope[CALL_KEY]
    return call
