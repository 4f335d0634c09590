"""Makes rows and values for tests: attributes as a node would say them, elements, records, people."""

import datetime as dt
import hashlib
import itertools
import uuid
from typing import Any

from django.utils import timezone

from apps.admin import keys
from apps.admin.models import SigningKey
from apps.admin.principals import Principal
from apps.registry import feed, listed
from apps.registry.attributes import FileAttributes
from apps.registry.models import FileRecord, StorageElement, columns_of, element_id_of

_numbers = itertools.count(1)
_kept_keys: list[dict[str, Any]] = []


def principal(role: str | None = "admin", *scopes: str) -> Principal:
    """A user with a role, or a service account with scopes."""
    kind = "user" if role else "service_account"
    return Principal(kind, "someone", uuid.uuid4(), role=role, scopes=frozenset(scopes))


def attributes(**changed: Any) -> FileAttributes:
    """A small active file on its first revision."""
    number = next(_numbers)
    now = timezone.now()
    values: dict[str, Any] = {
        "file_id": uuid.uuid4(),
        "original_filename": f"report-{number}.pdf",
        "content_type": "application/pdf",
        "size": number,
        "checksum": hashlib.sha256(str(number).encode()).hexdigest(),
        "uploaded_by": "someone",
        "uploaded_at": now,
        "updated_at": now,
        "revision": 1,
        "description": None,
        "tags": (),
        "metadata": {},
        "status": "active",
        "retention_policy": "permanent",
        "ttl_days": None,
        "expires_at": None,
    }
    return FileAttributes(**(values | changed))


def page(*said: FileAttributes, **given: Any) -> feed.Page:
    """The last page of a feed, which lists these."""
    files = {str(one.file_id): listed.written(one) for one in said}
    given = {"has_more": False, "totals": None, "items": len(said)} | given
    return feed.Page("e", 1, files=files, **given)


def element(storage_id: str | None = None, **changed: Any) -> StorageElement:
    """An element that was synced before; nothing runs at its URL."""
    number = next(_numbers)
    storage_id = storage_id or f"se-{number}"
    values: dict[str, Any] = {
        "id": element_id_of(storage_id),
        "name": f"Element {number}",
        "url": f"https://127.0.0.1:{18260 + number % 20}/{number}",
        "storage_id": storage_id,
        "instance_id": str(uuid.uuid4()),
        "epoch": str(uuid.uuid4()),
        "cursor": 1,
        "mode": "edit",
        "status": "online",
        "available_bytes": 2**30,
        "last_full_sync_at": timezone.now(),
        "last_probe_at": timezone.now(),
    }
    return StorageElement.objects.create(**(values | changed))


def record(on: StorageElement | None, **changed: Any) -> FileRecord:
    """A record that was active an hour ago; `changed` may hold attributes and other columns."""
    described = {name for name in FileAttributes.__slots__ if name in changed}
    said = attributes(**{name: changed.pop(name) for name in described})
    columns = columns_of(said) | {"activated_at": timezone.now() - dt.timedelta(hours=1)}
    return FileRecord.objects.create(
        file_id=said.file_id, storage_element=on, **(columns | changed)
    )


def seen_records(element_of: StorageElement) -> dict[uuid.UUID, FileRecord]:
    """Every record of the element by its id."""
    return {row.pk: row for row in FileRecord.objects.filter(storage_element=element_of)}


def signing_keys() -> None:
    """The same signing keys in every test: making RSA keys costs more than the tests do."""
    keys.keyring.forget()
    if _kept_keys:
        SigningKey.objects.bulk_create([SigningKey(**row) for row in _kept_keys])
    else:
        keys.ensure_signing_keys(timezone.now())
        _kept_keys.extend(SigningKey.objects.values())
    keys.keyring.forget()
