"""`manage.py sync_elements`: make records match files, here and now."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from apps.registry import elements, rebuilding
from apps.registry.models import StorageElement, SyncTrigger
from apps.registry.sync import Request
from artstore.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Sync some storage elements, or all, and print what was done."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("elements", nargs="*", help="storage_id or id; none: all")
        parser.add_argument("--full", action="store_true", help="read everything, not only changes")
        parser.add_argument(
            "--allow-mass-delete",
            action="store_true",
            help="records of many missing files may become deleted",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        named = [elements.find(text) for text in options["elements"]]
        request = Request(
            SyncTrigger.MANUAL,
            full=options["full"] or options["allow_mass_delete"],
            allow_mass_delete=options["allow_mass_delete"],
            requested_by="shell",
        )
        outcomes = rebuilding.sync_all(named or list(StorageElement.objects.all()), request)
        for outcome in outcomes:
            self.stdout.write(outcome.sentence)
        if not all(outcome.succeeded for outcome in outcomes):
            raise CommandError("Not every element was synced.")
