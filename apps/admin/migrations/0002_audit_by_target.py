"""The history of one thing is read by its target, newest first."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("artstore_admin", "0001_identity")]

    operations = [
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["target", "-sequence"], name="audit_by_target"),
        ),
    ]
