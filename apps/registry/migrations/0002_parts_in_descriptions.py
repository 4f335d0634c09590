"""Descriptions are indexed split at separators too, as names and tags are.

So a part of a part number (`1234/5` of `AB-1234/5`) is found where it is only described. Rows that
are affected are written again; on a registry of 100 million that takes an hour, without a table lock.
"""

from django.db import migrations

# The sentence of the first migration that reads the description, and what stands there now.
ONCE = """
        vector := vector || setweight(to_tsvector(config, whole), 'C');"""
NOW = r"""
        -- A separator between two other characters: only then are there parts.
        IF whole ~ '[^]\s!-/:-@^_`{-~[\\][]!-/:-@^_`{-~[\\]+[^]\s!-/:-@^_`{-~[\\]' THEN
            whole := whole || E'\n' || regexp_replace(whole, separators, ' ', 'g');
        END IF;
        vector := vector || setweight(to_tsvector(config, whole), 'C');"""

REPLACE = """
DO $do$
BEGIN
    EXECUTE replace(
        pg_get_functiondef('artstore_search_vector(text,text[],text,jsonb)'::regprocedure),
        $old${}$old$, $new${}$new$);
END
$do$
"""
# The generated column is made again for a row whose description is written.
REWRITE = r"""
UPDATE registry_filerecord SET description = description
WHERE description ~ '[^]\s!-/:-@^_`{-~[\\][]!-/:-@^_`{-~[\\]+[^]\s!-/:-@^_`{-~[\\]'
"""


class Migration(migrations.Migration):
    dependencies = [("registry", "0001_registry")]

    operations = [
        migrations.RunSQL(REPLACE.format(ONCE, NOW), REPLACE.format(NOW, ONCE)),
        migrations.RunSQL(REWRITE, migrations.RunSQL.noop),
    ]
