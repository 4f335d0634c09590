"""The same key from the same principal is the same file, whatever happened in between."""

import uuid
from typing import Any

import pytest
from django.utils import timezone

from apps.admin.principals import Principal
from apps.ingester import idempotency, nodes, settling, upload
from apps.ingester.errors import (
    IdempotencyMismatch,
    NoStorageAvailable,
    UploadGone,
    UploadInProgress,
)
from apps.ingester.idempotency import Claim
from apps.ingester.tests.test_upload import MIB, body, store
from apps.registry.models import FileRecord, FileStatus, StorageElement
from apps.registry.uploading import Lease, UploadDraft

pytestmark = pytest.mark.django_db

SIZES = pytest.mark.parametrize("size", [0, 1000, 3 * MIB])


def begun(
    element: StorageElement, principal: Principal, key: str, lease: Lease, **draft: Any
) -> FileRecord:
    """A row another attempt with this key has left `uploading`."""
    values = {
        "file_id": Claim(principal.id, key).file_id(0),
        "element_id": element.id,
        "original_filename": "a.bin",
        "content_type": "application/octet-stream",
        "uploaded_by": principal.subject,
        "declared_bytes": 10,
        "retention_policy": "temporary",
        "ttl_days": 30,
    }
    assert FileRecord.begin(UploadDraft(**(values | draft)), lease)
    return FileRecord.objects.get(pk=values["file_id"])


def test_ids_from_keys_are_version_8_and_belong_to_one_principal() -> None:
    claim = Claim(uuid.uuid4(), "key")
    ids = claim.file_ids()
    assert len(set(ids)) == len(ids)
    assert {(id_.version, id_.variant) for id_ in ids} == {(8, uuid.RFC_4122)}
    assert Claim(claim.principal_id, "key").file_ids() == ids
    assert not set(Claim(uuid.uuid4(), "key").file_ids()) & set(ids)


@SIZES
def test_a_repeat_is_the_same_file_and_not_stored_again(
    element: StorageElement, uploader: Principal, size: int
) -> None:
    content = b"z" * size
    first = store(content, uploader, key="k1", description="d", tags=["t"])
    again = store(content, uploader, key="k1", description="d", tags=["t"])
    assert (first.created, again.created) == (True, False)
    assert first.record.file_id == again.record.file_id
    assert FileRecord.objects.count() == 1


@pytest.mark.parametrize(
    "other",
    [
        {"content": b"Z" * 1000},
        {"content": b"z" * 999},
        {"filename": "b.bin"},
        {"description": "other"},
        {"tags": ["x"]},
        {"metadata": '{"a": 1}'},
        {"ttl_days": "3"},
    ],
)
def test_another_body_name_or_field_under_the_same_key_is_refused(
    element: StorageElement, uploader: Principal, other: dict[str, Any]
) -> None:
    asked = {"content": b"z" * 1000}
    store(**asked, principal=uploader, key="k2")
    with pytest.raises(IdempotencyMismatch):
        store(**(asked | other), principal=uploader, key="k2")
    assert FileRecord.objects.count() == 1


def test_another_principal_may_use_the_same_key(
    element: StorageElement, uploader: Principal
) -> None:
    other = Principal("service_account", "sa_other", uuid.uuid4())
    assert store(b"1", uploader, key="k3").created
    assert store(b"1", other, key="k3").created


def test_while_the_first_is_running_a_repeat_is_told_to_wait(
    element: StorageElement, uploader: Principal
) -> None:
    begun(element, uploader, "k4", Lease.for_seconds(60))
    with pytest.raises(UploadInProgress) as refused:
        store(b"1", uploader, key="k4")
    assert int(refused.value.headers["Retry-After"]) > 0


def test_after_deletion_the_key_stays_gone(element: StorageElement, uploader: Principal) -> None:
    stored = store(b"1", uploader, key="k5")
    nodes.client(element, uploader.subject).delete_file(stored.record.file_id)
    FileRecord.objects.update(status=FileStatus.DELETED)
    with pytest.raises(UploadGone):
        store(b"1", uploader, key="k5")


