r"""What the text of an attributes file tells without taking it apart, where it is exactly as this program writes it.

Nearly every file of an element is: known keys, sorted, nothing escaped that need not be. Its wire form is then its own
text without two members, and no value has to be made and written again. Whatever looks different in any way (a later
format, another program, control characters escaped as `\u....`, damage) is left to `FileAttributes.from_json`.
"""

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from storage_node.attributes import FORMAT, LARGEST, RECORDED_STATUSES, encode_json

# Possessive, so that a text that does not fit is found out in one pass.
_PLAIN = r'"[^"\\\x00-\x1f]*+"'
_STRING = r'"[^"\\\x00-\x1f]*+(?:\\["\\bfnrt][^"\\\x00-\x1f]*+)*+"'
_TIME = r'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)"'
# As many digits as `LARGEST` has.
_POSITIVE = rf"[1-9][0-9]{{0,{len(str(LARGEST)) - 1}}}"
_NUMBER = rf"(?:0|{_POSITIVE})"
_ID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_CANONICAL = re.compile(
    rf'(\{{"checksum": {_STRING}, "content_type": {_STRING}, "deleted_at": (?:null|{_TIME}), '
    rf'"description": (?:null|{_STRING}), "expires_at": (?:null|{_TIME}), "file_id": "({_ID})", )'
    rf'"format": {FORMAT}, '
    rf'("metadata": (\{{.*\}}), "original_filename": {_STRING}, "retention_policy": {_STRING}, '
    rf'"revision": ({_POSITIVE}), "size": ({_NUMBER}), "status": "({"|".join(RECORDED_STATUSES)})", )'
    rf'"stored_name": ({_PLAIN}), '
    rf'("tags": \[(?:{_STRING}(?:, {_STRING})*+)?\], "ttl_days": (?:null|{_NUMBER}), '
    rf'"updated_at": {_TIME}, "uploaded_at": {_TIME}, "uploaded_by": {_STRING}\}})\n',
    re.ASCII,
)
_decode: Callable[[str], Any] = json.JSONDecoder().decode
_is_time: Callable[[str], datetime] = datetime.fromisoformat


class Glance(NamedTuple):
    """What an index keeps of a file. `wire_json` is as `FileAttributes.wire_json`, moments are as `stamp` writes them."""

    id_text: str
    stored_name: str
    status: str
    size: int
    revision: int
    expires_at: str | None
    updated_at: str
    wire_json: str


def glance(raw: bytes) -> Glance | None:
    """The same as decoding, checking and encoding `raw` would give; None where only doing so would tell."""
    try:
        found = _CANONICAL.fullmatch(raw.decode())
        if found is None:
            return None
        (first, deleted_at, expires_at, id_text, second, metadata, revision, size, status) = (
            found.groups()[:9]
        )
        (stored_name, third, updated_at, uploaded_at) = found.groups()[9:]
        if metadata != "{}" and encode_json(_decode(metadata)) != metadata:
            return None
        for time in (updated_at, uploaded_at, deleted_at, expires_at):
            if time is not None:
                _is_time(time)
    except (ValueError, RecursionError):
        return None
    text = "".join((first, second, third))
    return Glance(
        id_text,
        stored_name[1:-1],
        status,
        int(size),
        int(revision),
        expires_at,
        updated_at,
        text,
    )
