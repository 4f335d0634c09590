"""The registry's tables, and the immutable function behind the generated search vector.

The function is here and not in the query app because the column that calls it is.
"""

import django.contrib.postgres.fields
import django.contrib.postgres.search
import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.db import migrations, models


# The body names nothing outside pg_catalog, so that the column can be restored under any search_path.
# The `russian` configuration stems Latin words as English and Cyrillic ones as Russian: one serves
# both. Indexed of a text is its NFC form with \u0451 written as \u0435 (`search_text.as_indexed` does the same to
# queries): as it stands, since PostgreSQL's parser reads `annual_report-2026.pdf` as one word; split at
# separators; names also where case, or letters and digits, change (`AnnualReport2026`).
# PL/pgSQL with branches takes 25 us a row where one SQL expression takes 110.
CREATE_SEARCH_VECTOR = r"""
CREATE FUNCTION artstore_search_vector(
    name text, tags text[], description text, metadata jsonb)
RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $body$
DECLARE
    config CONSTANT regconfig := 'pg_catalog.russian'::regconfig;
    separators CONSTANT text := '[]\s!-/:-@^_`{-~[\\]+';
    humps CONSTANT text := '([a-zа-я])(?=[A-ZА-Я0-9])'
        '|([A-ZА-Я])(?=[A-ZА-Я][a-zа-я]|[0-9])|([0-9])(?=[A-Za-zА-Яа-я])';
    whole text := coalesce(name, '');
    split text;
    vector tsvector;
BEGIN
    IF octet_length(whole) <> length(whole) THEN
        whole := translate(normalize(whole, NFC), 'ёЁ', 'еЕ');
    END IF;
    split := regexp_replace(whole, separators, ' ', 'g');
    vector := setweight(to_tsvector(config, concat_ws(E'\n',
        whole,
        nullif(split, whole),
        nullif(regexp_replace(split, humps, '\1\2\3 ', 'g'), split))), 'A');
    IF cardinality(tags) > 0 THEN
        whole := array_to_string(tags, E'\n');
        IF octet_length(whole) <> length(whole) THEN
            whole := translate(normalize(whole, NFC), 'ёЁ', 'еЕ');
        END IF;
        IF whole ~ '[]!-/:-@^_`{-~[\\]' THEN
            whole := whole || E'\n' || regexp_replace(whole, separators, ' ', 'g');
        END IF;
        vector := vector || setweight(to_tsvector(config, whole), 'B');
    END IF;
    IF description <> '' THEN
        whole := description;
        IF octet_length(whole) <> length(whole) THEN
            whole := translate(normalize(whole, NFC), 'ёЁ', 'еЕ');
        END IF;
        vector := vector || setweight(to_tsvector(config, whole), 'C');
    END IF;
    IF metadata <> '{}' THEN
        whole := metadata::text;
        IF octet_length(whole) <> length(whole) THEN
            metadata := translate(normalize(whole, NFC), 'ёЁ', 'еЕ')::jsonb;
        END IF;
        vector := vector
            || jsonb_to_tsvector(config, metadata, '["string", "numeric", "boolean"]');
    END IF;
    RETURN vector;
END
$body$;
"""

