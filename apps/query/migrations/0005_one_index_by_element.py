"""The registry's `record_of_element` has the files of one element by time."""

from django.db import migrations

NAME = "query_by_element"


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("query", "0004_name_key"), ("registry", "0005_one_index_by_element")]

    operations = [
        migrations.RunSQL(
            f'DROP INDEX CONCURRENTLY IF EXISTS "{NAME}"',
            [
                f'DROP INDEX CONCURRENTLY IF EXISTS "{NAME}"',
                f'CREATE INDEX CONCURRENTLY "{NAME}" ON "registry_filerecord"'
                " (storage_element_id, uploaded_at, file_id)",
            ],
        ),
    ]
