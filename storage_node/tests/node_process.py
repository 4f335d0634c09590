"""Starts real node processes for tests: a CA, certificates, signing keys, tokens, and the process itself.

Needs cryptography, PyJWT and requests only, so that other test suites can import it too. Says nothing about what is
tested.
"""

import base64
import datetime as dt
import fcntl
import http.server
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import jwt
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
ALL_SCOPES = ("files:read", "files:write", "storage:read", "storage:write")


# Locks that keep other test processes off the ports taken here.
_claims: dict[int, IO[str]] = {}


def free_port(first: int = 18150, last: int = 18299) -> int:
    """A loopback port nobody listens on, kept for this process until `release_port` or its end."""
    directory = Path(tempfile.gettempdir()) / "artstore-test-ports"
    directory.mkdir(exist_ok=True)
    for port in range(first, last + 1):
        if port in _claims:
            continue
        claim = (directory / str(port)).open("w")
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _claims[port] = claim
        return port
    raise RuntimeError(f"no free port between {first} and {last}")


def release_port(port: int) -> None:
    """Let others have it."""
    claim = _claims.pop(port, None)
    if claim is not None:
        claim.close()


@dataclass(frozen=True)
class Certificates:
    """A test CA and a server certificate for loopback, as files."""

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def make(cls, directory: Path) -> "Certificates":
        directory.mkdir(parents=True, exist_ok=True)
        now = dt.datetime.now(dt.UTC)
        ca_key, key = (
            ec.generate_private_key(ec.SECP256R1()),
            ec.generate_private_key(ec.SECP256R1()),
        )
        ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ArtStore test CA")])

        def builder(subject: x509.Name, public: Any) -> x509.CertificateBuilder:
            return (
                x509.CertificateBuilder()
                .subject_name(subject)
                .issuer_name(ca_name)
                .public_key(public)
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - dt.timedelta(days=1))
                .not_valid_after(now + dt.timedelta(days=30))
            )

        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        ca = (
            builder(ca_name, ca_key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False
            )
            .sign(ca_key, hashes.SHA256())
        )
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        cert = (
            builder(server_name, key.public_key())
            .add_extension(names, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
                critical=False,
            )
            .sign(ca_key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        files = cls(directory / "ca.pem", directory / "node.pem", directory / "node.key")
        files.ca.write_bytes(ca.public_bytes(pem))
        files.cert.write_bytes(cert.public_bytes(pem))
        files.key.write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return files


def _number(value: int) -> str:
    return (
        base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))
        .rstrip(b"=")
        .decode()
    )


