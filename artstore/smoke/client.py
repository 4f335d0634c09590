"""HTTP for the smoke job: one call, one connection, bodies streamed both ways."""

import http.client
import json
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from artstore.smoke.sources import BLOCK_BYTES

# No byte moved for this long: something is stuck. There is no limit on a whole transfer.
STALL_TIMEOUT_SECONDS = 120.0
_LONGEST_ERROR_BYTES = 4096


class SmokeFailed(Exception):
    """A step did not do what the contract promises; the message says which and what came back."""


@dataclass(frozen=True)
class Body:
    """Bytes of a known length, produced block by block."""

    length_bytes: int
    blocks: Iterable[bytes]
    content_type: str


def json_body(content: Mapping[str, Any]) -> Body:
    encoded = json.dumps(content).encode()
    return Body(len(encoded), [encoded], "application/json")


@dataclass(frozen=True)
class Call:
    """One request. `expect` are the statuses that mean it worked."""

    method: str
    path: str
    expect: tuple[int, ...]
    body: Body | None = None
    headers: Mapping[str, str] | None = None


class Client:
    """Speaks to one deployment; `base_url` may carry a path in front of `/api`."""

    def __init__(self, base_url: str, ca_file: Path | None = None) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SmokeFailed(
                f"{base_url!r} is no address; write https://host or http://host:port."
            )
        self._host, self._port = parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")
        self._context = (
            ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
            if parts.scheme == "https"
            else None
        )
        self.token: str | None = None

    def _connect(self) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection(
                self._host, self._port, timeout=STALL_TIMEOUT_SECONDS, blocksize=BLOCK_BYTES
            )
        return http.client.HTTPSConnection(
            self._host,
            self._port,
            timeout=STALL_TIMEOUT_SECONDS,
            blocksize=BLOCK_BYTES,
            context=self._context,
        )

    @contextmanager
    def open(self, call: Call) -> Iterator[http.client.HTTPResponse]:
        """The answer with its body unread; any status not expected is a failure."""
        connection = self._connect()
        try:
            answer = _exchange(connection, call, self._headers(call), self._prefix + call.path)
            if answer.status not in call.expect:
                text = answer.read(_LONGEST_ERROR_BYTES).decode(errors="replace")
                raise SmokeFailed(
                    f"{call.method} {call.path.partition('?')[0]} answered {answer.status} "
                    f"{answer.reason} instead of {' or '.join(map(str, call.expect))}: {text}"
                )
            yield answer
        except (OSError, http.client.HTTPException) as failure:
            raise SmokeFailed(
                f"{call.method} {call.path.partition('?')[0]} at {self._host} was not answered: "
                f"{type(failure).__name__} {failure}"
            ) from failure
        finally:
            connection.close()

    def ask(self, call: Call) -> Any:
        """The decoded JSON of a small answer, or None where there is no body."""
        with self.open(call) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def _headers(self, call: Call) -> dict[str, str]:
        headers = {"Accept": "application/json", **(call.headers or {})}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if call.body is not None:
            headers["Content-Length"] = str(call.body.length_bytes)
            headers["Content-Type"] = call.body.content_type
        return headers


def _exchange(
    connection: http.client.HTTPConnection, call: Call, headers: Mapping[str, str], path: str
) -> http.client.HTTPResponse:
    try:
        connection.request(
            call.method, path, body=call.body.blocks if call.body else None, headers=headers
        )
    except (BrokenPipeError, ConnectionResetError):
        # Refused before the end of the body: the answer that says why is there to be read.
        return connection.getresponse()
    return connection.getresponse()
