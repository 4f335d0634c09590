"""Every failure the node can name: a code, an HTTP status, and a sentence for the caller.

Raised anywhere behind the door, answered once in `envelope.py`. The sentence says what was attempted, what went wrong
and, where anything can be done, what to do. Nothing here does I/O or knows a request.

    NodeError
    |- ValidationFailed 400         ChecksumMismatch 400      IncompleteBody 400
    |- Unauthorized 401             Forbidden 403
    |- NotFound 404                 UnknownRoute 404          MethodNotAllowed 405
    |- RequestStalled 408
    |- Conflict 409                 `- FileHere 409
    |- ModeNotAllowed 409           FileDamaged 409
    |- InvalidTransition 409        ConfirmationRequired 409  ReconcileInProgress 409
    |- FileGone 410                 ResyncRequired 410
    |- PreconditionFailed 412       FileTooLarge 413          UnsupportedMediaType 415
    |- InvalidRange 416             HeadersTooLarge 431
    |- OutcomeUnknown 500           InternalError 500
    |- NotWritable 503              Starting 503
    |- StorageFull 507
    `- RefusedToStart               never leaves over HTTP: the shell prints it
"""

from collections.abc import Mapping, Sequence


class NodeError(Exception):
    """A failure with a name. `extra` members join `error` in the answer."""

    code = "INTERNAL_ERROR"
    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def extra(self) -> dict[str, object]:
        """Members of the error object beyond code and message."""
        return {}

    def beside(self) -> dict[str, object]:
        """Members of the answer next to the error object."""
        return {}

    def headers(self) -> dict[str, str]:
        """Headers the answer needs because of this failure."""
        return {}


class ValidationFailed(NodeError):
    """Something sent is not allowed; `details` maps each field to what is wrong with it."""

    code = "VALIDATION_ERROR"
    status = 400

    def __init__(self, message: str, details: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__(message)
        self.details = {field: list(problems) for field, problems in (details or {}).items()}

    def extra(self) -> dict[str, object]:
        return {"details": self.details} if self.details else {}


class ChecksumMismatch(NodeError):
    """The bytes received do not have the digest announced."""

    code = "CHECKSUM_MISMATCH"
    status = 400


class IncompleteBody(NodeError):
    """Fewer bytes came than were declared."""

    code = "INCOMPLETE_BODY"
    status = 400


class Unauthorized(NodeError):
    """No token, or one this element does not accept."""

    code = "UNAUTHORIZED"
    status = 401

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(NodeError):
    """A good token whose scopes do not cover the call."""

    code = "FORBIDDEN"
    status = 403


class NotFound(NodeError):
    """Index and disk agree that there is no such file."""

    code = "NOT_FOUND"
    status = 404


class UnknownRoute(NodeError):
    """Nothing lives at this address; says nothing about any file."""

    code = "UNKNOWN_ROUTE"
    status = 404


class MethodNotAllowed(NodeError):
    """The address exists, the method does not; `allowed` are the ones that do."""

    code = "METHOD_NOT_ALLOWED"
    status = 405

    def __init__(self, message: str, allowed: Sequence[str]) -> None:
        super().__init__(message)
        self.allowed = tuple(allowed)

    def headers(self) -> dict[str, str]:
        return {"Allow": ", ".join(self.allowed)}


class RequestStalled(NodeError):
    """The caller owed bytes and sent none for the stall timeout."""

    code = "REQUEST_STALLED"
    status = 408


class Conflict(NodeError):
    """The id already holds other bytes."""

    code = "CONFLICT"
    status = 409


class FileHere(Conflict):
    """The file whose id was to be given up is here; `file` is its wire form, for the caller to adopt."""

    def __init__(self, message: str, file: Mapping[str, object]) -> None:
        super().__init__(message)
        self.file = dict(file)

    def beside(self) -> dict[str, object]:
        return {"file": self.file}


class ModeNotAllowed(NodeError):
    """The element's mode does not allow the call."""

    code = "MODE_NOT_ALLOWED"
    status = 409


class FileDamaged(NodeError):
    """The bytes on disk are known not to be the ones stored."""

    code = "FILE_DAMAGED"
    status = 409


class InvalidTransition(NodeError):
    """The mode can not become that one."""

    code = "INVALID_TRANSITION"
    status = 409


class ConfirmationRequired(NodeError):
    """The mode can become that one only with confirm: true."""

    code = "CONFIRMATION_REQUIRED"
    status = 409


class ReconcileInProgress(NodeError):
    """One reconcile at a time."""

    code = "RECONCILE_IN_PROGRESS"
    status = 409


class FileGone(NodeError):
    """The file is over; `file_status` says how: expired or deleted."""

    code = "FILE_GONE"
    status = 410

    def __init__(self, message: str, file_status: str) -> None:
        super().__init__(message)
        self.file_status = file_status

    def extra(self) -> dict[str, object]:
        return {"status": self.file_status}


class ResyncRequired(NodeError):
    """Changes asked for are not known here any more: list from since=0."""

    code = "RESYNC_REQUIRED"
    status = 410


class PreconditionFailed(NodeError):
    """The file is at another revision than If-Match names."""

    code = "PRECONDITION_FAILED"
    status = 412


class FileTooLarge(NodeError):
    """The file is larger than SE_MAX_FILE_SIZE."""

    code = "FILE_TOO_LARGE"
    status = 413


class UnsupportedMediaType(NodeError):
    """The body is not of the kind this call reads."""

    code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415


class InvalidRange(NodeError):
    """The file has none of the bytes asked for."""

    code = "INVALID_RANGE"
    status = 416

    def __init__(self, message: str, size_bytes: int) -> None:
        super().__init__(message)
        self.size_bytes = size_bytes

    def headers(self) -> dict[str, str]:
        return {"Content-Range": f"bytes */{self.size_bytes}"}


class HeadersTooLarge(NodeError):
    """The request's headers are larger than 64 KiB."""

    code = "HEADERS_TOO_LARGE"
    status = 431


class InternalError(NodeError):
    """A fault of the node; the log has it under the request id."""

    code = "INTERNAL_ERROR"
    status = 500


class OutcomeUnknown(NodeError):
    """The change may or may not be on disk."""

    code = "OUTCOME_UNKNOWN"
    status = 500


class NotWritable(NodeError):
    """The disk failed; no changes until the node is restarted, reads go on."""

    code = "NOT_WRITABLE"
    status = 503

    def headers(self) -> dict[str, str]:
        return {"Retry-After": "30"}


class Starting(NodeError):
    """The index is being rebuilt."""

    code = "STARTING"
    status = 503

    def headers(self) -> dict[str, str]:
        return {"Retry-After": "5"}


class StorageFull(NodeError):
    """There is no room for the bytes."""

    code = "STORAGE_FULL"
    status = 507


class RefusedToStart(NodeError):
    """The directory or the settings are not fit to serve; the message says what to do."""

    code = "REFUSED_TO_START"


class ClientLeft(Exception):
    """The connection went away before the exchange was whole; nobody is left to be answered."""
