"""One file, one element: send the bytes, and find out what became of them.

Ends in one of four ways: the element holds the file; it refused and holds nothing (another may be
tried); the client was wrong and the element holds nothing; or nobody knows yet, and the row stays
pinned for `settling`.
"""

import dataclasses
from collections.abc import Iterator

from django.utils.translation import gettext as _

from apps.ingester import nodes
from apps.ingester.content import Content
from apps.ingester.errors import StorageFull, UploadFailed
from apps.ingester.fields import texts_of
from apps.ingester.incoming import IncomingFile
from apps.ingester.leases import Hold
from apps.ingester.placement import Refusal
from apps.registry.attributes import FileAttributes
from apps.registry.errors import (
    NodeConflict,
    NodeFailure,
    NodeFileGone,
    NodeFileNotFound,
    NodeFileTooLarge,
    NodeInvalidInput,
    NodeOutcomeUnknown,
    NodeRefused,
    NodeStorageFull,
    NodeUnreachable,
)
from apps.registry.models import FileRecord, StorageElement
from artstore import database
from artstore.errors import ArtStoreError, ValidationError


class ElementRefused(Exception):
    """The element holds nothing of this file, and the bytes can be sent to another."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


class IdGivenUp(Exception):
    """The element will never (again) hold a file of this id."""

    def __init__(self, never_stored: bool) -> None:
        super().__init__("never stored" if never_stored else "deleted")
        self.never_stored = never_stored


class _Body:
    """The bytes on their way, which pins the row before the first of them leaves."""

    def __init__(self, hold: Hold, incoming: IncomingFile) -> None:
        self.started = False
        self._hold = hold
        self._incoming = incoming

    def __iter__(self) -> Iterator[bytes]:
        self.start()
        content = self._incoming.content
        for piece in content.pieces():
            if self._hold.lost:
                raise UploadFailed(_LOST)
            if content.sha256:
                self._keep_late_texts()
            if piece:
                yield piece

    def start(self) -> None:
        if self.started:
            return
        pinned = self._hold.pin()
        database.release()
        if not pinned:
            raise UploadFailed(_LOST)
        self.started = True

    def _keep_late_texts(self) -> None:
        """All fields are known and the last piece has not left: the row learns of texts that came
        behind the bytes before the element can commit, so no crash loses them."""
        final = self._incoming.final_fields()
        if final.texts == self._incoming.fields.texts:
            return
        kept = FileRecord.describe(self._hold.file_id, self._hold.lease, final.texts)
        database.release()
        if not kept:
            raise UploadFailed(_LOST)


_LOST = "The upload was given up because its server fell silent for too long. Send it again."


def deliver(
    element: StorageElement, hold: Hold, incoming: IncomingFile, subject: str
) -> FileAttributes:
    """Send the file and return what the element holds of it.

    Raises `ElementRefused`, `IdGivenUp`, or the `ArtStoreError` the client is to see.
    """
    content = incoming.content
    body = _Body(hold, incoming)
    client = nodes.client(element, subject)
    if content.size_bytes == 0:
        # There is no byte to withhold or to pin at: the request itself stores the file.
        body.start()
    database.release()
    try:
        stored = client.put_file(hold.file_id, nodes.upload_of(incoming, body))
    except NodeFailure as failure:
        return _after_failure(element, hold, incoming, _Outcome(failure, body.started, subject))
    except ArtStoreError as failure:
        # The client's own fault, or our own: the element's connection was cut before the last byte.
        if body.started:
            _give_up(element, hold, subject, failure)
        else:
            hold.unpin_unsent()
        raise
    _compare(content, stored.attributes)
    return stored.attributes


def add_late_texts(
    element: StorageElement, incoming: IncomingFile, held: FileAttributes, subject: str
) -> FileAttributes:
    """Give the element the texts that followed a large file in its form.

    Until that is done nobody was told that the file is stored; if it fails, the row stays as after
    a lost answer, and says which texts are owed.
    """
    final = incoming.final_fields().texts
    if texts_of(held) == final:
        return held
    database.release()
    try:
        return nodes.client(element, subject).edit_file(held.file_id, final)
    except NodeFailure as failure:
        raise _unknown() from failure


def add_owed_texts(
    element: StorageElement, record: FileRecord, held: FileAttributes, subject: str
) -> FileAttributes:
    """The same for an upload whose sender was lost before it could: its row says what is owed.

    A file that was edited since is left as it is. Raises what the element's refusal is.
    """
    owed = texts_of(record)
    if held.revision > 1 or texts_of(held) == owed:
        return held
    database.release()
    return nodes.client(element, subject).edit_file(held.file_id, owed, held.revision)


@dataclasses.dataclass(frozen=True, slots=True)
class _Outcome:
    failure: NodeFailure
    started: bool
    subject: str


def find_stored(element: StorageElement, record: FileRecord, subject: str) -> FileAttributes | None:
    """What the element holds of this row from an earlier attempt, if anything, fully described."""
    database.release()
    try:
        held = nodes.client(element, subject).get_file(record.file_id).attributes
        return add_owed_texts(element, record, held, subject)
    except (NodeFileNotFound, NodeFileGone):
        return None
    except NodeFailure as failure:
        raise ElementRefused(Refusal.UNREACHABLE) from failure


def read_to_end(content: Content) -> None:
    """Take all bytes and keep none; what is left to do is to compare."""
    database.release()
    for _piece in content.pieces():
        pass


def _after_failure(
    element: StorageElement, hold: Hold, incoming: IncomingFile, outcome: _Outcome
) -> FileAttributes:
    failure = outcome.failure
    if isinstance(failure, NodeFileGone):
        hold.unpin()
        raise IdGivenUp(failure.file_status == "abandoned") from failure
    if not outcome.started:
        hold.unpin_unsent()
        _raise_refusal(failure)
    found = _give_up(element, hold, outcome.subject, failure)
    content = incoming.content
    if found is not None:
        return _adopted(content, found, failure)
    if content.replayable:
        _raise_refusal(failure)
    raise _what_the_client_sees(failure)


def _give_up(
    element: StorageElement, hold: Hold, subject: str, failure: ArtStoreError
) -> FileAttributes | None:
    """Make the element promise never to hold the file; what it holds if it is too late for that."""
    try:
        found = nodes.client(element, subject).abandon(hold.file_id)
    except NodeFailure as silent:
        if isinstance(failure, NodeFailure):
            raise _unknown() from silent
        return None
    if found is None:
        hold.unpin()
    return found


def _adopted(content: Content, found: FileAttributes, failure: NodeFailure) -> FileAttributes:
    """The answer was lost, or an earlier attempt had stored the file after all."""
    if isinstance(failure, NodeConflict) or not content.sha256:
        raise _unknown() from failure
    _compare(content, found)
    return found


def _compare(content: Content, attributes: FileAttributes) -> None:
    if (attributes.checksum, attributes.size) != (content.sha256, content.size_bytes):
        raise UploadFailed(
            _("The storage element holds other bytes under this id than the ones sent: %(id)s.")
            % {"id": attributes.file_id}
        )


def _raise_refusal(failure: NodeFailure) -> None:
    if isinstance(failure, NodeInvalidInput):
        raise ValidationError(
            _("The storage element refused the file's attributes: %(why)s") % {"why": failure}
        ) from failure
    raise ElementRefused(_refusal_of(failure)) from failure


def _refusal_of(failure: NodeFailure) -> Refusal:
    if isinstance(failure, NodeStorageFull):
        return Refusal.FULL
    if isinstance(failure, NodeFileTooLarge):
        return Refusal.TOO_LARGE
    if isinstance(failure, NodeUnreachable):
        return Refusal.UNREACHABLE
    return Refusal.NOT_WILLING


def _what_the_client_sees(failure: NodeFailure) -> ArtStoreError:
    """The element took part of a body that cannot be sent again, then refused or fell silent."""
    if isinstance(failure, NodeStorageFull):
        return StorageFull(
            _("The storage element ran out of room while the file arrived. Nothing was stored.")
        )
    if isinstance(failure, NodeRefused) and not isinstance(failure, NodeOutcomeUnknown):
        return UploadFailed(
            _("The storage element stopped the upload: %(why)s Nothing was stored.")
            % {"why": failure}
        )
    return UploadFailed(_("The storage element fell silent. Nothing was stored; send it again."))


def _unknown() -> UploadFailed:
    return UploadFailed(
        _("The storage element does not answer: the file may have been stored or not.")
        + " "
        + _("Send it again with the same Idempotency-Key to get one file.")
    )
