"""What an administrator does with storage elements: discover, register, edit, remove, change mode, and
start the node's own housekeeping. Asking how they are is `probing`.

A node is always asked before anything is stored, never inside a transaction, and each act writes
its audit event in the transaction that stores it.
"""

import datetime as dt
import ssl
import uuid
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext_lazy as _

from apps.admin import audit
from apps.admin.models import AuditEvent
from apps.admin.principals import Principal
from apps.registry import addresses, credentials, probing, sync, wire, written
from apps.registry.errors import (
    ElementInUse,
    ElementMismatch,
    ElementTaken,
    ElementUrlRefused,
    NodeIdentityChanged,
    NodeUnreachable,
    element_not_found,
)
from apps.registry.models import (
    DeletionReason,
    ElementStatus,
    FileRecord,
    FileStatus,
    Mode,
    StorageElement,
    SyncRun,
    SyncTrigger,
    element_id_of,
)
from apps.registry.node_client import NodeAddress, NodeClient
from artstore import database
from artstore.errors import ValidationError

MAX_CA_PEM_CHARACTERS = 64 * 1024


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a node says of itself to somebody without a token."""

    url: str
    storage_id: str
    instance_id: str
    mode: str
    status: str
    version: str
    registered: bool


@dataclass(frozen=True, slots=True)
class Registration:
    """What an administrator gives to register an element."""

    name: str
    url: str
    ca_pem: str = ""


@dataclass(frozen=True, slots=True)
class Registered:
    """The new element, and the full sync that was claimed for it and has to be enqueued."""

    element: StorageElement
    run: SyncRun


@dataclass(frozen=True, slots=True)
class ElementEdit:
    """What to change; None leaves a thing as it is. An empty `ca_pem` means public CAs."""

    name: str | None = None
    url: str | None = None
    ca_pem: str | None = None
    maintenance: bool | None = None
    accept_instance_id: str | None = None


@dataclass(frozen=True, slots=True)
class ModeChange:
    """A mode transition as the node acknowledged it."""

    previous_mode: str
    current_mode: str
    transitioned_at: str


def get(element_id: uuid.UUID) -> StorageElement:
    """The element, or `ElementNotFound`."""
    found = StorageElement.objects.filter(pk=element_id).first()
    if found is None:
        raise element_not_found(element_id)
    return found


def find(text: str) -> StorageElement:
    """The element with this storage_id or id, as a person writes it."""
    found = StorageElement.objects.filter(storage_id=text).first()
    if found is not None:
        return found
    try:
        return get(uuid.UUID(text))
    except ValueError as failure:
        raise element_not_found(text) from failure


def discover(url: str, ca_pem: str = "") -> Discovery:
    """Ask a URL what it is. No token is sent and nothing is stored."""
    checked = addresses.normalise_url(url, wire.policy())
    info = NodeClient(NodeAddress(checked, ca_pem=_checked_pem(ca_pem))).get_info()
    found = info.identity.storage_id
    return Discovery(
        url=checked,
        storage_id=found,
        instance_id=info.identity.instance_id,
        mode=str(info.body.get("mode", ""))[:20],
        status=str(info.body.get("status", ""))[:20],
        version=str(info.body.get("version", ""))[:64],
        registered=StorageElement.objects.filter(storage_id=found).exists(),
    )


def register(
    registration: Registration, principal: Principal | None, now: dt.datetime
) -> Registered:
    """Add an element, probe it, and claim the full sync that brings in its files."""
    found = discover(registration.url, registration.ca_pem)
    if found.mode not in Mode.values or len(found.storage_id) > 63:
        raise ElementMismatch(
            str(_("The node at this URL says a mode or storage_id that cannot be."))
        )
    element = StorageElement(
        id=element_id_of(found.storage_id),
        name=registration.name,
        url=found.url,
        storage_id=found.storage_id,
        instance_id=found.instance_id,
        ca_pem=registration.ca_pem.strip(),
        mode=found.mode,
        status=ElementStatus.ONLINE,
        version=found.version,
    )
    try:
        with transaction.atomic():
            element.save(force_insert=True)
            run = sync.claim(element, sync.Request(SyncTrigger.REGISTRATION, full=True))
            _audit(principal, "element.register", element, {"url": element.url}, now)
    except IntegrityError as failure:
        raise _taken() from failure
    return Registered(probing.probe(element, now), run)


def edit(
    element_id: uuid.UUID, changes: ElementEdit, principal: Principal | None, now: dt.datetime
) -> StorageElement:
    """Change what is registered. A new URL or pin has to lead to the same element and instance."""
    element = get(element_id)
    columns = _edited_columns(element, changes)
    try:
        with transaction.atomic():
            StorageElement.objects.filter(pk=element_id).update(**columns, updated_at=now)
            written.changes.note_any()
            shown = {name: str(value)[:200] for name, value in columns.items() if name != "ca_pem"}
            if "ca_pem" in columns:
                shown["ca_pem"] = "changed"
            _audit(principal, "element.edit", element, shown, now)
    except IntegrityError as failure:
        raise _taken() from failure
    element.refresh_from_db()
    if changes.url is not None or changes.maintenance is False or changes.accept_instance_id:
        return probing.probe(element, now)
    return element


def _edited_columns(element: StorageElement, changes: ElementEdit) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    if changes.name is not None:
        columns["name"] = changes.name
    if changes.url is not None or changes.ca_pem is not None or changes.accept_instance_id:
        columns |= _proven_address(element, changes)
    if changes.maintenance is not None:
        status = ElementStatus.MAINTENANCE if changes.maintenance else ElementStatus.OFFLINE
        columns |= {"status": status, "status_reason": ""}
    return columns


def _proven_address(element: StorageElement, changes: ElementEdit) -> dict[str, Any]:
    """The address columns to store, after the node there has said who it is."""
    url = element.url
    if changes.url is not None:
        url = addresses.normalise_url(changes.url, wire.policy())
    ca_pem = element.ca_pem if changes.ca_pem is None else _checked_pem(changes.ca_pem)
    instance_id = changes.accept_instance_id or element.instance_id
    try:
        NodeClient(NodeAddress(url, element.storage_id, instance_id, ca_pem)).get_info()
    except NodeIdentityChanged as failure:
        raise ElementMismatch(str(failure)) from failure
    except NodeUnreachable as failure:
        if isinstance(failure.__cause__, ElementUrlRefused):
            raise failure.__cause__ from None
        raise
    columns: dict[str, Any] = {"url": url, "ca_pem": ca_pem}
    if instance_id != element.instance_id:
        # Another life of the element: its change numbers mean nothing against the old cursor.
        columns |= {
            "instance_id": instance_id,
            "offered_instance_id": "",
            "epoch": "",
            "cursor": 0,
            "full_sync_reason": "another instance was accepted",
        }
    return columns


def remove(
    element_id: uuid.UUID, principal: Principal | None, now: dt.datetime, *, force: bool
) -> int:
    """Forget an element; answers how many records it left behind as deleted.

    Its files stay where they are: registering it again and a full sync bring the records back.
    """
    with transaction.atomic():
        database.take_time()
        element = StorageElement.objects.select_for_update().filter(pk=element_id).first()
        if element is None:
            raise element_not_found(element_id)
        records = FileRecord.objects.filter(storage_element_id=element_id)
        held = records.filter(status__in=(FileStatus.ACTIVE, FileStatus.UPLOADING))
        if not force and held.exists():
            raise ElementInUse(
                _(
                    "Storage element %(name)s still holds active files. Remove it with force to "
                    "mark their records deleted; the files themselves are not touched."
                )
                % {"name": element.name}
            )
        records.filter(status=FileStatus.UPLOADING).delete()
        left = records.exclude(status=FileStatus.DELETED).update(
            status=FileStatus.DELETED,
            deletion_reason=DeletionReason.ELEMENT_REMOVED,
            storage_element=None,
            updated_at=now,
        )
        element.delete()
        written.changes.note_any()
        _audit(principal, "element.remove", element, {"records": left, "force": force}, now)
    return left


def was_removed(storage_id: str) -> bool:
    """Whether somebody removed an element of this name. A registry made anew knows of none."""
    target = f"element:{storage_id}"
    return AuditEvent.objects.filter(action="element.remove", target=target).exists()


def change_mode(
    element_id: uuid.UUID, move: tuple[str, bool], principal: Principal | None, now: dt.datetime
) -> ModeChange:
    """Ask the node for another mode; `move` is the target and whether the step is confirmed."""
    element = get(element_id)
    target, confirm = move
    with probing.noting_failures(element):
        answer = _operator(element, principal).transition_mode(target, confirm=confirm)
    change = ModeChange(
        previous_mode=str(answer.body.get("previous_mode", "")),
        current_mode=str(answer.body.get("current_mode", "")),
        transitioned_at=str(answer.body.get("transitioned_at", "")),
    )
    with transaction.atomic():
        if change.current_mode in Mode.values:
            StorageElement.objects.filter(pk=element_id).update(mode=change.current_mode)
        details = {"from": change.previous_mode, "to": change.current_mode}
        _audit(principal, "element.mode", element, details, now)
    return change


def start_reconcile(
    element_id: uuid.UUID, principal: Principal | None, now: dt.datetime
) -> dict[str, Any]:
    """Let the node start to reconcile; its run as it describes it."""
    element = get(element_id)
    with probing.noting_failures(element):
        answer = _operator(element, principal).start_reconcile()
    _audit(principal, "element.reconcile", element, {}, now)
    return answer.body


def last_reconcile(element_id: uuid.UUID) -> dict[str, Any]:
    """The node's last reconcile run with its findings."""
    element = get(element_id)
    caller = credentials.for_system("storage:read")
    return credentials.client(element, caller).get_reconcile().body


