"""`manage.py rebuild_registry`: the file records again, from what the storage elements hold."""

from typing import Any

from django.core.management.base import CommandError

from apps.registry import rebuilding
from artstore.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Read every storage element in full and bring back the record of every file on them."

    def handle(self, *_args: Any, **_options: Any) -> None:
        report = rebuilding.rebuild()
        for outcome in report.outcomes:
            self.stdout.write(outcome.sentence)
        self.stdout.write(
            f"{report.files} files in {report.seconds:.1f} s: {report.files_per_second:.0f} files/s"
        )
        if not report.succeeded:
            raise CommandError("Not every element could be read. Run it again when they are back.")
