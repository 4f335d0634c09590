"""Single records as they are after an upload, for tests of what a search finds."""

import datetime as dt
import uuid
from typing import Any

from apps.registry.models import FileRecord, FileStatus

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)


def stored(name: str, age_days: float = 1, **columns: Any) -> FileRecord:
    """A record as it is after an upload `age_days` ago."""
    uploaded = NOW - dt.timedelta(days=age_days)
    values = {
        "file_id": uuid.uuid4(),
        "original_filename": name,
        "content_type": "application/octet-stream",
        "size": 10,
        "checksum": "0" * 64,
        "uploaded_by": "sa_ci_1",
        "uploaded_at": uploaded,
        "updated_at": uploaded,
        "status": FileStatus.ACTIVE,
        "retention_policy": "permanent",
        "stored_revision": 1,
        **columns,
    }
    return FileRecord.objects.create(**values)
