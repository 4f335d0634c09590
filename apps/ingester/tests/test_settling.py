"""Uploads whose sender was lost come to an end, and always to the right one."""

import uuid
from typing import Any

import pytest
from django.utils import timezone

from apps.admin.principals import Principal
from apps.ingester import incoming, nodes, settling, transfer, upload
from apps.ingester.incoming import UploadHead
from apps.ingester.leases import Hold
from apps.ingester.settling import SettleReport
from apps.ingester.tests.test_idempotency import begun
from apps.ingester.tests.test_upload import MIB, body, store
from apps.ingester.upload import Uploader
from apps.registry.errors import NodeFileGone
from apps.registry.models import FileRecord, FileStatus, StorageElement
from apps.registry.uploading import Lease

pytestmark = pytest.mark.django_db


@pytest.fixture
def lost(element: StorageElement, uploader: Principal) -> FileRecord:
    """A row whose bytes may be on the element and whose sender is dead."""
    lease = Lease.for_seconds(0)
    row = begun(element, uploader, uuid.uuid4().hex, lease)
    assert FileRecord.pin(row.file_id, lease)
    return row


def test_a_file_that_is_not_there_is_given_up_for_good_and_forgotten(
    lost: FileRecord, element: StorageElement, uploader: Principal
) -> None:
    assert settling.settle_expired() == SettleReport(dropped=1)
    assert not FileRecord.objects.exists()
    with pytest.raises(NodeFileGone):
        nodes.client(element, uploader.subject).get_file(lost.file_id)


def test_a_file_that_is_there_is_adopted_with_everything_the_element_says(
    element: StorageElement, uploader: Principal
) -> None:
    """Prior art 29: bytes stored, registration failed, file imported later with a wrong owner."""
    stored = store(b"bytes", uploader, description="d", tags=["t"], ttl_days="9")
    before = FileRecord.objects.values().get()
    lease = Lease.for_seconds(0)
    FileRecord.objects.update(
        status=FileStatus.UPLOADING,
        body_sent=True,
        checksum="",
        expires_at=None,
        stored_revision=0,
        lease_id=lease.id,
        lease_expires_at=before["uploaded_at"],
    )
    assert settling.settle_expired() == SettleReport(adopted=1)
    after = FileRecord.objects.values().get()
    assert after["uploaded_by"] == uploader.subject
    for told_by_clock in ("activated_at", "body_sent", "written_at"):
        before.pop(told_by_clock), after.pop(told_by_clock)
    assert after == before
    assert stored.record.file_id == after["file_id"]


def test_an_element_that_does_not_answer_keeps_its_rows_waiting(
    lost: FileRecord, site: Any
) -> None:
    with site.node_down():
        assert settling.settle_expired() == SettleReport(waiting=1)
        assert FileRecord.objects.get().body_sent
    FileRecord.objects.update(lease_expires_at=lost.begun_at)
    assert settling.settle_expired() == SettleReport(dropped=1)


def test_a_row_of_which_no_byte_left_needs_no_element(
    element: StorageElement, uploader: Principal, site: Any
) -> None:
    begun(element, uploader, "k", Lease.for_seconds(0))
    with site.node_down():
        assert settling.settle_expired() == SettleReport(dropped=1)


def test_a_living_upload_is_left_alone(element: StorageElement, uploader: Principal) -> None:
    begun(element, uploader, "k", Lease.for_seconds(60))
    assert settling.settle_expired() == SettleReport()


def test_a_row_whose_element_was_removed_is_forgotten(lost: FileRecord) -> None:
    FileRecord.objects.update(storage_element=None)
    assert settling.settle_expired() == SettleReport(dropped=1)


def test_two_rounds_do_not_take_the_same_row(lost: FileRecord) -> None:
    lease = Lease.for_seconds(60)
    assert [row.pk for row in FileRecord.claim_expired(lease, 10)] == [lost.pk]
    assert FileRecord.claim_expired(Lease.for_seconds(60), 10) == []


class TestTextsBehindTheBytes:
    """A form may describe its file behind it; a large one is stored by then and described next."""

    @pytest.fixture
    def stored_and_not_described(self, element: StorageElement, uploader: Principal) -> FileRecord:
        """The process died between the element's two answers."""
        file = incoming.open_request(
            UploadHead(content_type="multipart/form-data; boundary=b"),
            body(form(("tags", "early"), ("file", "z" * 3 * MIB), ("description", "late"))),
        )
        lease = Lease.for_seconds(60)
        draft = upload._Run(file, Uploader(uploader), timezone.now())._draft(element)
        assert FileRecord.begin(draft, lease)
        hold = Hold(draft.file_id, lease)
        held = transfer.deliver(element, hold, file, uploader.subject)
        assert (held.description, list(held.tags)) == (None, ["early"])
        return FileRecord.objects.get(pk=draft.file_id)

    def test_the_row_knows_them_before_the_element_has_the_file(
        self, stored_and_not_described: FileRecord
    ) -> None:
        assert stored_and_not_described.description == "late"

    def test_settling_adopts_the_file_with_them(
        self, stored_and_not_described: FileRecord, element: StorageElement, uploader: Principal
    ) -> None:
        FileRecord.objects.update(lease_expires_at=stored_and_not_described.begun_at)
        assert settling.settle_expired() == SettleReport(adopted=1)
        row = FileRecord.objects.get()
        assert (row.status, row.description, row.tags) == (FileStatus.ACTIVE, "late", ["early"])
        held = nodes.client(element, uploader.subject).get_file(row.pk).attributes
        assert (held.description, held.revision) == ("late", row.stored_revision)

    def test_an_element_that_can_not_be_told_keeps_the_row_waiting(
        self, stored_and_not_described: FileRecord, site: Any
    ) -> None:
        FileRecord.objects.update(lease_expires_at=stored_and_not_described.begun_at)
        with site.node_down():
            assert settling.settle_expired() == SettleReport(waiting=1)
        assert FileRecord.objects.get().description == "late"

    def test_what_was_edited_since_stays(
        self, stored_and_not_described: FileRecord, element: StorageElement, uploader: Principal
    ) -> None:
        file_id = stored_and_not_described.file_id
        nodes.client(element, uploader.subject).edit_file(file_id, {"description": "edited"})
        FileRecord.objects.update(lease_expires_at=stored_and_not_described.begun_at)
        assert settling.settle_expired() == SettleReport(adopted=1)
        assert FileRecord.objects.get().description == "edited"


def form(*parts: tuple[str, str]) -> bytes:
    """A multipart form with the boundary `b`."""
    written = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"'
        + ('; filename="a.bin"' if name == "file" else "")
        + f"\r\n\r\n{value}\r\n"
        for name, value in parts
    ]
    return ("".join(written) + "--b--\r\n").encode()