def collect_garbage(
    element_id: uuid.UUID, principal: Principal | None, now: dt.datetime, *, dry_run: bool
) -> dict[str, Any]:
    """Let the node free what is deleted and expired, or only say what it would free."""
    element = get(element_id)
    with probing.noting_failures(element):
        answer = _operator(element, principal).collect_garbage(dry_run=dry_run)
    if not dry_run:
        details = {name: answer.body.get(name) for name in ("freed_files", "freed_bytes")}
        _audit(principal, "element.collect_garbage", element, details, now)
    return answer.body


def _operator(element: StorageElement, principal: Principal | None) -> NodeClient:
    """A client for the node's own acts; without a principal it is the shell that asks."""
    subject = principal.subject if principal else credentials.SYSTEM_SUBJECT
    return credentials.client(element, credentials.Caller(subject, "admin", ("storage:write",)))


def _checked_pem(ca_pem: str) -> str:
    """The certificates to trust, proven readable; errors name no content."""
    text = ca_pem.strip()
    if not text:
        return ""
    problem = _("This is not a certificate in PEM form.")
    if len(text) > MAX_CA_PEM_CHARACTERS or "PRIVATE KEY" in text:
        raise ValidationError(str(problem), details={"ca_pem": [str(problem)]})
    try:
        ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError) as failure:
        raise ValidationError(str(problem), details={"ca_pem": [str(problem)]}) from failure
    return text


def _taken() -> ElementTaken:
    return ElementTaken(
        str(_("A storage element with this URL or storage_id is registered already."))
    )


def _audit(
    principal: Principal | None,
    action: str,
    element: StorageElement,
    details: dict[str, Any],
    now: dt.datetime,
) -> None:
    audit.record(principal, action, f"element:{element.storage_id}", details, now)
