"""`manage.py compare_element`: what a full sync would change, without changing it."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from apps.registry import comparing, elements
from artstore.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Compare an element's files with the records; exit code 1 when they differ."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("element", help="storage_id or id")
        parser.add_argument("--limit", type=int, default=100, help="differences to print")

    def handle(self, *_args: Any, **options: Any) -> None:
        found = comparing.compare(elements.find(options["element"]))
        for one in found.differences[: options["limit"]]:
            fields = f" in {', '.join(one.fields)}" if one.fields else ""
            self.stdout.write(f"{one.file_id or '(no id)'}: {one.kind}{fields}")
        self.stdout.write(
            f"{found.files} files, {found.equal} equal, {len(found.differences)} differences"
        )
        if found.differences:
            raise CommandError("Element and registry differ.")
