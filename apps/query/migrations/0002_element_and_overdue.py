"""Indexes for the files of one element by time, and for files past their time.

What each is for is in docs/indexes.md.
"""

from django.db import migrations

TABLE = "registry_filerecord"
INDEXES = (
    ("query_by_element", "(storage_element_id, uploaded_at, file_id)"),
    ("query_overdue", "(expires_at) WHERE status = 'active' AND expires_at IS NOT NULL"),
)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("query", "0001_indexes"), ("registry", "0001_registry")]

    operations = [
        migrations.RunSQL(
            [
                # A build that was broken off leaves an invalid index of the name.
                f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"',
                f'CREATE INDEX CONCURRENTLY "{name}" ON "{TABLE}" {columns}',
            ],
            f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"',
        )
        for name, columns in INDEXES
    ]
