"""`manage.py migrate`, Django's own, behind what a first load left to be built."""

from typing import Any

from django.core.management.commands import migrate
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from apps.registry import indexes


class Command(migrate.Command):
    """As Django's; first it builds the indexes that wait, where it has anything to do."""

    def handle(self, *args: Any, **options: Any) -> None:
        if _has_work(options):
            indexes.build_waiting()
        super().handle(*args, **options)


def _has_work(options: dict[str, Any]) -> bool:
    if options["plan"] or options["check_unapplied"]:
        return False
    executor = MigrationExecutor(connection)
    return bool(options["app_label"] or executor.migration_plan(executor.loader.graph.leaf_nodes()))
