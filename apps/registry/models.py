"""The nouns: storage elements, file records, sync runs, indexes that wait, and worker heartbeats.

A noun guards its own status: every move is one conditional UPDATE whose row count decides, so two
processes can never both make it. Leases and activation are timed by the database's clock, which
all processes share. What involves a node or two nouns lives in the verb modules.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.search import SearchVectorField
from django.db import connection, models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from psycopg.types.json import Jsonb

from apps.registry.attributes import RECORD_COLUMNS, FileAttributes
from apps.registry.choices import (
    DeletionReason as DeletionReason,
)
from apps.registry.choices import (
    ElementStatus as ElementStatus,
)
from apps.registry.choices import (
    FileStatus as FileStatus,
)
from apps.registry.choices import (
    Mode as Mode,
)
from apps.registry.choices import (
    Retention as Retention,
)
from apps.registry.choices import (
    SyncKind as SyncKind,
)
from apps.registry.choices import (
    SyncStatus as SyncStatus,
)
from apps.registry.choices import (
    SyncTrigger as SyncTrigger,
)
from apps.registry.search_text import NAME_KEY, SEARCH_VECTOR
from apps.registry.uploading import Lease, UploadDraft

# Never change: element ids, and with them every record, are derived from it.
_ELEMENT_NAMESPACE = uuid.UUID("6c1d4a52-0f0b-5d1c-9e53-0a7f2a6b9d11")


def element_id_of(storage_id: str) -> uuid.UUID:
    """The id an element has in every registry, so that rebuilt records point at the same one."""
    return uuid.uuid5(_ELEMENT_NAMESPACE, storage_id)


class StorageElement(models.Model):
    """A place that holds files, as it was last seen."""

    id = models.UUIDField(primary_key=True, editable=False)
    name = models.CharField(max_length=100)
    url = models.URLField(max_length=500, unique=True)
    storage_id = models.CharField(max_length=63, unique=True)
    instance_id = models.CharField(max_length=64)
    # Another life of the element that answered and waits for an operator's word.
    offered_instance_id = models.CharField(max_length=64, blank=True, default="")
    ca_pem = models.TextField(blank=True, default="")
    epoch = models.CharField(max_length=64, blank=True, default="")
    cursor = models.BigIntegerField(default=0)
    mode = models.CharField(max_length=4, choices=Mode.choices)
    status = models.CharField(max_length=11, choices=ElementStatus.choices)
    status_reason = models.CharField(max_length=500, blank=True, default="")
    capacity_bytes = models.BigIntegerField(default=0)
    used_bytes = models.BigIntegerField(default=0)
    available_bytes = models.BigIntegerField(default=0)
    file_count = models.BigIntegerField(default=0)
    version = models.CharField(max_length=64, blank=True, default="")
    # Database clock, taken before the probe is sent: rows begun since are not in its figures.
    last_probe_at = models.DateTimeField(null=True)
    last_sync_at = models.DateTimeField(null=True)
    last_file_sync_at = models.DateTimeField(null=True)
    last_full_sync_at = models.DateTimeField(null=True)
    # Why the next sync has to read everything; empty when changes are enough.
    full_sync_reason = models.CharField(max_length=200, blank=True, default="")
    # What totals differed by after the last full sync (rejected items), and how often since by anything else.
    known_gap = models.JSONField(default=list)
    totals_disagreed = models.PositiveSmallIntegerField(default=0)
    lazy_window_started_at = models.DateTimeField(null=True)
    lazy_cleanups = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("name", "id")

    def __str__(self) -> str:
        return self.name


def overdue(now: dt.datetime) -> Q:
    """Called active by its record, and past its time."""
    return Q(status=FileStatus.ACTIVE, expires_at__lte=now)


class FileRecordQuerySet(models.QuerySet["FileRecord"]):
    def visible(self) -> "FileRecordQuerySet":
        """What an answer may show: never a row that is still uploading."""
        return self.exclude(status=FileStatus.UPLOADING)

    def having_status(self, status: str, now: dt.datetime) -> "FileRecordQuerySet":
        """As `status_at` tells it, which the column may not say yet."""
        if status == FileStatus.ACTIVE:
            lasting = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
            return self.filter(lasting, status=status)
        if status == FileStatus.EXPIRED:
            return self.filter(Q(status=status) | overdue(now))
        return self.filter(status=status)

    def uploading(self, file_id: uuid.UUID) -> "FileRecordQuerySet":
        return self.filter(pk=file_id, status=FileStatus.UPLOADING)

    def leased(self, file_id: uuid.UUID, lease: Lease) -> "FileRecordQuerySet":
        """The row, if this lease still holds it."""
        return self.uploading(file_id).filter(lease_id=lease.id)


class FileRecord(models.Model):
    """The database row about a file; can be rebuilt from its element."""

    file_id = models.UUIDField(primary_key=True)
    storage_element = models.ForeignKey(
        StorageElement, null=True, on_delete=models.SET_NULL, related_name="records", db_index=False
    )
    original_filename = models.CharField(max_length=255)
    content_type = models.CharField(max_length=255)
    size = models.BigIntegerField()
    checksum = models.CharField(max_length=64, blank=True)
    uploaded_by = models.CharField(max_length=150)
    uploaded_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    # Absent and empty differ on the element, and a rebuilt record has to be equal.
    description = models.CharField(max_length=1000, null=True, blank=True)
    tags = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    status = models.CharField(max_length=9, choices=FileStatus.choices)
    retention_policy = models.CharField(max_length=9, choices=Retention.choices)
    ttl_days = models.PositiveIntegerField(null=True)
    expires_at = models.DateTimeField(null=True)
    stored_revision = models.BigIntegerField(default=0)
    deletion_reason = models.CharField(
        max_length=18, choices=DeletionReason.choices, blank=True, default=""
    )
    activated_at = models.DateTimeField(null=True)
    # The last write that did not come from a sync, on the database's clock.
    written_at = models.DateTimeField(null=True)
    # Uploads only. `begun_at` is on the database's clock; `size` holds the reservation until the
    # file is active; `body_sent` pins the row to its element.
    begun_at = models.DateTimeField(null=True)
    lease_id = models.UUIDField(null=True)
    lease_expires_at = models.DateTimeField(null=True)
    body_sent = models.BooleanField(default=False)
    name_key = models.GeneratedField(
        expression=NAME_KEY, output_field=models.TextField(), db_persist=True
    )
    search_vector = models.GeneratedField(
        expression=SEARCH_VECTOR, output_field=SearchVectorField(), db_persist=True
    )

    objects = FileRecordQuerySet.as_manager()

    class Meta:
        indexes = (
            # The columns beside the key let an element's totals be summed without the table.
            models.Index(
                fields=("storage_element", "uploaded_at", "file_id"),
                include=("status", "size", "stored_revision"),
                name="record_of_element",
            ),
            models.Index(
                fields=("storage_element", "begun_at"),
                name="record_begun_on_element",
                condition=Q(begun_at__isnull=False),
            ),
            models.Index(
                fields=("lease_expires_at",),
                name="record_uploading_lease",
                condition=Q(status=FileStatus.UPLOADING),
            ),
        )

    def __str__(self) -> str:
        return f"{self.original_filename} ({self.file_id})"

    def status_at(self, now: dt.datetime) -> str:
        """What the file is at `now`: from `expires_at` on it is expired, as its element says too,
        though the record may be told only by the next sync."""
        late = self.expires_at is not None and self.expires_at <= now
        return (
            FileStatus.EXPIRED.value if late and self.status == FileStatus.ACTIVE else self.status
        )

    @classmethod
    def begin(cls, draft: UploadDraft, lease: Lease) -> bool:
        """Reserve the id and the room; false when a row of that id exists already."""
        values = {
            "file_id": draft.file_id,
            "storage_element_id": draft.element_id,
            "original_filename": draft.original_filename,
            "content_type": draft.content_type,
            "size": draft.declared_bytes,
            "checksum": draft.checksum,
            "uploaded_by": draft.uploaded_by,
            "description": draft.description,
            "tags": list(draft.tags),
            "metadata": Jsonb(dict(draft.metadata)),
            "status": FileStatus.UPLOADING.value,
            "retention_policy": draft.retention_policy,
            "ttl_days": draft.ttl_days,
            "body_sent": draft.pinned,
            "lease_id": lease.id,
            "stored_revision": 0,
            "deletion_reason": "",
        }
        # Written out, as in `activate`: every upload runs it, and building it costs more than it.
        statement = (
            f"INSERT INTO {cls._meta.db_table} ({', '.join(values)},"  # noqa: S608 - names of ours
            " uploaded_at, updated_at, begun_at, lease_expires_at)"
            f" VALUES ({', '.join(['%s'] * len(values))}, statement_timestamp(),"
            " statement_timestamp(), statement_timestamp(), statement_timestamp() + %s)"
            " ON CONFLICT DO NOTHING"
        )
        return _rows_changed(statement, [*values.values(), lease.duration]) == 1

    @classmethod
    def take_over(cls, file_id: uuid.UUID, lease: Lease) -> bool:
        """Claim an upload whose holder let its lease run out; it stays on its element."""
        stale = cls.objects.uploading(file_id).filter(lease_expires_at__lte=Now())
        return bool(stale.update(lease_id=lease.id, lease_expires_at=Now() + lease.duration))

    @classmethod
    def renew_lease(cls, file_id: uuid.UUID, lease: Lease) -> bool:
        """Keep an upload alive; false when somebody else took it over or settled it."""
        held = cls.objects.leased(file_id, lease)
        return bool(held.update(lease_expires_at=Now() + lease.duration))

    @classmethod
    def pin(cls, file_id: uuid.UUID, lease: Lease) -> bool:
        """Bind the row to its element, before the first body byte leaves for it."""
        return bool(cls.objects.leased(file_id, lease).update(body_sent=True))

    @classmethod
    def unpin(cls, file_id: uuid.UUID, lease: Lease) -> bool:
        """The element answered `abandon` with 204: it will never hold this id."""
        return bool(cls.objects.leased(file_id, lease).update(body_sent=False))

    @classmethod
    def move(cls, file_id: uuid.UUID, element_id: uuid.UUID, lease: Lease) -> bool:
        """Try another element; only while no body byte went to the present one."""
        free = cls.objects.leased(file_id, lease).filter(body_sent=False)
        return bool(free.update(storage_element_id=element_id, begun_at=Now()))

    @classmethod
    def describe(cls, file_id: uuid.UUID, lease: Lease, texts: Mapping[str, Any]) -> bool:
        """What the file's element is going to say of it; nothing else may make the row active."""
        return bool(cls.objects.leased(file_id, lease).update(**texts))

    @classmethod
    def activate(cls, element_id: uuid.UUID, attributes: FileAttributes) -> bool:
        """The element acknowledged the bytes: the row takes over everything it says.

        Not bound to a lease: whoever learns it first may write it down, since the element is the
        truth. False when the row is not uploading on that element (any more).
        """
        values = columns_of(attributes)
        values["metadata"] = Jsonb(values["metadata"])
        statement = (
            f"UPDATE {cls._meta.db_table} SET {' = %s, '.join(values)} = %s,"  # noqa: S608 - names of ours
            " activated_at = statement_timestamp(), written_at = statement_timestamp(),"
            " lease_id = NULL, lease_expires_at = NULL"
            " WHERE file_id = %s AND status = %s AND storage_element_id = %s"
        )
        whose = [attributes.file_id, FileStatus.UPLOADING.value, element_id]
        return _rows_changed(statement, [*values.values(), *whose]) == 1

    @classmethod
    def drop(cls, file_id: uuid.UUID, lease: Lease) -> bool:
        """Forget an upload of which no element holds or will ever hold a byte."""
        deleted, _ = cls.objects.leased(file_id, lease).filter(body_sent=False).delete()
        return bool(deleted)

    @classmethod
    def claim_expired(cls, lease: Lease, limit: int) -> list["FileRecord"]:
        """Uploads whose holder is dead, now held by `lease`; parallel settlers share them out."""
        stale = (
            cls.objects.filter(status=FileStatus.UPLOADING, lease_expires_at__lte=Now())
            .order_by("lease_expires_at")
            .select_for_update(skip_locked=True)
            .values("pk")[:limit]
        )
        with transaction.atomic():
            cls.objects.filter(
                pk__in=stale, status=FileStatus.UPLOADING, lease_expires_at__lte=Now()
            ).update(lease_id=lease.id, lease_expires_at=Now() + lease.duration)
        return list(cls.objects.filter(status=FileStatus.UPLOADING, lease_id=lease.id))

    @classmethod
    def apply(cls, element_id: uuid.UUID, attributes: FileAttributes) -> bool:
        """Write down what the element answered to an edit or a deletion made through us."""
        row = cls.objects.visible().filter(
            pk=attributes.file_id,
            storage_element_id=element_id,
            stored_revision__lte=attributes.revision,
        )
        return bool(row.update(**columns_of(attributes), written_at=Now()))

    def mark_gone(self, status: str, reason: str) -> bool:
        """The element says this very state of the file is no more (lazy cleanup)."""
        row = FileRecord.objects.filter(
            pk=self.pk,
            status=FileStatus.ACTIVE,
            storage_element_id=self.storage_element_id,
            stored_revision=self.stored_revision,
        )
        return bool(
            row.update(status=status, deletion_reason=reason, updated_at=Now(), written_at=Now())
        )


