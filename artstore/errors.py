"""The root of every failure a caller may see: a code, an HTTP status and one human sentence.

Imports nothing of ours. Each app's `errors.py` subclasses these; doors translate them once
(`artstore.api` to the REST envelope, `artstore.pages` to a page or notice, commands to
`CommandError`).
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

Details = Mapping[str, Sequence[str]]


class ArtStoreError(Exception):
    """A failure with a name.

    `message` says what was attempted, what went wrong and what to do. `details` maps a field to
    its messages. `headers` are added to the HTTP answer (`Retry-After`, for one).
    """

    code: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        details: Details | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.headers = dict(headers or {})

    def __str__(self) -> str:
        return str(self.message)


class ValidationError(ArtStoreError):
    code = "VALIDATION_ERROR"
    status = 400


class Unauthorized(ArtStoreError):
    code = "UNAUTHORIZED"
    status = 401


class Forbidden(ArtStoreError):
    code = "FORBIDDEN"
    status = 403


class NotFound(ArtStoreError):
    code = "NOT_FOUND"
    status = 404


class Conflict(ArtStoreError):
    code = "CONFLICT"
    status = 409
