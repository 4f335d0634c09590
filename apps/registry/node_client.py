"""The Django end of the wire: one method per call of docs/wire-contract.md. Knows HTTP, no models.

Everything a caller gets back is typed; everything that goes wrong is one of `errors.NodeFailure`, or
`ElementUrlRefused` where an address may not be connected to. How bytes travel is in `wire`, how
answers are read in `answers`.
"""

import base64
import functools
import json
import ssl
import urllib.parse
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import requests
from django.conf import settings
from django.utils.translation import gettext_lazy as _
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from apps.registry import answers, errors, wire
from apps.registry.answers import Answer, Expected, Identity
from apps.registry.attributes import AttributesInvalid, FileAttributes
from apps.registry.deadlines import Call, watchdog
from artstore.logs import request_id_var

_TOO_LONG = _("The element took too long to answer.")

Token = str | Callable[[], str] | None

EXPECT_OVER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node is and who it has to be. An empty `ca_pem` means public CAs."""

    url: str
    storage_id: str = ""
    instance_id: str = ""
    ca_pem: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file as the node acknowledged it; `created` is false when it was there already."""

    attributes: FileAttributes
    identity: Identity
    created: bool


@dataclass(frozen=True, slots=True)
class Upload:
    """What `put_file` sends. `blocks` is pulled only once the node may have the bytes.

    With `size_bytes` the body is framed by length, without by chunks; either way the node commits
    nothing before the end of `blocks`, and an exception raised by it cuts the connection.
    `repeatable` says that `blocks` can be gone through again.
    """

    attributes: Mapping[str, Any]
    blocks: Iterable[bytes]
    size_bytes: int | None
    sha256_hex: str | None = None
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class _Question:
    """A call that is answered with a small JSON object within a time, and what it sends."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    json_body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    limit_bytes: int = answers.SMALL_ANSWER_BYTES
    answer_seconds: float | None = None


class Content:
    """An answer that streams a file's bytes. Close it, or use it in a `with` statement."""

    def __init__(self, response: requests.Response, identity: Identity) -> None:
        self._response = response
        self.identity = identity
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    def blocks(self, block_bytes: int = wire.BLOCK_BYTES) -> Iterator[bytes]:
        """The bytes; raises `NodeUnreachable` when the node's transfer breaks off."""
        try:
            yield from self._response.raw.stream(block_bytes, decode_content=False)
        except (HTTPError, OSError) as failure:
            raise errors.NodeUnreachable(_("The element broke off the transfer.")) from failure

    def close(self) -> None:
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_details: object) -> None:
        self.close()


