"""One index of an element's records, by time: their totals, their newest, and all of them.

It takes the place of one by file_id, and of `query_by_element`, which the query app's next migration drops.
"""

from django.db import migrations, models

OLD = models.Index(
    fields=("storage_element", "file_id"),
    include=("status", "size", "stored_revision"),
    name="record_by_element",
)
NEW = models.Index(
    fields=("storage_element", "uploaded_at", "file_id"),
    include=("status", "size", "stored_revision"),
    name="record_of_element",
)


def _build(index: models.Index, columns: str) -> list[str]:
    """Build it, also where a broken build left an invalid one of the name."""
    return [
        f'DROP INDEX CONCURRENTLY IF EXISTS "{index.name}"',
        f'CREATE INDEX CONCURRENTLY "{index.name}" ON "registry_filerecord" ({columns})'
        " INCLUDE (status, size, stored_revision)",
    ]


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("registry", "0004_texts_split_only")]

    operations = [
        migrations.RunSQL(
            _build(NEW, "storage_element_id, uploaded_at, file_id"),
            'DROP INDEX CONCURRENTLY IF EXISTS "record_of_element"',
            state_operations=[migrations.AddIndex("filerecord", NEW)],
        ),
        migrations.RunSQL(
            'DROP INDEX CONCURRENTLY IF EXISTS "record_by_element"',
            _build(OLD, "storage_element_id, file_id"),
            state_operations=[migrations.RemoveIndex("filerecord", "record_by_element")],
        ),
    ]
