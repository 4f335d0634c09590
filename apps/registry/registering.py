"""Registering one file that is already on an element: the element is asked for the rest."""

import datetime as dt
import uuid

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from apps.admin import audit
from apps.admin.principals import Principal
from apps.registry import credentials, elements, probing, written
from apps.registry.attributes import FileAttributes
from apps.registry.errors import (
    FileHeldElsewhere,
    NodeFileGone,
    NodeFileNotFound,
    UploadUnfinished,
    file_not_found,
)
from apps.registry.models import (
    DeletionReason,
    FileRecord,
    FileStatus,
    StorageElement,
    columns_of,
)


def register_file(
    file_id: uuid.UUID, element_id: uuid.UUID, principal: Principal, now: dt.datetime
) -> tuple[FileRecord, bool]:
    """The record of a file as its element describes it now, and whether it is new."""
    element = elements.get(element_id)
    caller = credentials.Caller(principal.subject, "admin", ("files:read",))
    try:
        with probing.noting_failures(element):
            attributes = credentials.client(element, caller).get_file(file_id).attributes
    except (NodeFileNotFound, NodeFileGone) as failure:
        raise file_not_found(file_id) from failure
    created = _write(element, attributes)
    written.changes.note(file_id)
    if created:
        details = {"element": element.storage_id}
        audit.record(principal, "file.register", f"file:{file_id}", details, now)
    return FileRecord.objects.get(pk=file_id), created


def _write(element: StorageElement, attributes: FileAttributes) -> bool:
    """Insert the row, or bring the element's own row up to date; true when the file is new."""
    row = FileRecord(
        file_id=attributes.file_id,
        storage_element=element,
        **columns_of(attributes),
        activated_at=Now(),
        written_at=Now(),
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        return _update(element, attributes)
    return True


def _update(element: StorageElement, attributes: FileAttributes) -> bool:
    if _is_owed_texts(element, attributes):
        raise UploadUnfinished(
            str(_("This file is still being uploaded. Ask again in a few minutes."))
        )
    if FileRecord.activate(element.pk, attributes):
        return True
    if FileRecord.apply(element.pk, attributes):
        return False
    rows = FileRecord.objects.filter(pk=attributes.file_id)
    orphaned = rows.filter(
        storage_element=None,
        status=FileStatus.DELETED,
        deletion_reason=DeletionReason.ELEMENT_REMOVED,
        checksum=attributes.checksum,
    )
    adopted = orphaned.update(
        **columns_of(attributes), storage_element=element, activated_at=Now(), written_at=Now()
    )
    if adopted:
        return True
    if rows.filter(storage_element=element).exists():
        return False  # a newer revision was written while the element answered
    raise FileHeldElsewhere(
        str(_("This file_id belongs to a file of another storage element; nothing was changed."))
    )


def _is_owed_texts(element: StorageElement, attributes: FileAttributes) -> bool:
    """Whether an upload is to describe the file yet, as `applying` asks for a sync: its row says
    more than the element, and would say less ever after."""
    if attributes.revision > 1:
        return False
    row = FileRecord.objects.filter(
        pk=attributes.file_id, status=FileStatus.UPLOADING, storage_element=element
    ).first()
    return row is not None and (row.description, list(row.tags), row.metadata) != (
        attributes.description,
        list(attributes.tags),
        dict(attributes.metadata),
    )