class NodeClient:
    """Calls to one node. Cheap to make: connections are pooled per process and trust anchor."""

    def __init__(self, address: NodeAddress, token: Token = None) -> None:
        self._address = address
        self._token = token
        self._expected = Expected(address.storage_id, address.instance_id)

    def get_info(self, answer_seconds: float | None = None) -> Answer:
        """What the node says of itself: a few words without a token, all with `storage:read`."""
        answer = self._ask(_Question("GET", "/info", answer_seconds=answer_seconds))
        if answer.body.get("contract") != answers.CONTRACT:
            raise answers.invalid(f"speaks contract {str(answer.body.get('contract'))[:20]}")
        return answer

    def put_file(self, file_id: uuid.UUID, upload: Upload) -> Stored:
        """Store a file. Repeating it with the same bytes is answered like the first time.

        `NodeRefused.before_body` and `NodeUnreachable.sent_body` say whether a body byte may have
        left. What `upload.blocks` raises comes out as it is.
        """
        headers = {
            "Content-Type": "application/octet-stream",
            "X-ArtStore-Attributes": encode_attributes(upload.attributes),
        }
        if upload.sha256_hex:
            digest = base64.b64encode(bytes.fromhex(upload.sha256_hex)).decode()
            headers["Repr-Digest"] = f"sha-256=:{digest}:"
        request = self._request("PUT", f"/files/{file_id}", headers)
        _frame(request, upload)
        with self._sent(request, None) as (response, identity):
            body = answers.read_json(response, answers.SMALL_ANSWER_BYTES)
            return Stored(answers.read_file(body), identity, created=response.status_code == 201)

    def abandon(self, file_id: uuid.UUID) -> FileAttributes | None:
        """Give the id up for good: None. Or the file that is there after all, to be adopted."""
        request = self._request("POST", f"/files/{file_id}/abandon")
        try:
            with self._sent(request, settings.ARTSTORE_NODE_ANSWER_SECONDS):
                return None
        except errors.NodeConflict as conflict:
            return answers.read_file(conflict.file)

    def get_file(self, file_id: uuid.UUID) -> Stored:
        """What the node says of one file now."""
        answer = self._ask(_Question("GET", f"/files/{file_id}"))
        return Stored(answers.read_file(answer.body), answer.identity, created=False)

    def get_file_raw(self, file_id: uuid.UUID) -> Answer:
        """The same as JSON, with what is only shown (`verified_at`)."""
        return self._ask(_Question("GET", f"/files/{file_id}"))

    def list_files(self, query: Mapping[str, str]) -> Answer:
        return self._ask(
            _Question("GET", "/files", query=query, limit_bytes=answers.PAGE_ANSWER_BYTES)
        )

    def list_changes(self, since: int, epoch: str, limit: int = 1000) -> Answer:
        """One page of the change feed; `NodeResyncRequired` when it cannot go on from there."""
        query = {"since": str(since), "limit": str(limit)}
        if since:
            query["epoch"] = epoch
        return self._ask(
            _Question("GET", "/changes", query=query, limit_bytes=answers.PAGE_ANSWER_BYTES)
        )

    def edit_file(
        self, file_id: uuid.UUID, changes: Mapping[str, Any], revision: int | None = None
    ) -> FileAttributes:
        """Change description, tags or metadata; with `revision` only if it is still that one."""
        headers = {} if revision is None else {"If-Match": f'"{revision}"'}
        answer = self._ask(
            _Question("PATCH", f"/files/{file_id}", json_body=changes, headers=headers)
        )
        return answers.read_file(answer.body)

    def delete_file(self, file_id: uuid.UUID) -> FileAttributes:
        """Mark the file deleted; its bytes are freed by the node's garbage collection."""
        return answers.read_file(self._ask(_Question("DELETE", f"/files/{file_id}")).body)

    def open_content(
        self, file_id: uuid.UUID, headers: Mapping[str, str], method: str = "GET"
    ) -> Content:
        """Start a download: 200, 206 or 304, headers as the node sent them, the bytes to stream."""
        path = f"/files/{file_id}/download"
        response, identity = self._start(self._request(method, path, headers))
        if response.status_code in (200, 206, 304):
            return Content(response, identity)
        with response:
            if method != "HEAD":
                raise self._problem(response)
        # A HEAD answer has no body to carry its code: the same question as GET has.
        self.open_content(file_id, headers, "GET").close()
        raise answers.invalid(f"is {response.status_code} to HEAD and fine to GET")

    def transition_mode(self, target_mode: str, *, confirm: bool) -> Answer:
        body = {"target_mode": target_mode, "confirm": confirm}
        return self._ask(_Question("POST", "/mode/transition", json_body=body))

    def start_reconcile(self) -> Answer:
        return self._ask(_Question("POST", "/maintenance/reconcile"))

    def get_reconcile(self) -> Answer:
        return self._ask(
            _Question("GET", "/maintenance/reconcile", limit_bytes=answers.PAGE_ANSWER_BYTES)
        )

    def collect_garbage(self, *, dry_run: bool) -> Answer:
        query = {"dry_run": "true"} if dry_run else {}
        return self._ask(
            _Question(
                "POST",
                "/maintenance/collect-garbage",
                query=query,
                limit_bytes=answers.PAGE_ANSWER_BYTES,
            )
        )

    def _ask(self, question: _Question) -> Answer:
        request = self._request(question.method, question.path, question.headers, question.query)
        if question.json_body is not None:
            request.headers["Content-Type"] = "application/json"
            request.body = json.dumps(question.json_body, ensure_ascii=False).encode()
            request.headers["Content-Length"] = str(len(request.body))
        patience = question.answer_seconds or settings.ARTSTORE_NODE_ANSWER_SECONDS
        with self._sent(request, patience) as (response, identity):
            raw = answers.read_limited(response, question.limit_bytes)
            return Answer(answers.decoded(raw), identity, response.status_code, len(raw))

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> requests.PreparedRequest:
        token = self._token() if callable(self._token) else self._token
        common = {"Accept-Encoding": "identity", "User-Agent": "artstore"}
        if request_id_var.get() != "-":
            common["X-Request-ID"] = request_id_var.get()
        if token:
            common["Authorization"] = f"Bearer {token}"
        request = requests.PreparedRequest()
        request.method = method
        request.url = f"{_base(self._address.url)}{path}"
        if query:
            request.url += "?" + urllib.parse.urlencode(query)
        request.headers = CaseInsensitiveDict({**common, **(headers or {})})
        if method not in {"GET", "HEAD"}:
            request.headers["Content-Length"] = "0"
        return request

    @contextmanager
    def _sent(
        self, request: requests.PreparedRequest, answer_seconds: float | None
    ) -> Iterator[tuple[requests.Response, Identity]]:
        """A 2xx answer, open to be read; anything else is raised.

        `answer_seconds` bounds the whole call. None is for calls that carry a body of any length.
        """
        call = Call(settings.ARTSTORE_NODE_STALL_SECONDS)
        if answer_seconds is not None:
            watchdog.watch(call, answer_seconds)
        try:
            response, identity = self._start(request, call)
            with response:
                if not 200 <= response.status_code < 300:
                    raise self._problem(response, call)
                yield response, identity
        except errors.NodeUnreachable as failure:
            failure.sent_body = call.body_started
            if call.expired:
                # Whatever the cut answer looked like, this is what happened.
                raise errors.NodeUnreachable(_TOO_LONG, sent_body=call.body_started) from failure
            raise
        finally:
            call.finish()

    def _start(
        self, request: requests.PreparedRequest, call: Call | None = None
    ) -> tuple[requests.Response, Identity]:
        call = call or Call(settings.ARTSTORE_NODE_STALL_SECONDS)
        try:
            response = wire.send(wire.session(self._address.ca_pem), request, call)
        except wire.BodyFailed as failure:
            raise failure.__cause__ or failure from None
        except errors.ElementUrlRefused as refused:
            if not self._expected.storage_id:
                raise
            # Who calls a registered element did not choose its address: for them it is away.
            raise errors.NodeUnreachable(refused.message) from refused
        except (requests.RequestException, HTTPError, OSError) as failure:
            if _came_too_late(request, call, failure):
                return self._start(request, call)
            raise errors.NodeUnreachable(_reason(failure, call)) from failure
        try:
            return response, answers.identify(response, self._expected)
        except errors.NodeFailure:
            response.close()
            raise

    @staticmethod
    def _problem(response: requests.Response, call: Call | None = None) -> errors.NodeFailure:
        if response.is_redirect or 300 <= response.status_code < 400:
            return answers.invalid("is a redirect, which is never followed")
        problem = answers.refusal(response)
        if isinstance(problem, errors.NodeRefused):
            problem.before_body = call is None or not call.body_started
            problem.epoch = response.headers.get("X-ArtStore-Epoch", "")
        return problem


