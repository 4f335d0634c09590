"""Indexes of names read the stored key of a name; it was made anew for each of them, and for each row looked at.

The order of names is that of their keys, so one index has both that order and whole names: the hash
of whole names goes. With the moment of expiry in it, names are looked through without the table.
"""

from django.db import migrations

TABLE = "registry_filerecord"
NAME_WORDS = (
    "to_tsvector('pg_catalog.simple'::regconfig, regexp_replace({}, '[^[:alnum:]]+', ' ', 'g'))"
)
OLD_KEY = 'LOWER(NORMALIZE("original_filename"))'

# Name, and what it was and is on; None where there was or is none.
INDEXES = (
    (
        "query_by_name",
        "btree (status, original_filename, file_id)",
        "btree (status, name_key, file_id) INCLUDE (expires_at)",
    ),
    ("query_name_exact", f"hash (({OLD_KEY}))", None),
    ("query_name_part", f"gin (({OLD_KEY}) gin_trgm_ops)", "gin (name_key gin_trgm_ops)"),
    (
        "query_name_word",
        f"gin ({NAME_WORDS.format(OLD_KEY)})",
        f"gin ({NAME_WORDS.format('name_key')})",
    ),
    (
        "query_by_extension",
        rf"btree ((SUBSTRING({OLD_KEY} FROM '\.([^.]{{1,32}})$')), uploaded_at, file_id)",
        "btree ((NULLIF(SPLIT_PART(name_key, '.', -1), name_key)), uploaded_at, file_id)",
    ),
)
# As in 0003: the planner has to tell common words from rare ones.
ENTRIES = 500


def _statements(name: str, wanted: str | None) -> list[str]:
    """Drop the index, also one that a broken build left invalid, and build the other."""
    made = [f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"']
    if wanted:
        made.append(f'CREATE INDEX CONCURRENTLY "{name}" ON "{TABLE}" USING {wanted}')
    return made


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("query", "0003_statistics"), ("registry", "0003_name_key")]

    operations = [
        migrations.RunSQL(
            f'ALTER TABLE "{TABLE}" ALTER COLUMN name_key SET STATISTICS {ENTRIES}',
            # Going back, the indexes are there again by now.
            [
                f'ALTER INDEX "query_name_part" ALTER COLUMN 1 SET STATISTICS {ENTRIES}',
                f'ANALYZE "{TABLE}"',
            ],
        ),
        *(
            migrations.RunSQL(_statements(name, new), _statements(name, old))
            for name, old, new in INDEXES
        ),
        migrations.RunSQL(f'ANALYZE "{TABLE}"', migrations.RunSQL.noop),
    ]
