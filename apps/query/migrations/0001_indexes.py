"""The indexes of search, on the registry's table. What each is for is in docs/indexes.md.

A migration of this app may alter the other app's table but not its state: the models stay the
registry's. `CONCURRENTLY`, because a registry in use may be given a Query module later.
"""

from django.contrib.postgres.operations import TrigramExtension
from django.db import migrations

TABLE = "registry_filerecord"

# Name, method and columns. The expressions are those of `conditions.NAME_KEY`, `.NAME_WORDS` and `.EXTENSION`.
NAME_KEY = '(LOWER(NORMALIZE("original_filename")))'
EXTENSION = "(SUBSTRING(LOWER(NORMALIZE(\"original_filename\")) FROM '\\.([^.]{1,32})$'))"
NAME_WORDS = (
    "to_tsvector('pg_catalog.simple'::regconfig, "
    "regexp_replace(LOWER(NORMALIZE(\"original_filename\")), '[^[:alnum:]]+', ' ', 'g'))"
)
INDEXES = (
    ("query_by_time", "btree", "status, uploaded_at, file_id"),
    ("query_by_name", "btree", "status, original_filename, file_id"),
    ("query_by_size", "btree", "status, size, file_id"),
    ("query_by_uploader", "btree", "uploaded_by, uploaded_at, file_id"),
    ("query_by_retention", "btree", "retention_policy, uploaded_at, file_id"),
    ("query_by_type", "btree", "content_type, uploaded_at, file_id"),
    ("query_by_extension", "btree", f"{EXTENSION}, uploaded_at, file_id"),
    ("query_by_checksum", "hash", "checksum"),
    ("query_name_exact", "hash", NAME_KEY),
    ("query_name_part", "gin", f"{NAME_KEY} gin_trgm_ops"),
    ("query_name_word", "gin", NAME_WORDS),
    ("query_tags", "gin", "tags"),
    ("query_metadata", "gin", "metadata jsonb_path_ops"),
    ("query_text", "gin", "search_vector"),
)


class Migration(migrations.Migration):
    initial = True
    atomic = False

    dependencies = [("registry", "0001_registry")]

    operations = [
        TrigramExtension(),
        *(
            migrations.RunSQL(
                [
                    # A build that was broken off leaves an invalid index of the name.
                    f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"',
                    f'CREATE INDEX CONCURRENTLY "{name}" ON "{TABLE}" USING {method} ({columns})',
                ],
                f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"',
            )
            for name, method, columns in INDEXES
        ),
        # Expressions have statistics only after this.
        migrations.RunSQL(f'ANALYZE "{TABLE}"', migrations.RunSQL.noop),
    ]
