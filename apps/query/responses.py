"""A download as an HTTP response; one shape for REST and for pages."""

import errno
import socket
from collections.abc import Iterator, Mapping

from django.conf import settings
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import ResponseHeaders

from apps.query import handover
from apps.query.download import ASKED, Ask, Download
from apps.registry.errors import NodeUnreachable
from artstore.unread import limit_silence


class _ContractHeaders(ResponseHeaders):
    """Takes the headers it was made with and a request id; middleware's others fall off."""

    def __init__(self, contract: Mapping[str, str]) -> None:
        self._allowed = {name.lower() for name in contract} | {"x-request-id"}
        super().__init__(dict(contract))

    def __setitem__(self, key: str, value: str | bytes | int) -> None:
        if key.lower() in self._allowed:
            super().__setitem__(key, value)


class DownloadResponse(StreamingHttpResponse):
    """Carries the contract's headers and no others, whatever middleware adds on the way out."""

    def __init__(self, download: Download, request: HttpRequest) -> None:
        super().__init__(_to_client(download.blocks, request), status=download.status)
        self.headers = _ContractHeaders(download.headers)


def ask_of(request: HttpRequest, *, inline: bool) -> Ask:
    """What the request wants of the file's bytes."""
    headers = {name: request.headers[name] for name in ASKED if name in request.headers}
    handed_over = handover.is_wanted(request.headers.get("X-ArtStore-Handover", ""))
    return Ask(request.method or "GET", headers, inline, handed_over)


def _to_client(blocks: Iterator[bytes], request: HttpRequest) -> Iterator[bytes]:
    connection: socket.socket | None = request.META.get("gunicorn.socket")
    if connection is not None:
        # A client that takes no byte for this long is gone.
        limit_silence(connection, socket.SO_SNDTIMEO, settings.ARTSTORE_CLIENT_STALL_SECONDS)
    try:
        yield from blocks
    except NodeUnreachable as failure:
        # Too late for a status: only a broken connection says that bytes are missing.
        raise ConnectionResetError(errno.ECONNRESET, "the element broke off") from failure
    finally:
        close = getattr(blocks, "close", None)
        if close is not None:
            close()
