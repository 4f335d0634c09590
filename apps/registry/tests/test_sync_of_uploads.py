"""A sync, or an operator, that meets a file whose upload is not over yet."""

import uuid
from typing import Any

import pytest
from django.utils import timezone

from apps.admin.principals import Principal
from apps.registry import registering
from apps.registry.errors import UploadUnfinished
from apps.registry.models import FileRecord, FileStatus
from apps.registry.uploading import Lease, UploadDraft

pytestmark = pytest.mark.django_db(transaction=True)


def begun(site: Any, **said: Any) -> Any:
    """A file on the element and the row of its upload, which says more."""
    held = site.put()
    draft = UploadDraft(
        file_id=held.file_id,
        element_id=site.element.pk,
        original_filename=held.original_filename,
        content_type=held.content_type,
        uploaded_by=held.uploaded_by,
        declared_bytes=held.size,
        retention_policy=held.retention_policy,
        ttl_days=held.ttl_days,
        **said,
    )
    assert FileRecord.begin(draft, Lease.for_seconds(60))
    return held


def test_a_row_that_says_what_the_element_says_is_adopted(site: Any) -> None:
    held = begun(site)
    FileRecord.objects.update(
        description=held.description, tags=list(held.tags), metadata=dict(held.metadata)
    )
    assert site.sync(full=True).status == "succeeded"
    assert FileRecord.objects.get(pk=held.file_id).status == FileStatus.ACTIVE


def test_a_row_whose_texts_came_behind_the_bytes_waits_until_the_element_has_them(
    site: Any,
) -> None:
    held = begun(site, description="late")
    assert site.sync(full=True).status == "succeeded"
    assert FileRecord.objects.get(pk=held.file_id).status == FileStatus.UPLOADING
    site.client().edit_file(held.file_id, {"description": "late"})
    assert site.sync(full=True).status == "succeeded"
    row = FileRecord.objects.get(pk=held.file_id)
    assert (row.status, row.description) == (FileStatus.ACTIVE, "late")


def test_registering_such_a_file_by_hand_does_not_lose_its_texts(site: Any) -> None:
    held = begun(site, description="late")
    principal = Principal("user", "olga", uuid.uuid4(), role="admin")
    with pytest.raises(UploadUnfinished):
        registering.register_file(held.file_id, site.element.pk, principal, timezone.now())
    row = FileRecord.objects.get(pk=held.file_id)
    assert (row.status, row.description) == (FileStatus.UPLOADING, "late")
    site.client().edit_file(held.file_id, {"description": "late"})
    registering.register_file(held.file_id, site.element.pk, principal, timezone.now())
    row.refresh_from_db()
    assert (row.status, row.description) == (FileStatus.ACTIVE, "late")
