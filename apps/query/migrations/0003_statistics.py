"""Finer statistics of names, so that the planner knows how many contain what is asked for.

A hundredth of all names is too coarse: a word in three of a hundred may look like one in none.
"""

from django.db import migrations

INDEX = "query_name_part"
ENTRIES = 500


class Migration(migrations.Migration):
    dependencies = [("query", "0002_element_and_overdue")]

    operations = [
        migrations.RunSQL(
            [
                f'ALTER INDEX "{INDEX}" ALTER COLUMN 1 SET STATISTICS {ENTRIES}',
                'ANALYZE "registry_filerecord"',
            ],
            f'ALTER INDEX "{INDEX}" ALTER COLUMN 1 SET STATISTICS -1',
        ),
    ]
