"""Puts the node together and runs it: the only place where its parts are made and joined.

Nothing is decided here but order: claim the directory, listen, open the engine in a thread while callers are told
STARTING, and on the way out stop taking calls before the engine closes.
"""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import uvicorn

from storage_node import api, keys, periodic, telemetry
from storage_node.at_once import AtOnce
from storage_node.auth import TokenCheck
from storage_node.bridge import Bridge
from storage_node.call import Node
from storage_node.config import ConfigInvalid, NodeConfig
from storage_node.directory import NodeDirectory
from storage_node.envelope import Envelope
from storage_node.errors import RefusedToStart
from storage_node.index_rebuild import ToldToStop
from storage_node.keys import KeyRing, KeysUnreachable
from storage_node.metrics import Metrics
from storage_node.protocol import NodeProtocol, sweep_for_ever
from storage_node.put_at_once import PutAtOnce
from storage_node.readings import Readings
from storage_node.store import Store
from storage_node.tls import ServerTls

TRANSFER_THREADS = 16
HOUSEKEEPING_THREADS = 4
KEEP_ALIVE_SECONDS = 75
SHUTDOWN_SECONDS = 25
BACKLOG = 2048
GC_THRESHOLD = 20_000

log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """The clock of the running node; everything below is given a `now`."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Prepared:
    """What a node needs before it takes hold of its directory. `tls` None: plain HTTP on loopback."""

    config: NodeConfig
    tls: ServerTls | None
    fetch_keys: Callable[[], bytes]
    listener: socket.socket


def _listening_socket(config: NodeConfig) -> socket.socket:
    """Bound before anything is opened, so that a taken port is said in the operator's words."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server(
            (config.host.strip("[]"), config.port), family=family, backlog=BACKLOG
        )
    except OSError as problem:
        raise ConfigInvalid(
            [
                f"SE_HOST={config.host} SE_PORT={config.port} can not be listened on ({problem.strerror}); choose another."
            ]
        ) from None


def _key_source(config: NodeConfig) -> Callable[[], bytes]:
    """Where keys come from; a file is tried at once, an address may still be down and is asked later."""
    if config.jwks_url is not None:
        try:
            return keys.url_source(config.jwks_url, config.ca_cert)
        except OSError as problem:
            raise ConfigInvalid(
                [f"SE_CA_CERT={config.ca_cert} is no certificate in PEM ({problem})."]
            ) from None
    assert config.jwks_file is not None  # config.read refuses to go on without either
    fetch = keys.file_source(config.jwks_file)
    try:
        keys.parse_key_set(fetch(), utc_now())
    except KeysUnreachable as problem:
        raise ConfigInvalid([f"SE_JWKS_FILE={config.jwks_file} is of no use: {problem}."]) from None
    return fetch


def _key_ring(ready: Prepared, directory: NodeDirectory) -> KeyRing:
    max_age_seconds = ready.config.jwks_max_age_seconds
    ring = KeyRing(ready.fetch_keys, directory.save_keys_copy, max_age_seconds, utc_now)
    copy = directory.read_keys_copy()
    if copy is not None:
        ring.load_copy(copy)
    return ring


def _node(ready: Prepared, directory: NodeDirectory) -> Node:
    config = ready.config
    node: Node

    def note_trusted_clock(issued_at: int, now: datetime) -> None:
        if node.opened is not None:
            node.opened.note_trusted_clock(issued_at, now)

    check = TokenCheck(
        _key_ring(ready, directory), config.issuer, config.audience, note_trusted_clock
    )
    node = Node(
        config=config,
        clock=utc_now,
        check=check,
        bridge=Bridge(asyncio.get_running_loop()),
        threads=ThreadPoolExecutor(TRANSFER_THREADS, "transfer"),
        housekeeping=ThreadPoolExecutor(HOUSEKEEPING_THREADS, "housekeeping"),
        stopping=threading.Event(),
        metrics=Metrics(),
        directory=directory,
    )
    node.metrics.registry.register(Readings(node))
    return node


