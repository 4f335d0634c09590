"""What can fail about elements, records, sync and the wire, each with its code and status.

ArtStoreError
|- ElementNotFound, FileNotFound                      nothing by that id
|- ElementTaken, ElementMismatch, ElementInUse        409 about registrations
|- ElementUrlRefused                                  an address we will not connect to
|- SyncInProgress, SyncRefused                        409 about runs
|- TooManyMissing                                     lazy cleanup stopped, answered as unavailable
|- NodeFailure                                        the element did not do what was asked
   |- NodeUnreachable                                 no answer, or a cut one
   |- NodeAnswerInvalid                               an answer no node of ours gives
   |- NodeRefused                                     the node's own refusal, with its code
      |- one class per code that callers tell apart

Only `wire` and `node_client` raise the node family.
"""

from typing import Any, ClassVar, cast

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from artstore.errors import ArtStoreError, Conflict, NotFound, ValidationError


class ElementNotFound(NotFound):
    """No storage element has this id."""


class FileNotFound(NotFound):
    """No file has this id, or it is not a file any more where the call needs one."""


class SyncRunNotFound(NotFound):
    """No sync run has this id."""


class ElementTaken(Conflict):
    """Another element is registered under this URL or storage_id."""


class ElementMismatch(Conflict):
    """The URL answers, but as another storage element or another life of it."""


class ElementInUse(Conflict):
    """The element still holds active files."""


class FileHeldElsewhere(Conflict):
    """The file_id belongs to another element; an element speaks only for its own records."""


class UploadUnfinished(Conflict):
    """The element has the bytes, but not yet what their sender said of them."""


class ElementUrlRefused(ValidationError):
    """An address that storage elements may not have."""

    code: ClassVar[str] = "ELEMENT_URL_REFUSED"


class SyncInProgress(Conflict):
    code: ClassVar[str] = "SYNC_IN_PROGRESS"


class SyncStopped(ArtStoreError):
    """A sync run ended without applying everything; the run's row says why."""

    code: ClassVar[str] = "SYNC_STOPPED"
    status: ClassVar[int] = 409


class SyncNeedsConfirmation(SyncStopped):
    """More files are missing on the element than a machine may write off."""

    def __init__(self, message: str, *, missing: int) -> None:
        super().__init__(message)
        self.missing = missing


class NodeFailure(ArtStoreError):
    """The element did not do what was asked of it."""

    code: ClassVar[str] = "SE_UNAVAILABLE"
    status: ClassVar[int] = 502


class NodeUnreachable(NodeFailure):
    """No answer came, or it broke off.

    `sent_body` tells an uploader whether a byte of the body may have reached the node: then the
    file may be stored, and only `abandon` settles it.
    """

    def __init__(self, message: Promise | str, *, sent_body: bool = False) -> None:
        super().__init__(cast("str", message))  # a translation turns into text when it is shown
        self.sent_body = sent_body


class NodeAnswerInvalid(NodeUnreachable):
    """Something answered that does not speak the wire contract (a proxy's page, HTML, garbage)."""


class NodeIdentityChanged(NodeFailure):
    """The answer names another storage_id or instance_id than the one registered.

    `offered_instance_id` is what the right element answered as, if it is the right one.
    """

    offered_instance_id: str = ""


class NodeRefused(NodeFailure):
    """The node's own refusal. `node_code` and `node_status` are what it said.

    `before_body` is true when no byte of an upload's body had been sent: the refusal is definite.
    `epoch` is the one of the index that was asked.
    """

    code: ClassVar[str] = "SE_REFUSED"

    def __init__(self, message: str, *, node_code: str, node_status: int) -> None:
        super().__init__(message)
        self.node_code = node_code
        self.node_status = node_status
        self.before_body = True
        self.epoch = ""


class NodeFileNotFound(NodeRefused):
    """Index and disk of the node agree that there is no such file."""

    code: ClassVar[str] = "NOT_FOUND"
    status: ClassVar[int] = 404


class NodeFileGone(NodeRefused):
    """No such file any more; `file_status` says why: expired, deleted, or abandoned (never was)."""

    code: ClassVar[str] = "FILE_GONE"
    status: ClassVar[int] = 410
    file_status: str = "deleted"


class NodeModeNotAllowed(NodeRefused):
    code: ClassVar[str] = "MODE_NOT_ALLOWED"
    status: ClassVar[int] = 409


class NodeFileDamaged(NodeRefused):
    code: ClassVar[str] = "FILE_DAMAGED"
    status: ClassVar[int] = 409


class NodeConflict(NodeRefused):
    """Other bytes are stored under this id, or (abandon) `file` is there to adopt."""

    code: ClassVar[str] = "CONFLICT"
    status: ClassVar[int] = 409
    file: Any = None


class NodePreconditionFailed(NodeRefused):
    code: ClassVar[str] = "CONFLICT"
    status: ClassVar[int] = 409


class NodeInvalidTransition(NodeRefused):
    code: ClassVar[str] = "INVALID_TRANSITION"
    status: ClassVar[int] = 409


class NodeConfirmationRequired(NodeRefused):
    code: ClassVar[str] = "CONFIRMATION_REQUIRED"
    status: ClassVar[int] = 409


class NodeReconcileInProgress(NodeRefused):
    code: ClassVar[str] = "RECONCILE_IN_PROGRESS"
    status: ClassVar[int] = 409


class NodeResyncRequired(NodeRefused):
    """The feed cannot continue from the cursor given; it has to be read from 0."""


class NodeStorageFull(NodeRefused):
    code: ClassVar[str] = "STORAGE_FULL"
    status: ClassVar[int] = 507


class NodeFileTooLarge(NodeRefused):
    code: ClassVar[str] = "FILE_TOO_LARGE"
    status: ClassVar[int] = 413


class NodeInvalidRange(NodeRefused):
    code: ClassVar[str] = "INVALID_RANGE"
    status: ClassVar[int] = 416


class NodeInvalidInput(NodeRefused):
    """The node found the values we sent not valid (`VALIDATION_ERROR`, checksum, body length)."""

    code: ClassVar[str] = "VALIDATION_ERROR"
    status: ClassVar[int] = 400


class NodeNotWritable(NodeRefused):
    """The node is starting, degraded or its disk does not accept writes."""

    code: ClassVar[str] = "SE_UNAVAILABLE"


class NodeOutcomeUnknown(NodeRefused):
    """The node cannot say whether the change is stored."""

    code: ClassVar[str] = "SE_UNAVAILABLE"


class ElementNotWilling(Conflict):
    """The element is in maintenance, or otherwise not to be used for this now."""


def element_not_found(element_id: object) -> ElementNotFound:
    return ElementNotFound(_("There is no storage element %(id)s.") % {"id": element_id})


def file_not_found(file_id: object) -> FileNotFound:
    return FileNotFound(_("There is no file %(id)s.") % {"id": file_id})
