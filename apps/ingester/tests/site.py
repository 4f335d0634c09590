"""Everything a test of uploads and downloads stands on, committed to the test database."""

import contextlib
import json
import secrets
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import requests
from django.core.management import call_command
from django.utils import timezone

from apps.admin import keys, service_accounts, tokens
from apps.ingester.tests.web_process import (
    WEB_ROLE,
    WebProcess,
    database_url_of_test,
    element_on,
    make_web_role,
)
from apps.registry.models import StorageElement
from storage_node.tests.node_process import (
    Certificates,
    Issuer,
    NodeProcess,
    NodeSession,
    free_port,
)


@dataclass
class Site:
    """Nodes with their elements, and at most one gunicorn."""

    folder: Path
    certificates: Certificates
    nodes: list[NodeProcess] = field(default_factory=list)
    running_web: WebProcess | None = None

    @classmethod
    def build(cls, folder: Path) -> "Site":
        keys.keyring.forget()
        keys.ensure_signing_keys(timezone.now())
        keys.keyring.forget()
        make_web_role()
        (folder / "keys.json").write_text(json.dumps({"keys": keys.keyring.jwks()}))
        site = cls(folder, Certificates.make(folder / "tls"))
        site.add_node("se-edit", SE_MODE="edit")
        return site

    @property
    def node(self) -> NodeProcess:
        return self.nodes[0]

    def add_node(self, storage_id: str, **environment: str) -> StorageElement:
        """A further node and its element."""
        settings = {"SE_JWKS_FILE": str(self.folder / "keys.json")} | environment
        node = NodeProcess(
            self.folder / storage_id, self.certificates, Issuer(), storage_id, settings
        )
        node.port = free_port(18300, 18349)
        self.nodes.append(node.start())
        return element_on(node)

    def element_row(self, number: int = 0) -> StorageElement:
        return StorageElement.objects.get(storage_id=self.nodes[number].storage_id)

    def web(self, **environment: str) -> WebProcess:
        """The site's gunicorn; started when first asked for."""
        if self.running_web is None:
            patience = {
                "ARTSTORE_CLIENT_STALL_SECONDS": "8",
                "ARTSTORE_UPLOAD_LEASE_SECONDS": "12",
                "ARTSTORE_PLACEMENT_REFRESH_SECONDS": "0",
                "ARTSTORE_PLACEMENT_MEMORY_SECONDS": "0",
            }
            threads = int(environment.pop("ARTSTORE_WEB_THREADS", "64"))
            self.running_web = WebProcess(
                self.folder / "web.log", patience | environment, threads=threads
            )
            self.running_web.start()
        return self.running_web

    def token(self, *scopes: str) -> str:
        """A token of a new service account."""
        now = timezone.now()
        draft = service_accounts.NewAccount(f"test-{secrets.token_hex(6)}", scopes)
        account = service_accounts.create(draft, None, now).account
        return tokens.service_token(account, sorted(scopes), None, now).token

    def node_session(self, number: int = 0) -> NodeSession:
        """HTTP straight to a node, with a token of all scopes that the keys here signed."""
        node = self.nodes[number]
        scopes = ("files:read", "files:write", "storage:read", "storage:write")
        token = tokens.element_token(node.storage_id, "sa_direct", "test", scopes, timezone.now())
        return NodeSession(node, token)

    @contextlib.contextmanager
    def instead_of_node(self, answer: bytes, number: int = 0) -> Iterator[None]:
        """Something else answers at the node's address, with the node's certificate."""
        node = self.nodes[number]
        node.stop()
        impostor = _Impostor(node, answer)
        try:
            yield
        finally:
            impostor.close()
            self.bring_back(number)

    @contextlib.contextmanager
    def node_down(self, number: int = 0) -> Iterator[None]:
        """The node is killed for the length of the block."""
        self.nodes[number].kill()
        try:
            yield
        finally:
            self.bring_back(number)

    def answer_lost(self, number: int = 0) -> contextlib.AbstractContextManager[None]:
        """Requests reach the node whole; of its answers to PUT not a byte comes back."""
        return self._behind(number, lost_answers=b"PUT")

    def request_held(
        self, method: bytes, number: int = 0
    ) -> contextlib.AbstractContextManager[None]:
        """Requests with this method never reach the node, and nobody says so."""
        return self._behind(number, held_requests=method)

    @contextlib.contextmanager
    def _behind(self, number: int, **swallowing: bytes) -> Iterator[None]:
        node = self.nodes[number]
        swallower = _Swallower(node, free_port(18300, 18349), **swallowing)
        address = f"https://127.0.0.1:{swallower.port}"
        statement = "update registry_storageelement set url = %s where storage_id = %s"
        self.execute(statement, address, node.storage_id)
        try:
            yield
        finally:
            self.execute(statement, node.base_url, node.storage_id)
            swallower.close()

    @contextlib.contextmanager
    def database_refusing(self) -> Iterator[None]:
        """The gunicorn's connections are ended and no new one is let in."""
        end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s"
        self.execute(f"alter role {WEB_ROLE} nologin")
        self.execute(end, WEB_ROLE)
        try:
            yield
        finally:
            self.execute(f"alter role {WEB_ROLE} login")

    def web_connections(self) -> int:
        """Database connections the gunicorn holds now."""
        count = "select count(*) from pg_stat_activity where usename = %s"
        return int(self.execute(count, WEB_ROLE)[0][0])

    @contextlib.contextmanager
    def elements_online(self, *storage_ids: str) -> Iterator[None]:
        """These elements take files and no others; afterwards the first one alone does."""
        statement = (
            "update registry_storageelement set status ="
            " case when storage_id = any(%s) then 'online' else 'maintenance' end"
        )
        self.execute(statement, list(storage_ids))
        try:
            yield
        finally:
            self.execute(statement, [self.node.storage_id])

    def bring_back(self, number: int = 0) -> None:
        """Start the node again and note that it is there, as the next probe would."""
        node = self.nodes[number]
        node.start()
        self.execute(
            "update registry_storageelement set status = 'online' where storage_id = %s",
            node.storage_id,
        )

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """SQL outside the test's transaction, committed at once."""
        with psycopg.connect(database_url_of_test(), autocommit=True) as line:
            cursor = line.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def wait_for(self, holds: Callable[[], bool], seconds: float = 60) -> None:
        """Until `holds`; fails when it never does."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.05)

    def metric(self, name: str) -> float:
        """A metric of the gunicorn, over all its labels."""
        text = requests.get(f"{self.web().base_url}/metrics", timeout=30).text
        lines = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rsplit(maxsplit=1)[1]) for line in lines)

    def remove(self) -> None:
        if self.running_web is not None:
            self.running_web.stop()
        for node in self.nodes:
            node.__exit__()
        keys.keyring.forget()
        call_command("flush", interactive=False, verbosity=0)


class _Impostor:
    """A TLS server that gives every request the same bytes and closes."""

    def __init__(self, node: NodeProcess, answer: bytes) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(node.certificates.cert, node.certificates.key)
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", node.port))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _address = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), self._context.wrap_socket(plain, True) as line:
                line.settimeout(5)
                line.recv(65536)
                line.sendall(self._answer)

    def close(self) -> None:
        # A listener that a thread waits in is only closed for good once it has been shut down.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


class _Swallower:
    """A TLS proxy in front of a node that passes on everything but what it is told to keep."""

    def __init__(
        self, node: NodeProcess, port: int, lost_answers: bytes = b"-", held_requests: bytes = b"-"
    ) -> None:
        self.port = port
        self._lost_answers = lost_answers
        self._held_requests = held_requests
        self.held = threading.Event()
        self._node = node
        self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.load_cert_chain(node.certificates.cert, node.certificates.key)
        self._client = ssl.create_default_context(cafile=str(node.certificates.ca))
        self._listener = socket.create_server(("127.0.0.1", port))
        self._lines: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                plain, _address = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                near = self._server.wrap_socket(plain, server_side=True)
                far = self._client.wrap_socket(
                    socket.create_connection(("127.0.0.1", self._node.port)),
                    server_hostname="127.0.0.1",
                )
                self._lines += [near, far]
                threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: ssl.SSLSocket, far: ssl.SSLSocket) -> None:
        method = b""
        with contextlib.suppress(OSError, ValueError), near, far:
            while True:
                if not (near.pending() or far.pending()):
                    select.select([near, far], [], [], 60)
                for source, target in ((near, far), (far, near)):
                    if not (source.pending() or select.select([source], [], [], 0)[0]):
                        continue
                    data = _received_now(source)
                    if data is None:
                        continue
                    if not data:
                        return
                    if source is near:
                        method = method or data.split(b" ", 1)[0]
                        if method == self._held_requests:
                            self.held.wait(60)
                            return
                    elif not data.startswith(b"HTTP/1.1 100"):
                        if method == self._lost_answers:
                            return
                        method = b""
                    target.sendall(data)

    def close(self) -> None:
        self.held.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.close()


def _received_now(source: ssl.SSLSocket) -> bytes | None:
    """What is there for us; None if it was TLS's own business, for which `recv` would wait on."""
    source.settimeout(0)
    try:
        return source.recv(65536)
    except ssl.SSLWantReadError:
        return None
    finally:
        source.settimeout(None)
