"""The JSON of elements, files and sync runs: what callers send and what they may see."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers

from apps.admin.permissions import Act, may
from apps.registry.attributes import (
    MAX_DESCRIPTION_CHARACTERS,
    MAX_TAG_CHARACTERS,
    MAX_TAGS,
    RECORD_COLUMNS,
    AttributesInvalid,
    checked_metadata,
)
from apps.registry.elements import MAX_CA_PEM_CHARACTERS
from apps.registry.models import ElementStatus, FileRecord, Mode, StorageElement, SyncRun
from artstore.api import StrictSerializer
from artstore.moments import rfc3339


class FileSerializer(serializers.ModelSerializer[FileRecord]):
    """A file as the API shows it. `context["principal"]` decides whether the element shows."""

    storage_element_id = serializers.UUIDField(
        required=False, allow_null=True, help_text="Only for roles, admin:read and storage:read."
    )
    metadata = serializers.DictField(child=serializers.JSONField(allow_null=True))

    class Meta:
        model = FileRecord
        fields = (
            *(name for name in RECORD_COLUMNS if name != "stored_revision"),
            "storage_element_id",
        )

    def to_representation(self, instance: FileRecord) -> dict[str, Any]:
        """Written out: building the declared fields for each answer costs more than the query."""
        shown: dict[str, Any] = {
            name: getattr(instance, name) for name in FileSerializer.Meta.fields
        }
        shown["file_id"] = str(instance.file_id)
        shown["status"] = instance.status_at(timezone.now())
        for name in ("uploaded_at", "updated_at", "expires_at"):
            shown[name] = shown[name] and rfc3339(shown[name])
        element_id = shown.pop("storage_element_id")
        # Fail closed: without a principal nobody is allowed to see it.
        principal = self.context.get("principal")
        if principal is not None and may(principal, Act.SEE_ELEMENT_ID):
            shown["storage_element_id"] = element_id and str(element_id)
        return shown


class TextField(serializers.CharField):
    """Text and nothing that could be turned into it, kept as it is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class EditFileSerializer(StrictSerializer):
    """At least one of the three; `description` may be null."""

    description = TextField(
        required=False, allow_null=True, allow_blank=True, max_length=MAX_DESCRIPTION_CHARACTERS
    )
    tags = serializers.ListField(
        child=TextField(max_length=MAX_TAG_CHARACTERS), required=False, max_length=MAX_TAGS
    )
    metadata = serializers.DictField(child=serializers.JSONField(allow_null=True), required=False)

    def validate_metadata(self, value: dict[str, Any]) -> dict[str, Any]:
        try:
            return dict(checked_metadata(value))
        except AttributesInvalid as failure:
            raise serializers.ValidationError(str(failure)) from failure

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError("Give description, tags or metadata.")
        return attrs


class RegisterFileSerializer(StrictSerializer):
    file_id = serializers.UUIDField()
    storage_element_id = serializers.UUIDField()


class StorageElementSerializer(serializers.ModelSerializer[StorageElement]):
    """An element; its URL is for roles alone."""

    url = serializers.CharField(required=False, help_text="Only for roles.")

    class Meta:
        model = StorageElement
        fields = (
            "id",
            "name",
            "url",
            "storage_id",
            "instance_id",
            "mode",
            "status",
            "status_reason",
            "capacity_bytes",
            "used_bytes",
            "available_bytes",
            "file_count",
            "version",
            "last_probe_at",
            "last_sync_at",
            "last_file_sync_at",
            "created_at",
            "updated_at",
        )

    def to_representation(self, instance: StorageElement) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        shown["status_reason"] = shown["status_reason"] or None
        principal = self.context.get("principal")
        if principal is None or not may(principal, Act.SEE_ELEMENT_URL):
            del shown["url"]
        return shown


class DiscoverSerializer(StrictSerializer):
    url = serializers.CharField(max_length=500)
    ca_pem = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_CA_PEM_CHARACTERS
    )


class DiscoverySerializer(serializers.Serializer[Any]):
    url = serializers.CharField()
    storage_id = serializers.CharField()
    instance_id = serializers.CharField()
    mode = serializers.CharField()
    status = serializers.CharField()
    version = serializers.CharField()
    registered = serializers.BooleanField()


class RegisterElementSerializer(StrictSerializer):
    name = serializers.CharField(max_length=100)
    url = serializers.CharField(max_length=500)
    ca_pem = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_CA_PEM_CHARACTERS
    )


class EditElementSerializer(StrictSerializer):
    name = serializers.CharField(required=False, max_length=100)
    url = serializers.CharField(required=False, max_length=500)
    ca_pem = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_CA_PEM_CHARACTERS
    )
    status = serializers.ChoiceField(
        [ElementStatus.MAINTENANCE.value, ElementStatus.ONLINE.value],
        required=False,
        help_text="`maintenance` on; `online` ends it, and a probe finds out how the element is.",
    )
    accept_instance_id = serializers.CharField(required=False, max_length=64)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError("Give at least one field to change.")
        if "status" in attrs:
            attrs["maintenance"] = attrs.pop("status") == ElementStatus.MAINTENANCE
        return attrs


class ModeSerializer(StrictSerializer):
    target_mode = serializers.ChoiceField(Mode.choices)
    confirm = serializers.BooleanField(required=False, default=False)


class ModeChangeSerializer(serializers.Serializer[Any]):
    previous_mode = serializers.CharField()
    current_mode = serializers.CharField()
    transitioned_at = serializers.CharField()


class StartSyncSerializer(StrictSerializer):
    full = serializers.BooleanField(required=False, default=False)
    allow_mass_delete = serializers.BooleanField(required=False, default=False)


class SyncRunSerializer(serializers.ModelSerializer[SyncRun]):
    rejected_items = serializers.ListField(
        child=serializers.DictField(child=serializers.CharField(allow_null=True))
    )
    error = serializers.CharField(allow_null=True)

    class Meta:
        model = SyncRun
        fields = (
            "id",
            "storage_element_id",
            "trigger",
            "kind",
            "status",
            "files_seen",
            "files_added",
            "files_updated",
            "files_unchanged",
            "files_marked_deleted",
            "files_rejected",
            "files_missing",
            "rejected_items",
            "changes_applied",
            "error",
            "started_at",
            "finished_at",
        )

    def to_representation(self, instance: SyncRun) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        shown["error"] = shown["error"] or None
        return shown
