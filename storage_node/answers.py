"""Answers the handlers have in common: JSON, and a file with its revision as `ETag`."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from storage_node.attributes import FileAttributes, stamp
from storage_node.drafts import digest_header

Headers = Sequence[tuple[bytes, bytes]]


class Answer:
    """A whole answer; an ASGI app like Starlette's Response, without what a node has no use for (cookies, charsets,
    background work). Header names are lower-case."""

    def __init__(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


def raw_headers(headers: Headers) -> bytes:
    """Headers as they go over the wire. A line break inside one would be a header of somebody else's making."""
    raw = b"".join([b"%b: %b\r\n" % header for header in headers])
    if raw.count(b"\n") != len(headers) or raw.count(b"\r") != len(headers):
        raise RuntimeError("a header value holds a line break")
    return raw


def nothing(status: int = 204) -> Answer:
    """An answer without a body."""
    return Answer(status, [])


def json_answer(members: Mapping[str, Any], status: int = 200) -> Answer:
    """Members as a JSON object."""
    return raw_json_answer(json.dumps(members, ensure_ascii=False), status)


def raw_json_answer(text: str, status: int = 200, headers: Headers = ()) -> Answer:
    """Text that is JSON already: attributes keep theirs, and a page of a thousand joins it."""
    body = text.encode()
    length = (b"content-length", b"%d" % len(body))
    return Answer(status, [*headers, (b"content-type", b"application/json"), length], body)


def _revision_tag(attributes: FileAttributes) -> tuple[bytes, bytes]:
    return b"etag", b'"%d"' % attributes.revision


def file_answer(attributes: FileAttributes) -> Answer:
    """A file after a change."""
    return raw_json_answer(attributes.wire_json, 200, [_revision_tag(attributes)])


def verified_file_answer(attributes: FileAttributes, verified_at: datetime | None) -> Answer:
    """A file asked for, with the moment its bytes were last seen to agree with its checksum."""
    seen = json.dumps(None if verified_at is None else stamp(verified_at))
    text = f'{attributes.wire_json[:-1]}, "verified_at": {seen}}}'
    return raw_json_answer(text, 200, [_revision_tag(attributes)])


def stored_answer(attributes: FileAttributes, created: bool) -> Answer:
    """A file after an upload: 201, or 200 when the same upload had been stored before."""
    headers = [
        _revision_tag(attributes),
        (b"location", f"/api/v1/files/{attributes.id_text}".encode()),
        (b"repr-digest", digest_header(attributes.checksum).encode()),
    ]
    return raw_json_answer(attributes.wire_json, 201 if created else 200, headers)