@functools.lru_cache(1024)
def _base(url: str) -> str:
    """The root of the node's API, quoted as the wire needs it."""
    return str(requests.Request("GET", f"{url}/api/v1").prepare().url)


def encode_attributes(attributes: Mapping[str, Any]) -> str:
    """The attributes of an upload as their header: base64url, unpadded, of UTF-8 JSON."""
    try:
        raw = json.dumps(dict(attributes), ensure_ascii=False, separators=(",", ":")).encode()
    except ValueError as failure:
        raise AttributesInvalid("attributes hold text that is not UTF-8") from failure
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _frame(request: requests.PreparedRequest, upload: Upload) -> None:
    """Give the request its body, its length or chunking, and the interim answer to wait for."""
    size_bytes = upload.size_bytes
    expect = size_bytes is None or size_bytes > EXPECT_OVER_BYTES
    # requests types bodies as bytes and iterables; the adapter hands ours to the connection as is.
    request.body = wire.OutgoingBody(  # type: ignore[assignment]
        upload.blocks, expect_interim=expect, repeatable=upload.repeatable
    )
    if expect:
        request.headers["Expect"] = "100-continue"
    request.headers.pop("Content-Length", None)
    if size_bytes is not None:
        request.headers["Content-Length"] = str(size_bytes)


def _came_too_late(request: requests.PreparedRequest, call: Call, failure: Exception) -> bool:
    """Whether a connection was closed just as the request left, and another one can have it.

    A node closes what was idle for long, and everything when it restarts. The connection is out of
    the pool now, and the last one tried is new. Only of what can be done twice, RFC 9110, 9.2.2.
    """
    cause = failure.args[-1] if isinstance(failure, ProtocolError | SSLError) else None
    closed = isinstance(cause, ConnectionError | ssl.SSLEOFError | ssl.SSLZeroReturnError)
    if call.connected or call.expired or not closed:
        return False
    body: Any = request.body
    sendable = not call.body_started or body.repeatable
    return request.method in {"GET", "HEAD", "PUT"} and sendable


def _reason(failure: Exception, call: Call) -> Any:
    if call.expired:
        return _TOO_LONG
    if isinstance(failure, SSLError):
        return _("The element's TLS certificate is not the one trusted for it.")
    if isinstance(failure, ConnectTimeoutError):
        return _("The element did not accept a connection in time.")
    if isinstance(failure, ReadTimeoutError):
        return _("The element stopped answering.")
    return _("The element cannot be reached, or broke off the connection.")
