"""How a file gets in: find or make its row, send its bytes to an element, record what it holds.

Order is everything here. The row is committed before a byte moves, it is pinned to its element
before the first byte leaves, and it lets go of that element only when the element has promised
(`abandon`) never to hold the file. So whoever dies at whatever moment leaves a row that says where
to look, and `settling` looks. Sees no request; the door opens the body with `incoming`.
"""

import datetime as dt
import uuid
from dataclasses import dataclass

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.utils.translation import gettext as _

from apps.admin.principals import Principal
from apps.ingester import fields, idempotency, metrics, placement, transfer
from apps.ingester.errors import IdempotencyMismatch, UploadFailed, UploadGone, UploadInProgress
from apps.ingester.idempotency import Claim
from apps.ingester.incoming import IncomingFile
from apps.ingester.leases import Hold, keeper
from apps.ingester.placement import Need, Refusal, board
from apps.ingester.transfer import ElementRefused, IdGivenUp
from apps.registry.attributes import FileAttributes
from apps.registry.models import FileRecord, FileStatus, StorageElement, columns_of
from apps.registry.uploading import Lease, UploadDraft
from artstore.errors import ArtStoreError


@dataclass(frozen=True, slots=True)
class Uploader:
    """Who sends the file, and the key under which a repeat is recognised."""

    principal: Principal
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """The file is on an element. `created` is false when an earlier upload had put it there."""

    record: FileRecord
    created: bool


def store_upload(incoming: IncomingFile, uploader: Uploader, now: dt.datetime) -> Stored:
    """Store one file, or find that this very upload was stored before."""
    try:
        with metrics.in_flight():
            stored = _Run(incoming, uploader, now).store()
    except ArtStoreError as failure:
        metrics.count_failure(failure)
        raise
    finally:
        incoming.content.close()
    metrics.count_stored(stored.created, stored.record.size)
    return stored


