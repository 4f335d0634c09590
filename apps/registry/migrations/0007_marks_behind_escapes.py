"""Metadata may hold a combining mark behind a line break or another control character.

In JSON that is an escape, and its last letter was composed with the mark: a text that is no JSON any more, so that such a file could
not become a record. Escapes become spaces first, which is all a search vector sees in them. No stored row changes.
"""

from django.db import migrations

ONCE = "metadata := translate(normalize(whole, NFC), 'ёЁ', 'еЕ')::jsonb;"
NOW = r"""metadata := translate(
                CASE WHEN whole IS NFC NORMALIZED THEN whole ELSE normalize(
                    regexp_replace(whole, '(\\["\\])|\\(?:[bfnrt]|u[0-9a-f]{4})', '\1 ', 'g'), NFC)
                END, 'ёЁ', 'еЕ')::jsonb;"""

REPLACE = """
DO $do$
BEGIN
    EXECUTE replace(
        pg_get_functiondef('artstore_search_vector(text,text[],text,jsonb)'::regprocedure),
        $old${}$old$, $new${}$new$);
END
$do$
"""


class Migration(migrations.Migration):
    dependencies = [("registry", "0006_waiting_indexes")]

    operations = [migrations.RunSQL(REPLACE.format(ONCE, NOW), REPLACE.format(NOW, ONCE))]
