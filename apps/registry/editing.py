"""Editing and deleting a file: the element first, because it is the truth, then the record.

A crash between the two is healed by sync. The record takes over everything the element answers, so
after success both say the same field by field.
"""

import datetime as dt
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from apps.admin import audit
from apps.admin.principals import Principal
from apps.registry import credentials, probing, written
from apps.registry.attributes import FileAttributes
from apps.registry.errors import (
    ElementNotWilling,
    NodeFileGone,
    NodeFileNotFound,
    file_not_found,
)
from apps.registry.models import FileRecord, FileStatus, StorageElement
from apps.registry.node_client import NodeClient
from artstore import database
from artstore.errors import ValidationError

MAX_DESCRIBED_BYTES = 12 * 1024


@dataclass(frozen=True, slots=True)
class FileEdit:
    """What to change. A name that is missing stays; `description` may be given as None."""

    changes: Mapping[str, Any]


def get(file_id: uuid.UUID) -> FileRecord:
    """The file's record whatever its status, or `FileNotFound`; never one still uploading."""
    found = FileRecord.objects.visible().filter(pk=file_id).first()
    if found is None:
        raise file_not_found(file_id)
    return found


def edit_file(
    file_id: uuid.UUID, edit: FileEdit, principal: Principal, now: dt.datetime
) -> FileRecord:
    """Change description, tags or metadata of an active file."""
    record, element = _editable(file_id)
    _check_size(record, edit)
    with _gone_is_not_found(file_id), probing.noting_failures(element):
        attributes = _client(element, principal).edit_file(file_id, edit.changes)
    return _write_down(attributes, element, ("file.edit", sorted(edit.changes)), (principal, now))


def delete_file(file_id: uuid.UUID, principal: Principal, now: dt.datetime) -> FileRecord:
    """Delete an active file: marked on its element, whose garbage collection frees the bytes."""
    record, element = _editable(file_id)
    with _gone_is_not_found(file_id), probing.noting_failures(element):
        attributes = _client(element, principal).delete_file(file_id)
    details = [record.original_filename]
    return _write_down(attributes, element, ("file.delete", details), (principal, now))


def _editable(file_id: uuid.UUID) -> tuple[FileRecord, StorageElement]:
    record = FileRecord.objects.select_related("storage_element").filter(pk=file_id).first()
    if record is None or record.status != FileStatus.ACTIVE:
        raise file_not_found(file_id)
    if record.storage_element is None:
        raise ElementNotWilling(
            str(_("The storage element of this file is not registered any more."))
        )
    return record, record.storage_element


def _client(element: StorageElement, principal: Principal) -> NodeClient:
    client = credentials.client(
        element, credentials.Caller(principal.subject, "admin", ("files:write",))
    )
    database.release()
    return client


def _write_down(
    attributes: FileAttributes,
    element: StorageElement,
    act: tuple[str, list[str]],
    by: tuple[Principal, dt.datetime],
) -> FileRecord:
    (action, names), (principal, now) = act, by
    with transaction.atomic():
        # No row changed: a sync was faster with this revision or a later one. That is success.
        FileRecord.apply(element.pk, attributes)
        written.changes.note(attributes.file_id)
        target = f"file:{attributes.file_id}"
        audit.record(principal, action, target, {"about": names}, now)
    return get(attributes.file_id)


class _gone_is_not_found:  # noqa: N801 - reads as a clause of a with statement
    """PATCH and DELETE of a file that is no more answer 404; the record is left to lazy cleanup
    and sync, which confirm before they touch it."""

    def __init__(self, file_id: uuid.UUID) -> None:
        self._file_id = file_id

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, failure: BaseException | None, _trace: object) -> None:
        if isinstance(failure, NodeFileGone | NodeFileNotFound):
            raise file_not_found(self._file_id) from failure


def _check_size(record: FileRecord, edit: FileEdit) -> None:
    """Description, tags and metadata together have one limit, so the unchanged ones count too."""
    described = {
        "description": edit.changes.get("description", record.description),
        "tags": edit.changes.get("tags", record.tags),
        "metadata": edit.changes.get("metadata", record.metadata),
    }
    size_bytes = len(json.dumps(described, ensure_ascii=False).encode())
    if size_bytes > MAX_DESCRIBED_BYTES:
        problem = str(_("Description, tags and metadata together are longer than 12 KiB."))
        raise ValidationError(problem, details={name: [problem] for name in edit.changes})
