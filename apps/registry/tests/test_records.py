"""Status moves of records and runs: each is one statement whose row count decides."""

import dataclasses
import datetime as dt
import threading
import uuid
from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.registry.models import (
    FileRecord,
    StorageElement,
    SyncRun,
    SyncTrigger,
    WorkerHeartbeat,
    element_id_of,
)
from apps.registry.tests import make
from apps.registry.uploading import Lease, UploadDraft
from artstore import database

HOUR = Lease(uuid.uuid4(), 3600)
DEAD = Lease(uuid.uuid4(), -1)


def draft(on: StorageElement, **changed: object) -> UploadDraft:
    given = UploadDraft(uuid.uuid4(), on.pk, "a.txt", "text/plain", "someone", 100, "permanent")
    return dataclasses.replace(given, **changed)


def begun(on: StorageElement, lease: Lease = HOUR) -> uuid.UUID:
    wanted = draft(on)
    assert FileRecord.begin(wanted, lease)
    return wanted.file_id


@pytest.fixture
def element(db: None) -> StorageElement:
    return make.element()


def test_the_id_of_an_element_is_the_same_in_every_registry() -> None:
    assert element_id_of("se-1") == uuid.UUID("685dc6ec-db88-586b-9e2d-25ad23782184")


def test_begin_reserves_the_id_and_the_room(element: StorageElement) -> None:
    wanted = draft(element)
    assert FileRecord.begin(wanted, HOUR)
    assert not FileRecord.begin(wanted, Lease.for_seconds(60))
    row = FileRecord.objects.get(pk=wanted.file_id)
    assert (row.status, row.size, row.lease_id) == ("uploading", 100, HOUR.id)
    assert row.begun_at is not None
    assert not FileRecord.objects.visible().exists()


@pytest.mark.parametrize(
    "move",
    [
        FileRecord.renew_lease,
        FileRecord.pin,
        FileRecord.unpin,
        FileRecord.drop,
    ],
    ids=["renew", "pin", "unpin", "drop"],
)
def test_only_the_holder_of_the_lease_moves_an_upload(
    element: StorageElement, move: Callable[[uuid.UUID, Lease], bool]
) -> None:
    file_id = begun(element)
    assert not move(file_id, Lease.for_seconds(60))
    assert not move(uuid.uuid4(), HOUR)
    assert move(file_id, HOUR)


def test_an_upload_is_taken_over_only_once_its_lease_has_run_out(element: StorageElement) -> None:
    live, dead = begun(element), begun(element, DEAD)
    other = Lease.for_seconds(60)
    assert not FileRecord.take_over(live, other)
    assert FileRecord.take_over(dead, other)
    assert not FileRecord.take_over(dead, Lease.for_seconds(60))
    assert not FileRecord.renew_lease(dead, DEAD), "the deposed holder is out"


def test_a_pinned_upload_neither_moves_nor_is_dropped(element: StorageElement) -> None:
    other = make.element()
    file_id = begun(element)
    assert FileRecord.move(file_id, other.pk, HOUR)
    assert FileRecord.pin(file_id, HOUR)
    assert not FileRecord.move(file_id, element.pk, HOUR)
    assert not FileRecord.drop(file_id, HOUR)
    assert FileRecord.unpin(file_id, HOUR)
    assert FileRecord.drop(file_id, HOUR)
    assert not FileRecord.objects.exists()


def test_activation_takes_over_what_the_element_says(element: StorageElement) -> None:
    file_id = begun(element)
    said = make.attributes(file_id=file_id, description="d", tags=("t",), metadata={"a": 1})
    assert FileRecord.activate(element.pk, said)
    row = FileRecord.objects.get(pk=file_id)
    assert (row.status, row.size, row.checksum) == ("active", said.size, said.checksum)
    assert (row.tags, row.metadata, row.stored_revision) == (["t"], {"a": 1}, 1)
    assert row.activated_at is not None
    assert row.lease_id is row.lease_expires_at is None
    assert not FileRecord.activate(element.pk, said), "it is active already"


