"""`manage.py set_element_mode`: ask a storage element for another mode."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import CommandError
from django.utils import timezone

from apps.registry import elements
from apps.registry.errors import NodeConfirmationRequired
from apps.registry.models import Mode
from artstore.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Change the mode of a storage element."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("element", help="storage_id or id")
        parser.add_argument("mode", choices=Mode.values)
        parser.add_argument("--confirm", action="store_true", help="needed from ro to rw")

    def handle(self, *_args: Any, **options: Any) -> None:
        element = elements.find(options["element"])
        move = (options["mode"], options["confirm"])
        try:
            change = elements.change_mode(element.pk, move, None, timezone.now())
        except NodeConfirmationRequired as refused:
            # The element speaks of its own wire; who types a command needs the option's name.
            raise CommandError(
                f"{element.storage_id} stays in mode {element.mode}: the step to {options['mode']} "
                "is not easily undone. Give --confirm to take it."
            ) from refused
        self.stdout.write(
            f"{element.storage_id}: {change.previous_mode} -> {change.current_mode}"
            f" at {change.transitioned_at}"
        )