@dataclass
class Issuer:
    """Stands for the Admin module: signing keys, their JWKS, and element tokens."""

    name: str = "artstore"
    keys: dict[str, rsa.RSAPrivateKey] = field(default_factory=dict)
    active: str = ""

    @classmethod
    def make(cls) -> "Issuer":
        issuer = cls()
        issuer.rotate()
        return issuer

    def rotate(self) -> str:
        """A new active key beside the old ones; its kid."""
        kid = f"key-{uuid.uuid4().hex[:12]}"
        self.keys[kid] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.active = kid
        return kid

    def jwks(self, kids: Collection[str] | None = None) -> dict[str, Any]:
        """The public keys as RFC 7517 has them."""
        listed = []
        for kid in kids if kids is not None else self.keys:
            numbers = self.keys[kid].public_key().public_numbers()
            listed.append(
                {
                    "kty": "RSA",
                    "use": "sig",
                    "alg": "RS256",
                    "kid": kid,
                    "n": _number(numbers.n),
                    "e": _number(numbers.e),
                }
            )
        return {"keys": listed}

    def claims(
        self, storage_id: str, scopes: Collection[str] = ALL_SCOPES, **changed: Any
    ) -> dict[str, Any]:
        """The claims of a good element token; a changed claim of None is left out."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.name,
            "aud": f"urn:artstore:element:{storage_id}",
            "sub": "artstore-example",
            "act": {"sub": "ingester"},
            "iat": now,
            "nbf": now,
            "exp": now + 900,
            "jti": uuid.uuid4().hex,
            "scopes": list(scopes),
        }
        return {name: value for name, value in (claims | changed).items() if value is not None}

    def token(self, storage_id: str, scopes: Collection[str] = ALL_SCOPES, **changed: Any) -> str:
        """A good element token, unless a changed claim makes it a bad one."""
        return self.sign(self.claims(storage_id, scopes, **changed))

    def sign(
        self, claims: Mapping[str, Any], *, kid: str | None = None, typ: str | None = "element+jwt"
    ) -> str:
        """Claims as a token of the given key and type."""
        kid = kid or self.active
        headers = {"kid": kid, "typ": typ}
        return jwt.encode(dict(claims), self.keys[kid], algorithm="RS256", headers=headers)


class JwksServer:
    """The Admin module's JWKS address, over loopback HTTP. `answer` may be changed while it runs."""

    def __init__(self, document: Mapping[str, Any], port: int = 0) -> None:
        self.answer: bytes = json.dumps(document).encode()
        self.status = 200
        self.fetches = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.fetches += 1
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.answer)))
                self.end_headers()
                self.wfile.write(outer.answer)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/.well-known/jwks.json"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    def show(self, document: Mapping[str, Any]) -> None:
        """Answer with this from now on."""
        self.answer = json.dumps(document).encode()

    def close(self) -> None:
        """Be unreachable."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass
class NodeProcess:
    """One `python -m storage_node serve` over TLS, its directory and its log. Use `start`, or as a context manager."""

    directory: Path
    certificates: Certificates
    issuer: Issuer
    storage_id: str = "se-test"
    environment: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None
    wait_for_ready: bool = True

    @property
    def data_dir(self) -> Path:
        return self.directory / "data"

    @property
    def log_path(self) -> Path:
        return self.directory / "node.log"

    @property
    def base_url(self) -> str:
        scheme = "http" if "SE_INSECURE_LOOPBACK" in self.environment else "https"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """The SE_* environment of the process."""
        self.directory.mkdir(parents=True, exist_ok=True)
        settings = {
            "SE_STORAGE_ID": self.storage_id,
            "SE_DATA_DIR": str(self.data_dir),
            "SE_MAX_CAPACITY": "10GiB",
            "SE_MIN_FREE_DISK": "0",
            "SE_TLS_CERT": str(self.certificates.cert),
            "SE_TLS_KEY": str(self.certificates.key),
            "SE_HOST": "127.0.0.1",
            "SE_PORT": str(self.port or 8010),
            "SE_INIT": "1",
        }
        if "SE_JWKS_URL" not in self.environment:
            jwks = self.directory / "keys.json"
            if "SE_JWKS_FILE" not in self.environment:
                jwks.write_text(json.dumps(self.issuer.jwks()))
            settings["SE_JWKS_FILE"] = str(jwks)
        return settings | self.environment

    def launch(self, *command: str) -> "subprocess.Popen[bytes]":
        """`python -m storage_node <command>` with this node's settings, output to the log."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SE_", "OTEL_"))
        }
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [self.python, "-m", "storage_node", *command],
                cwd=REPOSITORY,
                env=inherited | self.settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """A shell command of the node to its end, output captured."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SE_", "OTEL_"))
        }
        return subprocess.run(
            [self.python, "-m", "storage_node", *command],
            cwd=REPOSITORY,
            env=inherited | self.settings,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self) -> "NodeProcess":
        """Start and wait until it answers (and is ready, unless `wait_for_ready` is off)."""
        if not self.port:
            self.port = free_port()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.process = self.launch("serve")
        address = "/health/ready" if self.wait_for_ready else "/health/live"
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(
                    f"the node ended with {self.process.returncode}:\n{self.log()[-3000:]}"
                )
            try:
                # Cheap, and refused until the process has got as far as listening.
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                if requests.get(
                    self.base_url + address, verify=str(self.certificates.ca), timeout=5
                ).ok:
                    return self
            except OSError:  # those of requests are too
                pass
            time.sleep(0.02)
        raise RuntimeError(
            f"the node was not ready within {START_SECONDS} s:\n{self.log()[-3000:]}"
        )

    def kill(self) -> None:
        """kill -9: no goodbye, no checkpoint."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM and wait; the exit status."""
        return self._end(signal.SIGTERM)

    def restart(self) -> "NodeProcess":
        """Start again on the same directory and port."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        return self.start()

    def _end(self, with_signal: signal.Signals) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        return self.process.wait(60)

    def log(self) -> str:
        """Everything the process has written."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_lines(self) -> list[dict[str, Any]]:
        """The JSON log lines."""
        # What stands behind the last line break is a line that is being written.
        whole = self.log().rpartition("\n")[0]
        return [json.loads(line) for line in whole.split("\n") if line.startswith("{")]

    def token(self, *scopes: str, **changed: Any) -> str:
        """An element token for this node; all scopes when none is named."""
        return self.issuer.token(self.storage_id, scopes or ALL_SCOPES, **changed)

    def session(self, *scopes: str) -> "NodeSession":
        """A requests session that trusts this node and carries a token."""
        return NodeSession(self, self.token(*scopes))

    def __enter__(self) -> "NodeProcess":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self._end(signal.SIGKILL)
        release_port(self.port)


class NodeSession(requests.Session):
    """Requests to one node: paths instead of addresses, its CA, a token."""

    def __init__(self, node: NodeProcess, token: str | None) -> None:
        super().__init__()
        self.node = node
        self.verify = str(node.certificates.ca)
        self.trust_env = False
        if token is not None:
            self.headers["Authorization"] = f"Bearer {token}"

    def request(
        self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any
    ) -> requests.Response:
        if isinstance(url, str) and url.startswith("/"):
            url = self.node.base_url + url
        kwargs.setdefault("timeout", 60)
        return super().request(method, url, *args, **kwargs)

    def put_file(
        self,
        content: Any,
        file_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        **attributes: Any,
    ) -> requests.Response:
        """PUT bytes with attributes; an id is made when none is given."""
        described = {"original_filename": "file.bin"} | attributes
        return self.put(
            f"/api/v1/files/{file_id or uuid.uuid4()}",
            data=content,
            headers={"X-ArtStore-Attributes": attributes_header(described)} | dict(headers or {}),
        )


def attributes_header(attributes: Mapping[str, Any]) -> str:
    """The value of X-ArtStore-Attributes."""
    raw = json.dumps(dict(attributes), ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
