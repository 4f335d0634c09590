"""What one may ask of a search, as plain values. Decides defaults; touches no database."""

import datetime as dt
import enum
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.registry.models import FileStatus
from artstore import paging


class SearchMode(enum.StrEnum):
    """How `query` is read."""

    EXACT = "exact"
    PARTIAL = "partial"
    FULLTEXT = "fulltext"


class SortBy(enum.StrEnum):
    """What a page is ordered by."""

    UPLOADED_AT = "uploaded_at"
    ORIGINAL_FILENAME = "original_filename"
    SIZE = "size"
    RELEVANCE = "relevance"


class SortOrder(enum.StrEnum):
    """Which end comes first."""

    ASC = "asc"
    DESC = "desc"


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """Everything one may ask for; the door has validated the values."""

    query: str = ""
    mode: SearchMode = SearchMode.PARTIAL
    filename: str = ""
    file_extension: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    uploaded_by: str = ""
    retention_policy: str = ""
    status: str = FileStatus.ACTIVE.value
    min_size: int | None = None
    max_size: int | None = None
    uploaded_after: dt.datetime | None = None
    uploaded_before: dt.datetime | None = None
    content_type: str = ""
    checksum: str = ""
    # Not in the REST contract: pages and the shell, where every reader may know the element.
    element_id: uuid.UUID | None = None
    limit: int = paging.DEFAULT_LIMIT
    offset: int = 0
    cursor: str | None = None
    sort_by: SortBy | None = None
    sort_order: SortOrder | None = None

    @property
    def is_ranked(self) -> bool:
        """Whether files carry a relevance."""
        return self.mode is SearchMode.FULLTEXT and bool(self.query)

    @property
    def sort(self) -> SortBy:
        """The order asked for, else the most relevant or the newest first."""
        return self.sort_by or (SortBy.RELEVANCE if self.is_ranked else SortBy.UPLOADED_AT)

    @property
    def descending(self) -> bool:
        """The order asked for, else names from A and everything else from the largest."""
        by_name = self.sort is SortBy.ORIGINAL_FILENAME
        default = SortOrder.ASC if by_name else SortOrder.DESC
        return (self.sort_order or default) is SortOrder.DESC