# Seen ids are worth nothing after a crash (their run is abandoned), so they are not logged.
UNLOGGED_SEEN = "ALTER TABLE registry_seenfile SET UNLOGGED"


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="StorageElement",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100)),
                ("url", models.URLField(max_length=500, unique=True)),
                ("storage_id", models.CharField(max_length=63, unique=True)),
                ("instance_id", models.CharField(max_length=64)),
                ("offered_instance_id", models.CharField(blank=True, default="", max_length=64)),
                ("ca_pem", models.TextField(blank=True, default="")),
                ("epoch", models.CharField(blank=True, default="", max_length=64)),
                ("cursor", models.BigIntegerField(default=0)),
                (
                    "mode",
                    models.CharField(
                        choices=[("edit", "Edit"), ("rw", "Rw"), ("ro", "Ro"), ("ar", "Ar")],
                        max_length=4,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("online", "Online"),
                            ("degraded", "Degraded"),
                            ("offline", "Offline"),
                            ("maintenance", "Maintenance"),
                        ],
                        max_length=11,
                    ),
                ),
                ("status_reason", models.CharField(blank=True, default="", max_length=500)),
                ("capacity_bytes", models.BigIntegerField(default=0)),
                ("used_bytes", models.BigIntegerField(default=0)),
                ("available_bytes", models.BigIntegerField(default=0)),
                ("file_count", models.BigIntegerField(default=0)),
                ("version", models.CharField(blank=True, default="", max_length=64)),
                ("last_probe_at", models.DateTimeField(null=True)),
                ("last_sync_at", models.DateTimeField(null=True)),
                ("last_file_sync_at", models.DateTimeField(null=True)),
                ("last_full_sync_at", models.DateTimeField(null=True)),
                ("full_sync_reason", models.CharField(blank=True, default="", max_length=200)),
                ("known_gap", models.JSONField(default=list)),
                ("totals_disagreed", models.PositiveSmallIntegerField(default=0)),
                ("lazy_window_started_at", models.DateTimeField(null=True)),
                ("lazy_cleanups", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "ordering": ("name", "id"),
            },
        ),
        migrations.CreateModel(
            name="WorkerHeartbeat",
            fields=[
                ("name", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("started_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="SyncRun",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "trigger",
                    models.CharField(
                        choices=[
                            ("periodic", "Periodic"),
                            ("manual", "Manual"),
                            ("registration", "Registration"),
                            ("recovery", "Recovery"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("full", "Full"), ("changes", "Changes")], max_length=7
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("running", "Running"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("needs_confirmation", "Needs Confirmation"),
                            ("abandoned", "Abandoned"),
                        ],
                        default="running",
                        max_length=18,
                    ),
                ),
                ("requested_by", models.CharField(blank=True, default="", max_length=150)),
                ("allow_mass_delete", models.BooleanField(default=False)),
                ("lease_id", models.UUIDField(null=True)),
                ("lease_expires_at", models.DateTimeField(null=True)),
                ("instance_id", models.CharField(blank=True, default="", max_length=64)),
                ("epoch", models.CharField(blank=True, default="", max_length=64)),
                ("new_epoch", models.BooleanField(default=False)),
                ("cursor", models.BigIntegerField(default=0)),
                ("changes_applied", models.BigIntegerField(default=0)),
                ("files_seen", models.BigIntegerField(default=0)),
                ("files_added", models.BigIntegerField(default=0)),
                ("files_updated", models.BigIntegerField(default=0)),
                ("files_unchanged", models.BigIntegerField(default=0)),
                ("files_marked_deleted", models.BigIntegerField(default=0)),
                ("files_rejected", models.BigIntegerField(default=0)),
                ("files_missing", models.BigIntegerField(default=0)),
                ("rejected_items", models.JSONField(default=list)),
                ("error", models.CharField(blank=True, default="", max_length=500)),
                (
                    "started_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "storage_element",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="sync_runs",
                        to="registry.storageelement",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="SeenFile",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "run",
                        "file_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("file_id", models.UUIDField()),
                ("tombstone", models.BooleanField(default=False)),
                (
                    "run",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="registry.syncrun",
                    ),
                ),
            ],
        ),
        migrations.RunSQL(UNLOGGED_SEEN, migrations.RunSQL.noop),
        migrations.RunSQL(
            CREATE_SEARCH_VECTOR,
            "DROP FUNCTION artstore_search_vector(text, text[], text, jsonb)",
        ),
        migrations.CreateModel(
            name="FileRecord",
            fields=[
                ("file_id", models.UUIDField(primary_key=True, serialize=False)),
                ("original_filename", models.CharField(max_length=255)),
                ("content_type", models.CharField(max_length=255)),
                ("size", models.BigIntegerField()),
                ("checksum", models.CharField(blank=True, max_length=64)),
                ("uploaded_by", models.CharField(max_length=150)),
                ("uploaded_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("description", models.CharField(blank=True, max_length=1000, null=True)),
                (
                    "tags",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=64),
                        blank=True,
                        default=list,
                        size=None,
                    ),
                ),
                ("metadata", models.JSONField(blank=True, default=dict)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("uploading", "Uploading"),
                            ("active", "Active"),
                            ("expired", "Expired"),
                            ("deleted", "Deleted"),
                        ],
                        max_length=9,
                    ),
                ),
                (
                    "retention_policy",
                    models.CharField(
                        choices=[("temporary", "Temporary"), ("permanent", "Permanent")],
                        max_length=9,
                    ),
                ),
                ("ttl_days", models.PositiveIntegerField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
                ("stored_revision", models.BigIntegerField(default=0)),
                (
                    "deletion_reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("user", "User"),
                            ("expired", "Expired"),
                            ("missing_on_element", "Missing On Element"),
                            ("element_removed", "Element Removed"),
                        ],
                        default="",
                        max_length=18,
                    ),
                ),
                ("activated_at", models.DateTimeField(null=True)),
                ("written_at", models.DateTimeField(null=True)),
                ("begun_at", models.DateTimeField(null=True)),
                ("lease_id", models.UUIDField(null=True)),
                ("lease_expires_at", models.DateTimeField(null=True)),
                ("body_sent", models.BooleanField(default=False)),
                (
                    "search_vector",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func(
                            models.F("original_filename"),
                            models.F("tags"),
                            models.F("description"),
                            models.F("metadata"),
                            function="artstore_search_vector",
                        ),
                        output_field=django.contrib.postgres.search.SearchVectorField(),
                    ),
                ),
                (
                    "storage_element",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="records",
                        to="registry.storageelement",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        fields=["storage_element", "file_id"],
                        include=("status", "size", "stored_revision"),
                        name="record_by_element",
                    ),
                    models.Index(
                        condition=models.Q(("begun_at__isnull", False)),
                        fields=["storage_element", "begun_at"],
                        name="record_begun_on_element",
                    ),
                    models.Index(
                        condition=models.Q(("status", "uploading")),
                        fields=["lease_expires_at"],
                        name="record_uploading_lease",
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="syncrun",
            index=models.Index(
                fields=["storage_element", "-started_at", "id"], name="run_by_element"
            ),
        ),
        migrations.AddIndex(
            model_name="syncrun",
            index=models.Index(fields=["-started_at", "id"], name="run_by_start"),
        ),
        migrations.AddConstraint(
            model_name="syncrun",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "running")),
                fields=("storage_element",),
                name="one_open_run_per_element",
            ),
        ),
    ]
