"""The words a column may hold. Part of the nouns: others take them from `models`."""

from django.db import models


class Mode(models.TextChoices):
    EDIT = "edit"
    RW = "rw"
    RO = "ro"
    AR = "ar"


class ElementStatus(models.TextChoices):
    ONLINE = "online"
    DEGRADED = "degraded"
    OFFLINE = "offline"
    MAINTENANCE = "maintenance"


class FileStatus(models.TextChoices):
    UPLOADING = "uploading"
    ACTIVE = "active"
    EXPIRED = "expired"
    DELETED = "deleted"


class Retention(models.TextChoices):
    TEMPORARY = "temporary"
    PERMANENT = "permanent"


class DeletionReason(models.TextChoices):
    USER = "user"
    EXPIRED = "expired"
    MISSING_ON_ELEMENT = "missing_on_element"
    ELEMENT_REMOVED = "element_removed"


class SyncTrigger(models.TextChoices):
    PERIODIC = "periodic"
    MANUAL = "manual"
    REGISTRATION = "registration"
    RECOVERY = "recovery"


class SyncKind(models.TextChoices):
    FULL = "full"
    CHANGES = "changes"


class SyncStatus(models.TextChoices):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    NEEDS_CONFIRMATION = "needs_confirmation"
    ABANDONED = "abandoned"
