"""Why a file could not be taken in, each with its code and status.

ArtStoreError
|- IncompleteBody, ChecksumMismatch     400  the client sent less, or other bytes than it said
|- FileTooLarge                         413  more than one file may have
|- UnsupportedContent                   415  a coding or form we do not unpack
|- IdempotencyMismatch                  422  the key belongs to another upload
|- UploadInProgress                     409  the first upload with this key still runs
|- UploadGone                           410  the file of this key was deleted or expired
|- UploadFailed                         502  the element gave no usable answer
|- NoStorageAvailable                   503  nowhere to put it at the moment
|- StorageFull                          507  elements are there, none has room

Fields that are not valid are `artstore.errors.ValidationError`.
"""

from typing import ClassVar

from artstore.errors import ArtStoreError, Conflict


class IncompleteBody(ArtStoreError):
    """The body ended, broke off or fell silent before it was complete."""

    code: ClassVar[str] = "INCOMPLETE_BODY"
    status: ClassVar[int] = 400


class ChecksumMismatch(ArtStoreError):
    code: ClassVar[str] = "CHECKSUM_MISMATCH"
    status: ClassVar[int] = 400


class FileTooLarge(ArtStoreError):
    code: ClassVar[str] = "FILE_TOO_LARGE"
    status: ClassVar[int] = 413


class UnsupportedContent(ArtStoreError):
    code: ClassVar[str] = "UNSUPPORTED_MEDIA_TYPE"
    status: ClassVar[int] = 415


class IdempotencyMismatch(ArtStoreError):
    code: ClassVar[str] = "IDEMPOTENCY_MISMATCH"
    status: ClassVar[int] = 422


class UploadInProgress(Conflict):
    code: ClassVar[str] = "UPLOAD_IN_PROGRESS"


class UploadGone(ArtStoreError):
    code: ClassVar[str] = "FILE_GONE"
    status: ClassVar[int] = 410


class UploadFailed(ArtStoreError):
    code: ClassVar[str] = "SE_UPLOAD_FAILED"
    status: ClassVar[int] = 502


class NoStorageAvailable(ArtStoreError):
    code: ClassVar[str] = "NO_STORAGE_AVAILABLE"
    status: ClassVar[int] = 503


class StorageFull(ArtStoreError):
    code: ClassVar[str] = "STORAGE_FULL"
    status: ClassVar[int] = 507
