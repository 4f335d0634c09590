"""A TLS server that does to each connection what a test tells it to, and keeps what it received."""

import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from apps.registry.node_client import NodeAddress
from storage_node.tests.node_process import Certificates

IDENTITY = (
    "X-ArtStore-Storage-Id: se-fake\r\nX-ArtStore-Instance-Id: i-1\r\nX-ArtStore-Epoch: e-1\r\n"
)


class Line:
    """One accepted connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b""
        self.ended = False

    def read_until(self, mark: bytes) -> bytes:
        """Everything received, once it holds `mark` (or the client has gone)."""
        while mark not in self.received and self.read_some():
            pass
        return self.received

    def read_some(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except OSError:
            data = b""
        self.received += data
        self.ended = not data
        return bool(data)

    def read_to_end(self) -> bytes:
        while self.read_some():
            pass
        return self.received

    def head(self) -> str:
        return self.read_until(b"\r\n\r\n").split(b"\r\n\r\n")[0].decode()

    def body(self) -> bytes:
        return self.received.partition(b"\r\n\r\n")[2]

    def send(self, text: str | bytes) -> None:
        self.sock.sendall(text.encode() if isinstance(text, str) else text)

    def answer(self, status: str, body: str = "", headers: str = IDENTITY) -> None:
        length = len(body.encode())
        self.send(
            f"HTTP/1.1 {status}\r\n{headers}Content-Type: application/json\r\n"
            f"Content-Length: {length}\r\n\r\n{body}"
        )


Script = Callable[[Line], None]


class ScriptedServer:
    """Runs `script` on every connection, in a thread each. Use in a `with` statement."""

    def __init__(self, certificates: Certificates, script: Script) -> None:
        self._script = script
        self._trust = certificates
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.cert, certificates.key)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.lines: list[Line] = []
        self._threads: list[threading.Thread] = []
        self.finished = threading.Event()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def address(self, storage_id: str = "se-fake", instance_id: str = "i-1") -> NodeAddress:
        return NodeAddress(self.url, storage_id, instance_id, self._trust.ca.read_text())

    def received(self) -> bytes:
        """All that any client ever sent, after TLS."""
        return b"".join(line.received for line in self.lines)

    def _accept(self) -> None:
        while True:
            try:
                plain, _address = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(plain,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with self._context.wrap_socket(plain, server_side=True) as sock:
                line = Line(sock)
                self.lines.append(line)
                self._script(line)
        except OSError:
            return  # the client went away, which is often what the test is about
        finally:
            self.finished.set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _failure: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        # Shutting down wakes the accepting thread, which closing does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
