"""The name of a file as it is compared, ordered and looked through: composed and lower case, and stored.

Adding a stored column writes the whole table again under a lock: about two minutes for a million records.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("registry", "0002_parts_in_descriptions")]

    operations = [
        migrations.AddField(
            model_name="filerecord",
            name="name_key",
            field=models.GeneratedField(
                db_persist=True,
                expression=models.Func(
                    models.F("original_filename"),
                    template=(
                        "LOWER(CASE WHEN OCTET_LENGTH(%(expressions)s) = LENGTH(%(expressions)s)"
                        " THEN %(expressions)s ELSE NORMALIZE(%(expressions)s, NFC) END)"
                    ),
                ),
                output_field=models.TextField(),
            ),
        ),
    ]
