"""Answers the handlers have in common: JSON, and a file with its revision as `ETag`."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from starlette.responses import Response

from storage_node.attributes import FileAttributes, stamp
from storage_node.drafts import digest_header


def json_answer(members: Mapping[str, Any], status: int = 200) -> Response:
    """Members as a JSON object."""
    return raw_json_answer(json.dumps(members, ensure_ascii=False), status)


def raw_json_answer(
    text: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Text that is JSON already: attributes keep theirs, and a page of a thousand joins it."""
    return Response(text.encode(), status, headers, "application/json")


def file_answer(attributes: FileAttributes) -> Response:
    """A file after a change."""
    return raw_json_answer(attributes.wire_json, 200, {"ETag": f'"{attributes.revision}"'})


def verified_file_answer(attributes: FileAttributes, verified_at: datetime | None) -> Response:
    """A file asked for, with the moment its bytes were last seen to agree with its checksum."""
    seen = json.dumps(None if verified_at is None else stamp(verified_at))
    text = f'{attributes.wire_json[:-1]}, "verified_at": {seen}}}'
    return raw_json_answer(text, 200, {"ETag": f'"{attributes.revision}"'})


def stored_answer(attributes: FileAttributes, created: bool) -> Response:
    """A file after an upload: 201, or 200 when the same upload had been stored before."""
    headers = {
        "ETag": f'"{attributes.revision}"',
        "Location": f"/api/v1/files/{attributes.file_id}",
        "Repr-Digest": digest_header(attributes.checksum),
    }
    return raw_json_answer(attributes.wire_json, 201 if created else 200, headers)