class _Server(uvicorn.Server):
    """Tells what runs for long that the node is ending, as soon as the signal comes."""

    def __init__(self, config: uvicorn.Config, stopping: threading.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The base raises the signal again when it is done, which would end the process before its last checkpoint."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM or SIGINT."""
        self._stopping.set()
        super().handle_exit(sig, frame)


def _never_at_once(_target: bytes, _headers: list[tuple[bytes, bytes]]) -> None:
    """With traces on every request has its span, which belongs to a task."""


def _server(node: Node, traces: telemetry.Traces, tls: ServerTls | None) -> _Server:
    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
        yield {
            "headers_of_a_refusal": node.headers_of_a_refusal,
            "answer_at_once": at_once.answer if traces.is_off else _never_at_once,
            "take_at_once": puts.begin if traces.is_off else _never_at_once,
        }

    doors = api.Doors(node)
    doors.lifespan_context = lifespan
    envelope = Envelope(doors, node, traces)
    at_once, puts = AtOnce(node, envelope.note), PutAtOnce(node, envelope.note)
    settings = uvicorn.Config(
        envelope,
        http=NodeProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        backlog=BACKLOG,
        ssl_context_factory=None if tls is None else lambda _config, _make: tls.context,
    )
    server = _Server(settings, node.stopping)
    node.connections = server.server_state.connections
    return server


class _Engine:
    """The engine's life beside the server's: opened in a thread, closed after the last call."""

    def __init__(self, node: Node, server: uvicorn.Server) -> None:
        self._node = node
        self._server = server
        self._periodic: threading.Thread | None = None
        self.refusal: RefusedToStart | None = None

    async def open(self) -> None:
        """Open the directory; a refusal ends the server too."""
        node = self._node
        try:
            node.opened = await asyncio.to_thread(
                Store.open, node.directory, utc_now(), is_stopping=node.stopping.is_set
            )
        except ToldToStop:
            return
        except RefusedToStart as refusal:
            self.refusal = refusal
            self._server.should_exit = True
            return
        log.info(
            "ready", extra={"storage_id": node.config.storage_id, "instance_id": node.instance_id}
        )
        arguments = (node.opened, node.stopping, utc_now)
        self._periodic = threading.Thread(target=periodic.run, args=arguments, name="periodic")
        self._periodic.start()

    def close(self) -> None:
        """Blocks until the periodic work has stopped and the engine has made its checkpoint."""
        self._node.stopping.set()
        if self._periodic is not None:
            self._periodic.join()
        if self._node.opened is not None:
            self._node.opened.close()
        else:
            self._node.directory.close()


def _finish(node: Node, engine: _Engine) -> None:
    """Blocks: what threads are still doing ends before the engine does."""
    node.threads.shutdown()
    node.housekeeping.shutdown()
    engine.close()


def _end_with(server: _Server, task: "asyncio.Task[None]") -> None:
    """A loop that must not end has: better no node than one whose keys or timeouts have stopped."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("a loop ended", exc_info=task.exception())
        server.should_exit = True


def prepared(config: NodeConfig) -> Prepared:
    """Everything that can be wrong without the directory: certificate, keys, port. Raises ConfigInvalid."""
    tls = None
    if not config.insecure_loopback:
        assert config.tls_cert is not None  # config.read refuses to go on without them
        assert config.tls_key is not None
        tls = ServerTls(config.tls_cert, config.tls_key)
    return Prepared(config, tls, _key_source(config), _listening_socket(config))


async def serve(ready: Prepared, directory: NodeDirectory) -> None:
    """Serve until told to stop; raises RefusedToStart when the directory turns out not to be servable."""
    config, tls = ready.config, ready.tls
    # What is alive now lives as long as the process; looking through it again and again for garbage costs each request.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    traces = telemetry.start(config.storage_id, config.otlp_endpoint)
    node = _node(ready, directory)
    server = _server(node, traces, tls)
    engine = _Engine(node, server)
    opening = asyncio.create_task(engine.open())
    others = [
        asyncio.create_task(node.check.ring.keep_fresh()),
        asyncio.create_task(sweep_for_ever(server.server_state, config.stall_timeout_seconds)),
    ]
    if tls is not None:
        others.append(asyncio.create_task(tls.keep_current()))
    for task in others:
        task.add_done_callback(partial(_end_with, server))
    try:
        await server.serve(sockets=[ready.listener])
    finally:
        for task in others:
            task.cancel()
        await opening
        node.stopping.set()
        await asyncio.to_thread(_finish, node, engine)
        traces.close()
    if engine.refusal is not None:
        raise engine.refusal
