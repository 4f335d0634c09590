"""The transport under `node_client`: connections, TLS, pacing of bodies. Knows HTTP, no calls.

What `requests` cannot do and the wire contract needs: no body byte before the node's interim
answer, a refusal seen while the body is still being sent, the resolved address checked at every
connect, and a connection that is cut, never finished, when the body turns out to be bad.
"""

import functools
import hashlib
import http.client
import http.cookiejar
import os
import select
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import certifi
import requests
import urllib3
from django.conf import settings
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util import Retry, Timeout

from apps.registry import addresses, heads
from apps.registry.addresses import AddressPolicy
from apps.registry.deadlines import Call

BLOCK_BYTES = 1024 * 1024
_MAX_LINE_BYTES = 64 * 1024
_MAX_INTERIM_LINES = 200
_POOL_HOSTS = 64
_POOL_CONNECTIONS_PER_HOST = 128

# A call is repeated by whoever knows what it means, never by the transport.
_NO_RETRY = Retry(False, read=False)

_thread = threading.local()


class BodyFailed(Exception):
    """The caller's body broke off; the cause is what it raised. The node never saw its end."""


class _AnsweredEarly(Exception):
    """A final answer arrived before the body was sent."""


class OutgoingBody:
    """A body for the wire, pulled block by block, and only once the node may get it."""

    def __init__(
        self, blocks: Iterable[bytes], *, expect_interim: bool, repeatable: bool = False
    ) -> None:
        self.blocks = blocks
        self.expect_interim = expect_interim
        self.repeatable = repeatable

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.blocks)


def policy() -> AddressPolicy:
    """What the settings say about element addresses."""
    return AddressPolicy(
        allow_private=settings.ARTSTORE_ALLOW_PRIVATE_ELEMENTS,
        allow_loopback=settings.ARTSTORE_ALLOW_LOOPBACK_ELEMENTS,
        allow_plain_http=settings.ARTSTORE_ALLOW_PLAIN_HTTP_ELEMENTS,
    )


