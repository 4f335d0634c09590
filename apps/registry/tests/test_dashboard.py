"""What the dashboard says of elements, files and the last day."""

import datetime as dt

import pytest
from django.db import connection
from django.utils import timezone

from apps.registry import dashboard
from apps.registry.models import FileRecord, SyncRun, WorkerHeartbeat
from apps.registry.tests import make

pytestmark = pytest.mark.django_db


def concerns_of(name: str) -> tuple[bool, list[str]]:
    """Whether something about the element is urgent, and the reasons in words."""
    for concern in dashboard.survey(timezone.now()).concerns:
        if concern.element is not None and concern.element.name == name:
            return concern.urgent, [str(reason) for reason in concern.reasons]
    return False, []


def synced_element(**changed: object) -> object:
    element = make.element(**changed)
    SyncRun.objects.create(
        storage_element=element, trigger="periodic", kind="changes", status="succeeded"
    )
    return element


def test_an_element_in_order_concerns_nobody() -> None:
    synced_element(name="good")
    assert concerns_of("good") == (False, [])


def test_an_element_that_is_offline_is_urgent_and_says_why() -> None:
    synced_element(name="gone", status="offline", status_reason="Nobody answers.")
    assert concerns_of("gone") == (True, ["Nobody answers."])


def test_the_same_reason_is_told_once() -> None:
    element = make.element(name="gone", status="offline", status_reason="Nobody answers.")
    SyncRun.objects.create(
        storage_element=element,
        trigger="periodic",
        kind="full",
        status="failed",
        error="Nobody answers.",
    )
    assert concerns_of("gone") == (True, ["Nobody answers."])


def test_an_element_not_probed_lately_a_full_one_and_a_waiting_instance_are_told() -> None:
    long_ago = timezone.now() - dt.timedelta(minutes=10)
    synced_element(name="old", last_probe_at=long_ago)
    synced_element(name="full", capacity_bytes=100, used_bytes=100)
    synced_element(name="other", offered_instance_id="another")
    assert concerns_of("old") == (False, ["It was not probed lately; the figures may be old."])
    assert concerns_of("full") == (True, ["It is nearly full."])
    assert concerns_of("other")[0]


def test_a_run_that_waits_for_a_word_is_urgent_until_a_later_one_succeeds() -> None:
    element = make.element(name="emptied")
    SyncRun.objects.create(
        storage_element=element,
        trigger="periodic",
        kind="full",
        status="needs_confirmation",
        started_at=timezone.now() - dt.timedelta(hours=1),
    )
    assert concerns_of("emptied")[0]
    SyncRun.objects.create(
        storage_element=element, trigger="manual", kind="full", status="succeeded"
    )
    assert concerns_of("emptied") == (False, [])


def run_of(element: object, kind: str, status: str, hours_ago: int, error: str = "") -> SyncRun:
    return SyncRun.objects.create(
        storage_element=element,
        trigger="periodic",
        kind=kind,
        status=status,
        error=error,
        started_at=timezone.now() - dt.timedelta(hours=hours_ago),
    )


def test_a_run_that_waits_is_told_beside_whatever_came_after_it() -> None:
    element = make.element(name="emptied", status="offline", status_reason="Nobody answers.")
    waiting = run_of(element, "full", "needs_confirmation", 5)
    run_of(element, "changes", "succeeded", 4)
    run_of(element, "changes", "failed", 3, "It broke off.")
    waits = "A sync would delete many records and waits for your word."
    assert concerns_of("emptied") == (True, ["Nobody answers.", waits, "It broke off."])
    [concern] = [each for each in dashboard.survey(timezone.now()).concerns if each.element]
    assert concern.run == waiting
    run_of(element, "full", "succeeded", 2)
    assert concerns_of("emptied") == (True, ["Nobody answers."])


def uploads_concerns() -> list[tuple[bool, str]]:
    concerns = dashboard.survey(timezone.now()).concerns
    return [(each.urgent, str(each.reasons[0])) for each in concerns if each.title == "Uploads"]


def test_that_no_element_takes_a_kind_of_file_is_told() -> None:
    assert uploads_concerns() == []
    synced_element(name="short", mode="edit")
    nowhere = "No element is in mode rw, so permanent files cannot be uploaded. Register one."
    assert uploads_concerns() == [(False, nowhere)]
    synced_element(name="away", mode="rw", status="offline")
    no_longer = "No element takes permanent files now: each one in mode rw is away or full."
    assert uploads_concerns() == [(True, no_longer)]
    synced_element(name="full", mode="rw", available_bytes=0)
    assert uploads_concerns() == [(True, no_longer)]
    synced_element(name="there", mode="rw")
    assert uploads_concerns() == []


def test_background_work_without_a_worker_is_urgent_and_first() -> None:
    synced_element(name="gone", status="offline")
    first = dashboard.survey(timezone.now()).concerns[0]
    assert first.element is None
    assert first.urgent
    WorkerHeartbeat.beat(["worker"])
    titles = [str(concern.title) for concern in dashboard.survey(timezone.now()).concerns]
    assert "Background work" not in titles


def test_files_are_counted_by_status_and_retention_and_uploads_under_way_are_not() -> None:
    element = make.element()
    make.record(element, size=10)
    make.record(element, size=5, status="deleted")
    uploading = make.record(element)
    FileRecord.objects.filter(pk=uploading.pk).update(status="uploading")
    shares = dashboard.shares()
    assert not shares.estimated
    assert (shares.active_files, shares.active_bytes) == (1, 10)
    assert shares.files("active", "deleted") == 2


def test_a_large_table_is_sampled_and_the_estimate_is_near(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    element = make.element()
    columns = {"storage_element": element, "description": "x" * 500}
    records = [
        FileRecord(
            **columns,
            file_id=f"00000000-0000-4000-8000-{number:012}",
            original_filename="a",
            content_type="text/plain",
            size=100,
            uploaded_by="x",
            uploaded_at=timezone.now(),
            updated_at=timezone.now(),
            status="active",
            retention_policy="permanent",
        )
        for number in range(6000)
    ]
    FileRecord.objects.bulk_create(records)
    with connection.cursor() as cursor:
        cursor.execute("analyze registry_filerecord")
    monkeypatch.setattr(dashboard, "EXACT_UP_TO_ROWS", 2000)
    shares = dashboard.shares()
    assert shares.estimated
    assert 4000 < shares.active_files < 8000
    assert shares.active_bytes == pytest.approx(shares.active_files * 100, rel=0.01)


def test_the_last_day_has_24_hours_whatever_was_uploaded() -> None:
    now = timezone.now()
    element = make.element()
    make.record(element, uploaded_at=now)
    make.record(element, uploaded_at=now - dt.timedelta(hours=2))
    make.record(element, uploaded_at=now - dt.timedelta(days=3))
    hours = dashboard.uploads_by_hour(now)
    assert len(hours) == 24
    assert [hour.files for hour in hours if hour.files] == [1, 1]
    assert hours[-1].files == 1
