"""Which indexes of the records a first load left out, until they are built (`apps.registry.indexes`).

Going back builds them first, as before any migration.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("registry", "0005_one_index_by_element")]

    operations = [
        migrations.CreateModel(
            name="WaitingIndex",
            fields=[
                ("name", models.CharField(max_length=63, primary_key=True, serialize=False)),
                ("definition", models.TextField()),
            ],
        ),
    ]