class _NodeLine(HTTPConnection):
    """What both kinds of connection share; see the module's text."""

    line: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        _thread.call.connected = True
        try:
            timeout = self.timeout if isinstance(self.timeout, int | float) else None
            sock = addresses.connect(self._dns_host, self.port or 443, timeout, policy())
        except socket.gaierror as failure:
            raise NameResolutionError(self.host, self, failure) from failure
        except TimeoutError as failure:
            raise ConnectTimeoutError(self, f"{self.host} did not answer in time") from failure
        except OSError as failure:
            raise NewConnectionError(self, f"{self.host}: {failure}") from failure
        # A duplicate survives the TLS wrapping, which empties the object it wraps.
        self.line = sock.dup()
        self._join_call()
        return sock

    def close(self) -> None:
        super().close()
        if self.line is not None:
            self.line.close()
            self.line = None

    def request(  # type: ignore[override]  # urllib3 passes keywords that its stubs spell out
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.response_class = heads.Answer
        self._join_call()
        if self.sock is not None:
            # The connection stands: what counts is how long the node says nothing.
            self.timeout = _thread.call.stall_seconds
        if not isinstance(body, OutgoingBody):
            super().request(method, url, body=body, headers=headers, **options)
            return
        try:
            super().request(method, url, body=self._paced(body), headers=headers, **options)
        except _AnsweredEarly:
            return
        except ssl.SSLError:
            # TLS has no broken pipe: the node may have answered and closed. The answer, or its
            # absence, is found out by reading.
            return

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3's own
        """As urllib3's, without its second look at headers that `heads` has read."""
        options, self._response_options = self._response_options, None
        if options is None:
            raise http.client.ResponseNotReady
        sock = self._socket()
        if sock.gettimeout() != self.timeout:
            sock.settimeout(self.timeout)
        answer = http.client.HTTPConnection.getresponse(self)
        return urllib3.HTTPResponse(
            body=answer,
            headers=answer.headers,  # type: ignore[arg-type]  # made by heads
            status=answer.status,
            version=answer.version,
            version_string="HTTP/1.1",
            reason=answer.reason,
            preload_content=options.preload_content,
            decode_content=options.decode_content,
            original_response=answer,
            enforce_content_length=options.enforce_content_length,
            request_method=options.request_method,
            request_url=options.request_url,
            sock_shutdown=sock.shutdown,
        )

    def _join_call(self) -> None:
        call: Call | None = getattr(_thread, "call", None)
        if call is not None and self.line is not None:
            call.uses(self.line)

    def _paced(self, body: OutgoingBody) -> Iterator[bytes]:
        """The blocks of `body`; runs after the request's head has been sent."""
        call: Call = _thread.call
        sock = self._socket()
        sock.settimeout(call.stall_seconds)
        if body.expect_interim:
            self._await_interim()
        blocks = iter(body)
        call.body_started = True
        while True:
            try:
                block = next(blocks, None)
            except Exception as failure:
                raise BodyFailed from failure
            if block is None:
                return
            yield block
            if body.expect_interim:
                self._notice_answer()

    def _await_interim(self) -> None:
        """Read answers until a `100 Continue`; a final one instead ends the sending."""
        with self._socket().makefile("rb", 0) as stream:
            while True:
                status, line = _read_head(stream, b"")
                if status == 100:
                    return
                if status >= 200:
                    self._answered(line)

    def _notice_answer(self) -> None:
        """End the sending if the node has begun to answer, or has closed."""
        sock = self._socket()
        pending = isinstance(sock, ssl.SSLSocket) and sock.pending()
        if not pending and not select.select([sock], [], [], 0)[0]:
            return
        first = _receive_now(sock)
        if first is None:
            return  # TLS's own business, not an answer
        if not first:
            raise ConnectionResetError("the node closed the connection during the body")
        with sock.makefile("rb", 0) as stream:
            status, line = _read_head(stream, first)
        if status >= 200:
            self._answered(line)

    def _answered(self, line: bytes) -> None:
        self.response_class = functools.partial(heads.StatusRead, line=line)  # type: ignore[assignment]  # http.client calls it like a class
        raise _AnsweredEarly

    def _socket(self) -> socket.socket:
        if self.sock is None:
            raise ConnectionResetError("the connection is closed")
        return self.sock


def _receive_now(sock: socket.socket) -> bytes | None:
    """One byte if it can be had without waiting; empty at the end, None when there is none."""
    timeout = sock.gettimeout()
    sock.settimeout(0)
    try:
        return sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None
    finally:
        sock.settimeout(timeout)


def _read_head(stream: Any, first: bytes) -> tuple[int, bytes]:
    """Status and status line of the next answer; the header lines too if it is an interim one.

    `stream` is unbuffered, so nothing behind what is needed is taken off the wire.
    """
    line = first + stream.readline(_MAX_LINE_BYTES)
    if not line.endswith(b"\n"):
        raise ConnectionResetError("the node closed the connection before answering")
    status = heads.parse_status(line)[1]
    if status < 200:
        for _number in range(_MAX_INTERIM_LINES):
            if stream.readline(_MAX_LINE_BYTES) in (b"\r\n", b"\n", b""):
                return status, line
        raise http.client.BadStatusLine("an interim answer without an end")
    return status, line


class _PlainLine(_NodeLine):
    """Plain HTTP; only ever to loopback."""


class _TlsLine(_NodeLine, HTTPSConnection):
    """HTTPS."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainLine


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsLine


class NodeAdapter(HTTPAdapter):
    """Puts our connections under a `requests` session, with one trust anchor for all of them."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._trust = trust
        self._pools: dict[str, HTTPConnectionPool] = {}
        super().__init__(_POOL_HOSTS, _POOL_CONNECTIONS_PER_HOST)

    def init_poolmanager(self, connections: int, maxsize: int, *_args: Any, **_kwargs: Any) -> None:
        self.poolmanager = PoolManager(
            num_pools=connections,
            maxsize=maxsize,
            blocksize=BLOCK_BYTES,
            ssl_context=self._trust,
        )
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}

    def send(  # type: ignore[override]  # the rest of what requests hands over is decided by the trust
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002 - requests' signature; the body is always left on the wire
        timeout: Any = None,
        **_options: Any,
    ) -> requests.Response:
        """One call over a pooled connection. Raises what urllib3 raises."""
        # The pool's own parsing of the whole address would cost more than the pool.
        scheme, _, host, path = str(request.url).split("/", 3)
        body, headers = request.body, request.headers
        raw = self._pool(f"{scheme}//{host}").urlopen(
            str(request.method),
            f"/{path}",
            body=body,
            headers=headers,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
            retries=_NO_RETRY,
            timeout=Timeout(connect=timeout[0], read=timeout[1]),
            chunked=body is not None and "Content-Length" not in headers,
        )
        return self._as_response(request, raw)

    def _pool(self, origin: str) -> HTTPConnectionPool:
        found = self._pools.get(origin)
        if found is None or found.pool is None:  # never asked for, or closed to make room
            found = self._pools[origin] = self.poolmanager.connection_from_url(origin)
        return found

    def _as_response(
        self, request: requests.PreparedRequest, raw: urllib3.BaseHTTPResponse
    ) -> requests.Response:
        response = requests.Response()
        response.status_code, response.reason = raw.status, raw.reason or ""
        response.headers = raw.headers  # type: ignore[assignment]  # as blind to case, and no copy
        response.raw, response.url = raw, str(request.url)
        response.request, response.connection = request, self
        return response


def _trust(ca_pem: str) -> ssl.SSLContext:
    """Public CAs, or the pinned ones and nothing else."""
    if ca_pem:
        context = ssl.create_default_context(cadata=ca_pem)
    else:
        context = ssl.create_default_context(cafile=certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class _Session(requests.Session):
    """Follows no redirect, nor prepares to."""

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002 - requests' signature
        return None


_sessions: dict[str, requests.Session] = {}
_sessions_lock = threading.Lock()


def session(ca_pem: str) -> requests.Session:
    """This process's session for elements trusted through `ca_pem`; connections are pooled in it."""
    key = hashlib.sha256(ca_pem.encode()).hexdigest()
    with _sessions_lock:
        found = _sessions.get(key)
        if found is None:
            found = _sessions[key] = session_over(NodeAdapter(_trust(ca_pem)))
        return found


def session_over(adapter: BaseAdapter) -> requests.Session:
    """A session that takes nothing from its surroundings and reaches nodes through `adapter`."""
    made = _Session()
    # No proxy, netrc or CA bundle from the environment, and no cookies.
    made.trust_env = False
    made.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    made.mount("https://", adapter)
    made.mount("http://", adapter)
    return made


def send(
    line: requests.Session, request: requests.PreparedRequest, call: Call
) -> requests.Response:
    """Send one request; the answer's body is still on the wire. No redirect is followed.

    Through a session of requests, though its cookies and hooks are of no use here: tracing hangs on it.
    """
    _thread.call = call
    try:
        return line.send(
            request,
            stream=True,
            allow_redirects=False,
            timeout=(settings.ARTSTORE_NODE_CONNECT_SECONDS, call.stall_seconds),
        )
    finally:
        _thread.call = None


def _forget_sessions() -> None:
    """Connections must not be shared with the process this one was forked from."""
    _sessions.clear()


os.register_at_fork(after_in_child=_forget_sessions)