class _Run:
    """One upload under way."""

    def __init__(self, incoming: IncomingFile, uploader: Uploader, now: dt.datetime) -> None:
        self.incoming = incoming
        self.uploader = uploader
        self.now = now
        self.lease = Lease.for_seconds(settings.ARTSTORE_UPLOAD_LEASE_SECONDS)
        self.claim: Claim | None = None
        self.generation = 0
        self.file_id = uuid.uuid4()
        self.begun = False
        self.refusals: list[Refusal] = []
        content = incoming.content
        self.need = Need(incoming.fields.retention_policy, content.estimate_bytes)

    def store(self) -> Stored:
        record = self._find_earlier()
        if record is None:
            return self._try_elements()
        if record.status != FileStatus.UPLOADING:
            return self._replay(record)
        return self._resume(record)

    def _find_earlier(self) -> FileRecord | None:
        key = self.uploader.idempotency_key
        if key is None:
            return None
        self.claim = Claim(self.uploader.principal.id, idempotency.check_key(key))
        self.generation, record = idempotency.latest(self.claim)
        self.file_id = self.claim.file_id(self.generation)
        return record

    def _replay(self, record: FileRecord) -> Stored:
        expired = record.expires_at is not None and record.expires_at <= self.now
        if record.status != FileStatus.ACTIVE or expired:
            raise UploadGone(
                _("The file %(id)s of this Idempotency-Key is gone and is not stored again.")
                % {"id": record.file_id}
            )
        transfer.read_to_end(self.incoming.content)
        if not idempotency.is_same(record, self.incoming):
            raise IdempotencyMismatch(
                _("This Idempotency-Key stored the file %(id)s, which is not the one sent now.")
                % {"id": record.file_id}
            )
        return Stored(record, created=False)

    def _resume(self, record: FileRecord) -> Stored:
        """An earlier attempt with this key did not end: carry on with its row, if it is dead."""
        if not FileRecord.take_over(self.file_id, self.lease):
            raise UploadInProgress(
                _("An upload with this Idempotency-Key is running. Ask again when it is done."),
                headers={"Retry-After": str(placement.RETRY_AFTER_SECONDS)},
            )
        self.begun = True
        if not record.body_sent or record.storage_element is None:
            self._redescribe(record)
            return self._try_elements()
        try:
            return self._resume_pinned(record, record.storage_element)
        except ElementRefused as refused:
            self._let_go()
            raise placement.none_available(self.need) from refused

    def _resume_pinned(self, record: FileRecord, element: StorageElement) -> Stored:
        """Bytes of this file went to `element` before, so no other may have it."""
        with keeper.keeping(Hold(self.file_id, self.lease)):
            found = transfer.find_stored(element, record, self.uploader.principal.subject)
        if found is not None:
            return self._replay(self._activate(element, found).record)
        self._redescribe(record)
        return self._try_element(element, pinned=False)

    def _redescribe(self, record: FileRecord) -> None:
        """The row belongs to this attempt now, which may say other things of the file."""
        texts = self.incoming.fields.texts
        if texts != fields.texts_of(record):
            FileRecord.describe(self.file_id, self.lease, texts)

    def _try_elements(self) -> Stored:
        last: ElementRefused | None = None
        for element in board.candidates(self.need, self.now):
            pinned = self._take_room(element)
            try:
                return self._try_element(element, pinned)
            except ElementRefused as refused:
                self._note(element, refused)
                last = refused
        FileRecord.drop(self.file_id, self.lease)
        raise placement.refused_by_all(self.refusals, self.need) from last

    def _note(self, element: StorageElement, refused: ElementRefused) -> None:
        self.refusals.append(refused.refusal)
        metrics.count_refusal(refused.refusal.value)
        board.note_refused(element.id, refused.refusal, self.need.size_bytes, self.now)

    def _take_room(self, element: StorageElement) -> bool:
        """The row says where the bytes are about to go, before any goes; true if it is pinned."""
        pinned = False
        if self.begun:
            held = FileRecord.move(self.file_id, element.id, self.lease)
        else:
            draft = self._draft(element)
            held = self.begun = FileRecord.begin(draft, self.lease)
            pinned = draft.pinned
        if not held:
            raise UploadInProgress(
                _("Another upload with this Idempotency-Key has just begun."),
                headers={"Retry-After": str(placement.RETRY_AFTER_SECONDS)},
            )
        board.note_begun(element.id, self.need.size_bytes)
        return pinned

    def _try_element(self, element: StorageElement, pinned: bool) -> Stored:
        subject = self.uploader.principal.subject
        with keeper.keeping(Hold(self.file_id, self.lease, pinned)) as hold:
            try:
                attributes = transfer.deliver(element, hold, self.incoming, subject)
                attributes = transfer.add_late_texts(element, self.incoming, attributes, subject)
            except IdGivenUp as given_up:
                return self._after_given_up(element, given_up)
            except ElementRefused:
                raise
            except ArtStoreError:
                self._let_go()
                raise
        return self._activate(element, attributes)

    def _after_given_up(self, element: StorageElement, given_up: IdGivenUp) -> Stored:
        """The element will never hold this id: take the key's next one, if it never held it."""
        self.generation += 1
        if self.claim is None or not given_up.never_stored:
            FileRecord.drop(self.file_id, self.lease)
            raise UploadGone(
                _("The file of this Idempotency-Key was deleted and is not stored again.")
            ) from given_up
        if self.generation >= idempotency.GENERATIONS:
            FileRecord.drop(self.file_id, self.lease)
            raise UploadFailed(
                _("Too many uploads with this Idempotency-Key have failed. Use a new key.")
            ) from given_up
        # The next row first, then the old one goes: a rival with this key always finds one.
        spent = self.file_id
        self.file_id = self.claim.file_id(self.generation)
        self.begun = False
        pinned = self._take_room(element)
        FileRecord.drop(spent, self.lease)
        return self._try_element(element, pinned)

    def _let_go(self) -> None:
        """This attempt is over. A row no element can hold goes; another waits to be settled, and
        the next attempt with its key need not wait for the lease."""
        try:
            if not FileRecord.drop(self.file_id, self.lease):
                FileRecord.renew_lease(self.file_id, Lease(self.lease.id, 0))
        except (OperationalError, InterfaceError):
            connection.close()

    def _activate(self, element: StorageElement, attributes: FileAttributes) -> Stored:
        """Write down what the element holds. It is stored, whether or not we manage to."""
        try:
            activated = _activate_retrying(element, attributes)
        except (OperationalError, InterfaceError) as failure:
            raise UploadFailed(
                _("The file was stored but not yet registered: the database does not answer.")
                + " "
                + _("It will appear by itself; a retry with the same Idempotency-Key finds it.")
            ) from failure
        record = FileRecord(storage_element=element, **columns_of(attributes))
        record.file_id = attributes.file_id
        if not activated:
            # A sync was faster, and may have read the file before it was fully described.
            FileRecord.apply(element.id, attributes)
            record = FileRecord.objects.get(pk=attributes.file_id)
            if record.status == FileStatus.UPLOADING or record.checksum != attributes.checksum:
                raise UploadFailed(
                    _("The file was stored, but its record says otherwise. Ask the operator.")
                )
        return Stored(record, created=True)

    def _draft(self, element: StorageElement) -> UploadDraft:
        given = self.incoming.fields
        return UploadDraft(
            file_id=self.file_id,
            element_id=element.id,
            original_filename=self.incoming.name.original_filename,
            content_type=self.incoming.name.content_type,
            uploaded_by=self.uploader.principal.subject,
            declared_bytes=self.need.size_bytes,
            retention_policy=given.retention_policy,
            ttl_days=given.ttl_days,
            description=given.description,
            tags=given.tags,
            metadata=given.metadata,
            checksum=self.incoming.content.sha256 or given.checksum,
            # All bytes are here, so they leave at once: one statement instead of two.
            pinned=self.incoming.content.replayable,
        )


def _activate_retrying(element: StorageElement, attributes: FileAttributes) -> bool:
    """Once more on a fresh connection: the old one may have died while the bytes moved."""
    try:
        return FileRecord.activate(element.id, attributes)
    except (OperationalError, InterfaceError):
        connection.close()
        return FileRecord.activate(element.id, attributes)