def test_activation_by_another_element_changes_nothing(element: StorageElement) -> None:
    file_id = begun(element)
    other = make.element()
    assert not FileRecord.activate(other.pk, make.attributes(file_id=file_id))


def test_every_move_is_one_statement(element: StorageElement) -> None:
    file_id = begun(element)
    said = make.attributes(file_id=file_id)
    moves: list[Callable[[], bool]] = [
        lambda: FileRecord.renew_lease(file_id, HOUR),
        lambda: FileRecord.pin(file_id, HOUR),
        lambda: FileRecord.activate(element.pk, said),
        lambda: FileRecord.apply(element.pk, said),
        lambda: FileRecord.objects.get(pk=file_id).mark_gone("deleted", "missing_on_element"),
    ]
    for move in moves:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert move()
        assert sum("UPDATE" in query["sql"] for query in queries) == 1


@pytest.mark.parametrize(
    ("stored", "answered", "applied"), [(1, 2, True), (2, 2, True), (3, 2, False)]
)
def test_an_answer_never_overwrites_a_later_revision(
    element: StorageElement, stored: int, answered: int, applied: bool
) -> None:
    row = make.record(element, revision=stored)
    said = make.attributes(file_id=row.pk, revision=answered, description="new")
    assert FileRecord.apply(element.pk, said) is applied
    row.refresh_from_db()
    assert (row.description == "new") is applied


def test_lazy_marking_needs_the_very_state_that_was_read(element: StorageElement) -> None:
    for change in (
        {"stored_revision": 2},
        {"status": "expired"},
        {"storage_element": make.element()},
    ):
        row = make.record(element)
        FileRecord.objects.filter(pk=row.pk).update(**change)
        assert not row.mark_gone("deleted", "missing_on_element")
    assert make.record(element).mark_gone("deleted", "missing_on_element")


@pytest.mark.django_db(transaction=True)
def test_parallel_settlers_share_out_the_dead_uploads() -> None:
    element = make.element()
    dead = {begun(element, DEAD) for _ in range(40)}
    begun(element)
    claimed: list[uuid.UUID] = []
    together = threading.Barrier(4)

    def settle() -> None:
        together.wait()
        try:
            while rows := FileRecord.claim_expired(Lease.for_seconds(60), 7):
                claimed.extend(row.pk for row in rows)
        finally:
            database.release()

    threads = [threading.Thread(target=settle) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(dead)
    assert set(claimed) == dead


def test_removing_an_element_leaves_its_records(element: StorageElement) -> None:
    row = make.record(element)
    element.delete()
    row.refresh_from_db()
    assert row.storage_element_id is None


def test_a_run_is_held_by_one_worker_and_given_up_when_its_lease_runs_out(
    element: StorageElement,
) -> None:
    run = SyncRun.objects.create(storage_element=element, trigger=SyncTrigger.MANUAL, kind="full")
    mine, other = Lease.for_seconds(60), Lease.for_seconds(60)
    assert SyncRun.take(run.pk, mine)
    assert not SyncRun.take(run.pk, other)
    assert not SyncRun.renew_lease(run.pk, other)
    assert SyncRun.abandon_lost() == 0
    SyncRun.objects.update(lease_expires_at=timezone.now() - dt.timedelta(seconds=1))
    assert SyncRun.abandon_lost() == 1
    assert not SyncRun.take(run.pk, other), "a closed run stays closed"
    assert not SyncRun.renew_lease(run.pk, mine)


def test_a_heartbeat_keeps_when_it_began(db: None) -> None:
    WorkerHeartbeat.beat(["w"])
    first = WorkerHeartbeat.objects.get()
    WorkerHeartbeat.objects.update(seen_at=timezone.now() - dt.timedelta(days=2))
    WorkerHeartbeat.beat(["w"])
    again = WorkerHeartbeat.objects.get()
    assert again.started_at == first.started_at
    assert again.seen_at >= first.seen_at
    assert WorkerHeartbeat.forget_silent(dt.timedelta(days=1)) == 0
    WorkerHeartbeat.leave("w")
    assert not WorkerHeartbeat.objects.exists()
