"""`manage.py register_nodes`: for `make run`, the registry learns the embedded nodes as they are now."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.utils import timezone

from apps.registry import elements, tasks
from apps.registry.elements import ElementEdit, Registration
from apps.registry.models import StorageElement
from artstore.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Register nodes, or correct the address and CA of those that are registered."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--ca-file", type=Path, required=True, help="CA of all these nodes")
        parser.add_argument(
            "--node",
            nargs=3,
            action="append",
            required=True,
            metavar=("STORAGE_ID", "NAME", "URL"),
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        now, ca_pem = timezone.now(), options["ca_file"].read_text(encoding="utf-8").strip()
        for storage_id, name, url in options["node"]:
            known = StorageElement.objects.filter(storage_id=storage_id).first()
            if known is None and elements.was_removed(storage_id):
                # A start of the system must not undo what an operator did.
                self.stdout.write(
                    f"{storage_id} was removed by an operator; `register_element` brings it back."
                )
            elif known is None:
                done = elements.register(Registration(name, url, ca_pem), None, now)
                tasks.enqueue_sync(done.run.pk)
                self.stdout.write(f"Registered {storage_id} at {url}.")
            elif (known.url, known.ca_pem) != (url, ca_pem):
                elements.edit(known.pk, ElementEdit(url=url, ca_pem=ca_pem), None, now)
                self.stdout.write(f"{storage_id} is now at {url}.")
