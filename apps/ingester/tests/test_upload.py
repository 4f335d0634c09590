"""A file gets in: what is stored, where, and what the record says of it."""

import hashlib
import uuid
from typing import Any

import pytest
from django.utils import timezone

from apps.admin.principals import Principal
from apps.ingester import incoming, nodes, upload
from apps.ingester.body import ClientBody
from apps.ingester.incoming import UploadHead
from apps.ingester.upload import Stored, Uploader
from apps.registry.models import FileRecord, StorageElement, columns_of

pytestmark = pytest.mark.django_db

MIB = 1024 * 1024


def body(content: bytes, declared: int | None = -1, step: int = 300_000) -> ClientBody:
    pieces = iter([content[at : at + step] for at in range(0, len(content), step)])
    size = len(content) if declared == -1 else declared
    return ClientBody(lambda: next(pieces, b""), size)


def store(
    content: bytes | ClientBody, principal: Principal, key: str | None = None, **parameters: Any
) -> Stored:
    """A raw upload."""
    asked = {"filename": "a.bin"} | parameters
    texts = {name: value if isinstance(value, list) else [value] for name, value in asked.items()}
    sent = content if isinstance(content, ClientBody) else body(content)
    file = incoming.open_request(UploadHead(parameters=texts), sent)
    return upload.store_upload(file, Uploader(principal, key), timezone.now())


@pytest.mark.parametrize("size", [0, 1, 1000, MIB, MIB + 1, 5 * MIB])
def test_a_file_of_any_size_is_on_the_element_as_the_record_says(
    element: StorageElement, uploader: Principal, size: int
) -> None:
    content = uuid.uuid4().bytes * (size // 16 + 1)
    content = content[:size]
    stored = store(
        content,
        uploader,
        filename="отчёт.pdf",
        description="годовой",
        tags=["a", "б"],
        metadata='{"k": [1, 2.5, null, {"x": "y"}]}',
        ttl_days="7",
    )
    record = FileRecord.objects.get(pk=stored.record.file_id)
    held = nodes.client(element, uploader.subject).get_file(record.file_id).attributes
    assert {name: getattr(record, name) for name in columns_of(held)} == columns_of(held)
    assert (record.size, record.checksum) == (size, hashlib.sha256(content).hexdigest())
    assert record.uploaded_by == uploader.subject
    assert record.ttl_days == 7
    assert stored.created
