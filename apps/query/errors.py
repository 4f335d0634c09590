"""Why a file could not be found or got out, each with its code and status.

ArtStoreError
|- SearchTimedOut       503  the search would have cost too much
|- FileGone             410  the file expired or was deleted
|- ElementUnsure        502  the element does not find the file, and is not believed

What the element itself refuses are `apps.registry.errors`.
"""

from typing import ClassVar

from artstore.errors import ArtStoreError


class SearchTimedOut(ArtStoreError):
    code: ClassVar[str] = "SEARCH_TIMEOUT"
    status: ClassVar[int] = 503


class FileGone(ArtStoreError):
    code: ClassVar[str] = "FILE_GONE"
    status: ClassVar[int] = 410


class ElementUnsure(ArtStoreError):
    code: ClassVar[str] = "SE_UNAVAILABLE"
    status: ClassVar[int] = 502
