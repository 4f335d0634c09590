"""The same act on many files, against a real node."""

import uuid
from typing import Any

import pytest
from django.utils import timezone

from apps.admin.models import AuditEvent
from apps.registry import bulk
from apps.registry.bulk import TagChange
from apps.registry.models import FileRecord
from apps.registry.tests import make
from artstore.errors import ValidationError


def delete(*file_ids: uuid.UUID) -> bulk.BulkReport:
    return bulk.delete_files(file_ids, make.principal(), timezone.now())


def retag(*file_ids: uuid.UUID, **change: Any) -> bulk.BulkReport:
    return bulk.edit_tags(file_ids, TagChange(**change), make.principal(), timezone.now())


def test_every_file_is_deleted_on_its_element_and_audited(site: Any) -> None:
    stored = [site.put().file_id for _ in range(3)]
    site.sync()
    report = delete(*stored, stored[0])
    assert report == bulk.BulkReport(tuple(stored), (), ())
    assert {site.record(file_id).status for file_id in stored} == {"deleted"}
    assert AuditEvent.objects.filter(action="file.delete").count() == 3


def test_one_refusal_stops_no_other_and_says_why(site: Any) -> None:
    first, second = site.put().file_id, site.put().file_id
    site.sync()
    unknown = uuid.uuid4()
    gone = make.record(None, status="deleted", original_filename="gone.bin")
    report = delete(first, unknown, gone.file_id, second)
    assert report.done == (first, second)
    assert [(one.file_id, one.name) for one in report.refused] == [
        (unknown, ""),
        (gone.file_id, "gone.bin"),
    ]
    assert all(one.reason for one in report.refused)


def test_tags_are_put_on_and_taken_off_and_the_others_stay(site: Any) -> None:
    one = site.put(tags=["old", "kept"]).file_id
    two = site.put(tags=["new"]).file_id
    site.sync()
    report = retag(one, two, add=["new"], remove=["old"])
    assert (report.done, report.unchanged, report.refused) == ((one,), (two,), ())
    assert site.record(one).tags == ["kept", "new"]
    assert list(site.client().get_file(one).attributes.tags) == ["kept", "new"]
    assert AuditEvent.objects.filter(action="file.edit").count() == 1


@pytest.mark.django_db
def test_a_silent_element_is_asked_once_and_not_for_every_file() -> None:
    silent = make.element()
    files = [make.record(silent).file_id for _ in range(3)]
    report = delete(*files)
    assert report.done == ()
    assert len(report.refused) == 3
    assert "Not tried" not in report.refused[0].reason
    assert all("Not tried" in one.reason for one in report.refused[1:])
    assert FileRecord.objects.filter(status="active").count() == 3


@pytest.mark.django_db
@pytest.mark.parametrize("count", [0, bulk.MAX_FILES + 1])
def test_none_and_too_many_files_are_refused(count: int) -> None:
    with pytest.raises(ValidationError, match="between 1 and 1000"):
        delete(*(uuid.uuid4() for _ in range(count)))
