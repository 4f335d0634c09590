"""A client that speaks to a node byte by byte over TLS, for requests no HTTP library would send."""

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from storage_node.tests.node_process import NodeProcess

READ_SECONDS = 20.0


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 when the connection was closed without an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The error code of the envelope."""
        code: str = json.loads(self.body)["error"]["code"]
        return code


class RawConnection:
    """One TLS connection."""

    def __init__(self, node: NodeProcess, receive_buffer_bytes: int | None = None) -> None:
        plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        plain.settimeout(READ_SECONDS)
        if receive_buffer_bytes is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        plain.connect(("127.0.0.1", node.port))
        self.socket: socket.socket = plain
        if "SE_INSECURE_LOOPBACK" not in node.environment:
            context = ssl.create_default_context(cafile=str(node.certificates.ca))
            self.socket = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self._unread = b""

    def send(self, data: bytes) -> None:
        """Send; a connection that the node has closed already is no failure here, the answer tells."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            self.socket.sendall(data)

    def read_head(self) -> tuple[int, dict[str, str]]:
        """The next status line and headers."""
        while b"\r\n\r\n" not in self._unread:
            more = self._receive()
            if not more:
                return 0, {}
            self._unread += more
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        return int(lines[0].split()[1]), {name.lower(): value for name, value in headers.items()}

    def read_answer(self) -> Answer:
        """The next answer with its body."""
        status, headers = self.read_head()
        wanted = int(headers.get("content-length", 0))
        while len(self._unread) < wanted:
            more = self._receive()
            if not more:
                break
            self._unread += more
        body, self._unread = self._unread[:wanted], self._unread[wanted:]
        return Answer(status, headers, body)

    def is_closed(self) -> bool:
        """Waits for the node's next word: True when there is none."""
        return not self._unread and not self._receive()

    def _receive(self) -> bytes:
        try:
            return self.socket.recv(65536)
        except (ConnectionError, ssl.SSLError):
            return b""

    def close(self) -> None:
        self.socket.close()


@contextlib.contextmanager
def connected(node: NodeProcess, **options: Any) -> Iterator[RawConnection]:
    """A connection that is closed afterwards."""
    connection = RawConnection(node, **options)
    try:
        yield connection
    finally:
        connection.close()


def head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """A request's head as bytes."""
    lines = [
        f"{method} {target} HTTP/1.1",
        "Host: node",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
