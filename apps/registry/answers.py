"""Reads what comes back over the wire: who answered, whether it is JSON of sane size, and which of our
errors a refusal is. Sends nothing.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import requests
from django.utils.translation import gettext_lazy as _
from urllib3.exceptions import HTTPError

from apps.registry import errors
from apps.registry.attributes import AttributesInvalid, FileAttributes, parse_file

CONTRACT = 1
SMALL_ANSWER_BYTES = 256 * 1024
# A thousand files with the longest name, description, tags and metadata, escaped, and some air.
PAGE_ANSWER_BYTES = 64 * 1024 * 1024

# Digits alike, and alike whatever a number can stand behind.
_NUMBERS = bytes.maketrans(b"0123456789:,[-\t\r\n", b"0" * 10 + b" " * 7)
_LONG_NUMBER = b" " + b"0" * 19

_REFUSALS: Mapping[str, type[errors.NodeRefused]] = {
    "CHECKSUM_MISMATCH": errors.NodeInvalidInput,
    "CONFIRMATION_REQUIRED": errors.NodeConfirmationRequired,
    "CONFLICT": errors.NodeConflict,
    "FILE_DAMAGED": errors.NodeFileDamaged,
    "FILE_GONE": errors.NodeFileGone,
    "FILE_TOO_LARGE": errors.NodeFileTooLarge,
    "INCOMPLETE_BODY": errors.NodeInvalidInput,
    "INVALID_RANGE": errors.NodeInvalidRange,
    "INVALID_TRANSITION": errors.NodeInvalidTransition,
    "MODE_NOT_ALLOWED": errors.NodeModeNotAllowed,
    "NOT_FOUND": errors.NodeFileNotFound,
    "NOT_WRITABLE": errors.NodeNotWritable,
    "OUTCOME_UNKNOWN": errors.NodeOutcomeUnknown,
    "PRECONDITION_FAILED": errors.NodePreconditionFailed,
    "RECONCILE_IN_PROGRESS": errors.NodeReconcileInProgress,
    "RESYNC_REQUIRED": errors.NodeResyncRequired,
    "STARTING": errors.NodeNotWritable,
    "STORAGE_FULL": errors.NodeStorageFull,
    "VALIDATION_ERROR": errors.NodeInvalidInput,
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answered: every answer of a node says it. `epoch` is empty while the node is starting."""

    storage_id: str
    instance_id: str
    epoch: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON answer and who gave it."""

    body: dict[str, Any]
    identity: Identity
    status: int
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Expected:
    """Who has to answer. An empty instance_id is not compared (a first look at a new element)."""

    storage_id: str = ""
    instance_id: str = ""


def identify(response: requests.Response, expected: Expected) -> Identity:
    """Who sent this answer; raises when it is no node, or another than expected."""
    found = Identity(
        response.headers.get("X-ArtStore-Storage-Id", ""),
        response.headers.get("X-ArtStore-Instance-Id", ""),
        response.headers.get("X-ArtStore-Epoch", ""),
    )
    if not found.storage_id or not found.instance_id:
        raise errors.NodeAnswerInvalid(
            _(
                "Something other than a storage node answered (HTTP %(status)s). Check the "
                "element's URL and what stands before it."
            )
            % {"status": response.status_code}
        )
    wanted = (
        expected.storage_id or found.storage_id,
        expected.instance_id or found.instance_id,
    )
    if wanted != (found.storage_id, found.instance_id):
        changed = errors.NodeIdentityChanged(
            _(
                "Storage element %(expected)s was called and %(found)s (instance %(instance)s) "
                "answered. Nothing was changed. Correct the URL, or confirm the new instance."
            )
            % {
                "expected": expected.storage_id,
                "found": found.storage_id,
                "instance": found.instance_id,
            }
        )
        if found.storage_id == wanted[0]:
            changed.offered_instance_id = found.instance_id
        raise changed
    return found


def read_json(response: requests.Response, limit_bytes: int) -> dict[str, Any]:
    """The answer's body as a JSON object of at most `limit_bytes`."""
    return decoded(read_limited(response, limit_bytes))


def decoded(raw: bytes) -> dict[str, Any]:
    """A body as a JSON object."""
    try:
        body = _loaded(raw)
    except (ValueError, RecursionError) as failure:
        raise invalid("is not JSON") from failure
    if not isinstance(body, dict):
        raise invalid("is not a JSON object")
    return body


def _loaded(raw: bytes) -> Any:
    """What `json.loads` makes of it. orjson is faster and makes the same of all that it takes, but for whole numbers
    beyond 64 bits. It takes less: no NaN, no half of a surrogate pair, nothing but UTF-8.
    """
    if _LONG_NUMBER not in raw.translate(_NUMBERS):
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(raw)
    return json.loads(raw)


def read_limited(response: requests.Response, limit_bytes: int) -> bytes:
    """The whole body, refused when it is longer than it may be, announced or not."""
    announced = response.headers.get("Content-Length", "")
    # The first digits tell, however many follow.
    if announced.isdecimal() and int(announced[:20]) > limit_bytes:
        raise invalid("is too long")
    raw = b""
    try:
        # One read may come up short without an error; only an empty one is the end.
        while part := response.raw.read(limit_bytes + 1 - len(raw), decode_content=False):
            raw += part
            if len(raw) > limit_bytes:
                raise invalid("is too long")
    except (HTTPError, OSError) as failure:
        raise errors.NodeUnreachable(_("The element's answer broke off.")) from failure
    return raw


def invalid(what: str) -> errors.NodeAnswerInvalid:
    """`what` completes "the element's answer ..."; for operators, so it stays English."""
    return errors.NodeAnswerInvalid(
        _("The element gave an answer that is not understood: it %(what)s.") % {"what": what}
    )


def read_file(body: Any) -> FileAttributes:
    try:
        return parse_file(body)
    except AttributesInvalid as failure:
        raise invalid(f"describes a file with {failure}") from failure


def refusal(response: requests.Response) -> errors.NodeFailure:
    """The error that a node's answer of 4xx or 5xx stands for."""
    try:
        body = read_json(response, SMALL_ANSWER_BYTES)
    except errors.NodeUnreachable as failure:
        return failure
    found = body.get("error")
    if not isinstance(found, dict) or not isinstance(found.get("code"), str):
        return invalid(f"is HTTP {response.status_code} without an error code")
    kind = _REFUSALS.get(found["code"], errors.NodeRefused)
    problem = kind(
        _("The storage element refused (%(code)s): %(message)s")
        % {"code": found["code"][:64], "message": str(found.get("message", ""))[:500]},
        node_code=found["code"][:64],
        node_status=response.status_code,
    )
    if isinstance(problem, errors.NodeFileGone) and found.get("status") in ("expired", "abandoned"):
        problem.file_status = found["status"]
    if isinstance(problem, errors.NodeInvalidRange) and "Content-Range" in response.headers:
        problem.headers["Content-Range"] = response.headers["Content-Range"]
    if isinstance(problem, errors.NodeConflict):
        problem.file = body.get("file")
    return problem
