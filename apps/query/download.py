"""How a file gets out: find where it is, ask its element, pass on what comes.

The element's word about bytes (length, range, digest, date) goes through as it is; names and types
come from the record; nothing else of the element's answer reaches the client, its address least of
all. Sees no request: `Ask` and `Download` hold plain values.
"""

import dataclasses
import datetime as dt
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from apps.admin.principals import Principal
from apps.query import handover, metrics, nodes
from apps.query.cache import records
from apps.query.disposition import content_disposition
from apps.query.errors import ElementUnsure, FileGone
from apps.registry import cleanup, probing
from apps.registry.errors import (
    FileNotFound,
    NodeFailure,
    NodeFileGone,
    NodeFileNotFound,
    NodeInvalidRange,
    NodeUnreachable,
    file_not_found,
)
from apps.registry.models import FileRecord, FileStatus
from apps.registry.node_client import Content
from artstore import database
from artstore.errors import ArtStoreError

# What a client may ask of the bytes, and what the element says of them.
ASKED = ("Range", "If-Range", "If-None-Match", "If-Modified-Since")
_OF_THE_BYTES = (
    "Content-Length",
    "Content-Range",
    "Accept-Ranges",
    "ETag",
    "Last-Modified",
    "Repr-Digest",
)
_OF_AN_UNCHANGED_FILE = ("ETag", "Last-Modified", "Repr-Digest")


@dataclass(frozen=True, slots=True)
class Ask:
    """What the client wants of the file. `headers` holds only names from `ASKED`.

    `handed_over`: whoever passes the answer on fetches the bytes itself; see `handover`.
    """

    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    inline: bool = False
    handed_over: bool = False


@dataclass(frozen=True, slots=True)
class Download:
    """An answer to pass on. `blocks` is empty for HEAD and for a file that did not change."""

    status: int
    headers: Mapping[str, str]
    blocks: Iterator[bytes]


def open_file(file_id: uuid.UUID, ask: Ask, principal: Principal, now: dt.datetime) -> Download:
    """Ask the file's element for its bytes; they move when `blocks` is read."""
    record = find_present(file_id, now)
    database.release()
    element = record.storage_element
    if ask.handed_over and ask.method == "GET" and element and handover.is_possible(element):
        return _hand_over(record, ask, principal, now)
    content = _open_content(record, ask, principal, now)
    headers = answer_headers(record, ask, content)
    # The token may have needed the signing key; nothing is held while bytes move.
    database.release()
    if ask.method == "HEAD" or content.status == 304:
        content.close()
        metrics.DOWNLOADS.labels("unchanged" if content.status == 304 else "complete").inc()
        return Download(content.status, headers, iter(()))
    return Download(content.status, headers, _blocks(content))


def _hand_over(record: FileRecord, ask: Ask, principal: Principal, now: dt.datetime) -> Download:
    """The element is asked for the head alone; the bytes go past us."""
    asked = dataclasses.replace(ask, method="HEAD")
    with _open_content(record, asked, principal, now) as content:
        headers = answer_headers(record, ask, content)
        if content.status == 304:
            metrics.DOWNLOADS.labels("unchanged").inc()
            return Download(content.status, headers, iter(()))
    element = record.storage_element
    assert element is not None  # find_present made sure
    try:
        told = handover.headers(element, record.file_id, principal.subject)
    except OSError as failure:
        raise NodeUnreachable(_("The element did not accept a connection in time.")) from failure
    database.release()
    metrics.DOWNLOADS.labels("handed_over").inc()
    return Download(200, told | handover.to_pass_on(headers), iter(()))


def find_present(file_id: uuid.UUID, now: dt.datetime) -> FileRecord:
    """The record of a file that should be there; `NotFound` or `FileGone` otherwise."""
    record = records.get(file_id, now)
    if record is None:
        raise file_not_found(file_id)
    expired = record.expires_at is not None and record.expires_at <= now
    if record.status == FileStatus.EXPIRED or (record.status == FileStatus.ACTIVE and expired):
        raise FileGone(_("The file %(id)s has expired.") % {"id": file_id})
    if record.status != FileStatus.ACTIVE or record.storage_element is None:
        raise FileGone(_("The file %(id)s was deleted.") % {"id": file_id})
    return record


def answer_headers(record: FileRecord, ask: Ask, content: Content) -> dict[str, str]:
    """The headers of the contract, and no others."""
    unchanged = content.status == 304
    passed = _OF_AN_UNCHANGED_FILE if unchanged else _OF_THE_BYTES
    headers = {name: content.headers[name] for name in passed if name in content.headers}
    if not unchanged:
        headers["Content-Type"] = record.content_type
        headers["Content-Disposition"] = content_disposition(
            record.original_filename, inline=ask.inline
        )
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Cache-Control"] = "private"
    if ask.inline:
        headers["Content-Security-Policy"] = "sandbox"
    return headers


def _open_content(record: FileRecord, ask: Ask, principal: Principal, now: dt.datetime) -> Content:
    element = record.storage_element
    assert element is not None  # find_present made sure
    client = nodes.client(element, principal.subject)
    try:
        with probing.noting_failures(element):
            return client.open_content(record.file_id, ask.headers, ask.method)
    except (NodeFileNotFound, NodeFileGone) as missing:
        raise _after_missing(record.file_id, now) from missing
    except NodeInvalidRange as refused:
        refused.headers.setdefault("Content-Range", f"bytes */{record.size}")
        raise
    except NodeFailure as failure:
        metrics.DOWNLOADS.labels(failure.code).inc()
        raise


def _after_missing(file_id: uuid.UUID, now: dt.datetime) -> ArtStoreError:
    """The element says it has no such file: is the record wrong, or the element?"""
    records.drop(file_id)
    try:
        verdict = cleanup.settle_missing(find_present(file_id, now), now)
    except (FileGone, FileNotFound) as known:
        return known
    finally:
        records.drop(file_id)
    if verdict is cleanup.Verdict.GONE:
        return FileGone(_("The file %(id)s is gone.") % {"id": file_id})
    return ElementUnsure(
        _("The storage element did not find the file %(id)s, but that is not certain. Try later.")
        % {"id": file_id}
    )


def _blocks(content: Content) -> Iterator[bytes]:
    """The bytes; ends with an exception where the element's transfer did."""
    outcome = "cut"
    with content, metrics.DOWNLOADS_RUNNING.track_inprogress():
        try:
            for block in content.blocks():
                yield block
                metrics.DOWNLOADED_BYTES.inc(len(block))
            outcome = "complete"
        finally:
            metrics.DOWNLOADS.labels(outcome).inc()