def test_a_deleted_file_is_not_stored_again_by_a_registry_that_forgot_it(
    element: StorageElement, uploader: Principal
) -> None:
    stored = store(b"1", uploader, key="k6")
    nodes.client(element, uploader.subject).delete_file(stored.record.file_id)
    FileRecord.objects.all().delete()
    with pytest.raises(UploadGone):
        store(b"1", uploader, key="k6")
    assert FileRecord.objects.count() == 0


@SIZES
def test_a_dead_attempt_that_sent_nothing_is_taken_over(
    element: StorageElement, uploader: Principal, size: int
) -> None:
    row = begun(element, uploader, "k7", Lease.for_seconds(0))
    stored = store(b"z" * size, uploader, key="k7")
    assert stored.record.file_id == row.file_id
    assert FileRecord.objects.get().status == FileStatus.ACTIVE


@SIZES
def test_a_lost_answer_is_found_by_a_retry_with_the_key(
    element: StorageElement, uploader: Principal, size: int
) -> None:
    """Prior art 29: the retry after a failed registration made a duplicate."""
    first = store(b"z" * size, uploader, key="k8")
    # The node committed and nobody heard: the row is as the dead process left it.
    FileRecord.objects.update(
        status=FileStatus.UPLOADING,
        body_sent=True,
        lease_id=uuid.uuid4(),
        lease_expires_at=timezone.now(),
    )
    again = store(b"z" * size, uploader, key="k8")
    assert again.record.file_id == first.record.file_id
    assert FileRecord.objects.get().status == FileStatus.ACTIVE


def test_a_retry_with_other_bytes_after_a_lost_answer_is_a_mismatch_and_the_file_appears(
    element: StorageElement, uploader: Principal
) -> None:
    first = store(b"z" * 1000, uploader, key="k9")
    FileRecord.objects.update(
        status=FileStatus.UPLOADING, body_sent=True, lease_expires_at=timezone.now()
    )
    with pytest.raises(IdempotencyMismatch):
        store(b"y" * 1000, uploader, key="k9")
    assert FileRecord.objects.get().checksum == first.record.checksum


@SIZES
def test_after_an_abandoned_attempt_a_retry_gives_one_file(
    element: StorageElement, uploader: Principal, size: int
) -> None:
    """The element gave the first id up for good, so the key moves on to its next one."""
    lease = Lease.for_seconds(0)
    row = begun(element, uploader, "k10", lease)
    FileRecord.pin(row.file_id, lease)
    assert settling.settle_expired().dropped == 1
    assert FileRecord.objects.count() == 0
    stored = store(b"z" * size, uploader, key="k10")
    again = store(b"z" * size, uploader, key="k10")
    assert stored.record.file_id == again.record.file_id == Claim(uploader.id, "k10").file_id(1)
    assert FileRecord.objects.count() == 1


def test_a_pinned_attempt_whose_element_is_away_asks_to_come_back_and_stays_pinned(
    element: StorageElement, uploader: Principal, site: Any
) -> None:
    lease = Lease.for_seconds(0)
    row = begun(element, uploader, "k11", lease)
    FileRecord.pin(row.file_id, lease)
    with site.node_down():
        with pytest.raises(NoStorageAvailable) as refused:
            store(b"z", uploader, key="k11")
        assert int(refused.value.headers["Retry-After"]) > 0
        kept = FileRecord.objects.get()
        assert (kept.status, kept.body_sent) == (FileStatus.UPLOADING, True)
    assert store(b"z", uploader, key="k11").record.file_id == row.file_id


def test_the_latest_generation_with_a_record_counts(
    element: StorageElement, uploader: Principal
) -> None:
    claim = Claim(uploader.id, "k12")
    assert idempotency.latest(claim) == (0, None)
    row = begun(element, uploader, "k12", Lease.for_seconds(1), file_id=claim.file_id(0))
    assert idempotency.latest(claim) == (0, row)
    FileRecord.objects.update(file_id=claim.file_id(3))
    assert idempotency.latest(claim)[0] == 3


def test_a_registry_that_was_lost_still_knows_the_id(
    element: StorageElement, uploader: Principal
) -> None:
    first = store(b"kept", uploader, key="k13")
    FileRecord.objects.all().delete()
    again = store(b"kept", uploader, key="k13")
    assert again.record.file_id == first.record.file_id
    assert upload.Stored(again.record, True).record.size == 4
    assert body(b"").declared_bytes == 0
