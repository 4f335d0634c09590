"""Compares one element's files with its records and changes nothing: a sync's dry run."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from apps.registry import credentials, feed
from apps.registry.answers import Answer
from apps.registry.attributes import AttributesInvalid, FileAttributes, parse_file
from apps.registry.models import FileRecord, FileStatus, StorageElement, columns_of

_NOT_COMPARED = frozenset({"deletion_reason"})


@dataclass(frozen=True, slots=True)
class Difference:
    """One file and how the registry differs from the element about it."""

    file_id: uuid.UUID | None
    kind: str
    fields: tuple[str, ...] = ()


@dataclass(slots=True)
class Comparison:
    """What a full sync of the element would find."""

    files: int = 0
    equal: int = 0
    differences: list[Difference] = field(default_factory=list)


def compare(element: StorageElement) -> Comparison:
    """Read the whole feed and hold it against the records. Changes made meanwhile show up as
    differences."""
    caller = credentials.for_system("files:read", "storage:read")
    client = credentials.client(element, caller)
    epoch = client.get_info().identity.epoch
    found = Comparison()
    seen: set[uuid.UUID] = set()
    for answer, page in feed.answered(client, epoch):
        said = _described(answer, page)
        seen |= said.keys() | {one.file_id for one in page.rejected if one.file_id}
        found.files += len(said)
        differing = list(_page_differences(said, page, element))
        found.equal += len(said) - sum(one.file_id in said for one in differing)
        found.differences += differing
    found.differences += _missing(element, seen)
    return found


def _described(answer: Answer, page: feed.Page) -> dict[uuid.UUID, FileAttributes]:
    """The page's files by their fields, as they stand at its end."""
    found = {}
    for item in answer.body["items"]:
        with contextlib.suppress(AttributesInvalid, AttributeError):
            one = parse_file(item.get("file"))
            found[one.file_id] = one
    return {one.file_id: one for one in found.values() if str(one.file_id) in page.files}


def _page_differences(
    said: dict[uuid.UUID, FileAttributes], page: feed.Page, element: StorageElement
) -> Iterator[Difference]:
    freed = [one.file_id for one in page.tombstones.values()]
    records = FileRecord.objects.in_bulk([*said, *freed])
    for file_id, attributes in said.items():
        difference = _difference(attributes, records.get(file_id), element)
        if difference is not None:
            yield difference
    for file_id in freed:
        record = records.get(file_id)
        if record is not None and _is_own_active(record, element):
            yield Difference(file_id, "deleted on the element")
    for rejected in page.rejected:
        yield Difference(rejected.file_id, f"rejected: {rejected.reason}")


def _difference(
    attributes: FileAttributes, record: FileRecord | None, element: StorageElement
) -> Difference | None:
    if record is None:
        return Difference(attributes.file_id, "not in the registry")
    if record.storage_element_id != element.pk:
        return Difference(attributes.file_id, "held by another element")
    if record.status == FileStatus.UPLOADING:
        return Difference(attributes.file_id, "still uploading in the registry")
    wanted: dict[str, Any] = columns_of(attributes)
    fields = tuple(
        name
        for name, value in wanted.items()
        if name not in _NOT_COMPARED and getattr(record, name) != value
    )
    return Difference(attributes.file_id, "differs", fields) if fields else None


def _missing(element: StorageElement, seen: set[uuid.UUID]) -> Iterator[Difference]:
    active = FileRecord.objects.filter(storage_element=element, status=FileStatus.ACTIVE)
    for file_id in active.values_list("pk", flat=True).iterator(chunk_size=10_000):
        if file_id not in seen:
            yield Difference(file_id, "missing on the element")


def _is_own_active(record: FileRecord, element: StorageElement) -> bool:
    return record.storage_element_id == element.pk and record.status == FileStatus.ACTIVE