def _rows_changed(statement: str, values: Sequence[Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)


def columns_of(attributes: FileAttributes) -> dict[str, Any]:
    """The record's columns that repeat the element's attributes, but for the key."""
    columns = {
        column: getattr(attributes, "revision" if column == "stored_revision" else column)
        for column in RECORD_COLUMNS
        if column != "file_id"
    }
    columns["tags"], columns["metadata"] = list(attributes.tags), dict(attributes.metadata)
    return columns | {"deletion_reason": reason_of(attributes.status)}


def reason_of(status: str) -> str:
    """Why a file that its element calls `status` is gone; empty while it is not."""
    reasons = {
        FileStatus.DELETED: DeletionReason.USER,
        FileStatus.EXPIRED: DeletionReason.EXPIRED,
    }
    return str(reasons.get(FileStatus(status), ""))


class SyncRun(models.Model):
    """One attempt to make the records of one element match its files."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    storage_element = models.ForeignKey(
        StorageElement,
        null=True,
        on_delete=models.SET_NULL,
        related_name="sync_runs",
        db_index=False,
    )
    trigger = models.CharField(max_length=12, choices=SyncTrigger.choices)
    kind = models.CharField(max_length=7, choices=SyncKind.choices)
    status = models.CharField(max_length=18, choices=SyncStatus.choices, default=SyncStatus.RUNNING)
    requested_by = models.CharField(max_length=150, blank=True, default="")
    allow_mass_delete = models.BooleanField(default=False)
    lease_id = models.UUIDField(null=True)
    lease_expires_at = models.DateTimeField(null=True)
    instance_id = models.CharField(max_length=64, blank=True, default="")
    epoch = models.CharField(max_length=64, blank=True, default="")
    new_epoch = models.BooleanField(default=False)
    cursor = models.BigIntegerField(default=0)
    changes_applied = models.BigIntegerField(default=0)
    files_seen = models.BigIntegerField(default=0)
    files_added = models.BigIntegerField(default=0)
    files_updated = models.BigIntegerField(default=0)
    files_unchanged = models.BigIntegerField(default=0)
    files_marked_deleted = models.BigIntegerField(default=0)
    files_rejected = models.BigIntegerField(default=0)
    files_missing = models.BigIntegerField(default=0)
    # The first rejected items, `[{file_id, reason}]`; the count above is of all.
    rejected_items = models.JSONField(default=list)
    error = models.CharField(max_length=500, blank=True, default="")
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("storage_element",),
                name="one_open_run_per_element",
                condition=Q(status=SyncStatus.RUNNING),
            ),
        )
        indexes = (
            models.Index(fields=("storage_element", "-started_at", "id"), name="run_by_element"),
            models.Index(fields=("-started_at", "id"), name="run_by_start"),
        )

    def __str__(self) -> str:
        return f"{self.kind} sync {self.id}"

    @classmethod
    def leased(cls, run_id: uuid.UUID, lease: Lease) -> models.QuerySet["SyncRun"]:
        """The run, if it is still open and this lease holds it."""
        return cls.objects.filter(pk=run_id, status=SyncStatus.RUNNING, lease_id=lease.id)

    @classmethod
    def take(cls, run_id: uuid.UUID, lease: Lease) -> bool:
        """A worker makes an open run its own; false when it is held, or closed."""
        free = cls.objects.filter(pk=run_id, status=SyncStatus.RUNNING).filter(
            Q(lease_id__isnull=True) | Q(lease_expires_at__lte=Now())
        )
        return bool(free.update(lease_id=lease.id, lease_expires_at=Now() + lease.duration))

    @classmethod
    def renew_lease(cls, run_id: uuid.UUID, lease: Lease) -> bool:
        held = cls.leased(run_id, lease)
        return bool(held.update(lease_expires_at=Now() + lease.duration))

    @classmethod
    def finish(cls, run_id: uuid.UUID, lease: Lease, status: SyncStatus, error: str = "") -> bool:
        """Close a run this lease holds."""
        held = cls.leased(run_id, lease)
        return bool(held.update(status=status, error=error[:500], finished_at=Now()))

    @classmethod
    def abandon_lost(cls) -> int:
        """Close the runs whose worker let the lease run out; answers how many."""
        lost = cls.objects.filter(
            status=SyncStatus.RUNNING, lease_id__isnull=False, lease_expires_at__lte=Now()
        )
        return lost.update(
            status=SyncStatus.ABANDONED,
            error="The worker that ran it stopped renewing its lease.",
            finished_at=Now(),
        )


class SeenFile(models.Model):
    """A file id that a full sync met. An unlogged table: a crash empties it, and a run whose
    count of seen ids does not equal the element's total marks nothing."""

    pk = models.CompositePrimaryKey("run", "file_id")
    run = models.ForeignKey(
        SyncRun, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="+"
    )
    file_id = models.UUIDField()
    # A tombstone proves a deletion, so the record it belongs to is not one gone without a word.
    tombstone = models.BooleanField(default=False)

    def __str__(self) -> str:
        return str(self.file_id)


class WaitingIndex(models.Model):
    """An index of the records that a first load left out, and that is to be built; see `indexes`."""

    name = models.CharField(primary_key=True, max_length=63)
    definition = models.TextField()

    def __str__(self) -> str:
        return self.name


class WorkerHeartbeat(models.Model):
    """The last sign of life of one worker process; the broker cannot tell."""

    name = models.CharField(primary_key=True, max_length=200)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @classmethod
    def beat(cls, names: Iterable[str]) -> None:
        """Write down that these workers are alive now, by the database's clock."""
        rows = [WorkerHeartbeat(name=name, started_at=Now(), seen_at=Now()) for name in names]
        WorkerHeartbeat.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["name"], update_fields=["seen_at"]
        )

    @classmethod
    def leave(cls, name: str) -> None:
        """A worker that ends in order is not missed."""
        cls.objects.filter(pk=name).delete()

    @classmethod
    def forget_silent(cls, silence: dt.timedelta) -> int:
        """Workers that ended long ago are of no interest."""
        gone, _ = cls.objects.filter(seen_at__lt=Now() - silence).delete()
        return gone
