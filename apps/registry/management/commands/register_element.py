"""`manage.py register_element`: add a storage element by its URL and bring in its files."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.utils import timezone

from apps.registry import elements, sync, tasks
from apps.registry.elements import Registration
from artstore.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Register a storage element and start the full sync of its files."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("url")
        parser.add_argument(
            "--ca-file", type=Path, help="certificates to trust instead of public CAs"
        )
        parser.add_argument(
            "--if-missing", action="store_true", help="say nothing when it is registered already"
        )
        parser.add_argument("--wait", action="store_true", help="run the sync here, now")

    def handle(self, *_args: Any, **options: Any) -> None:
        ca_pem = options["ca_file"].read_text(encoding="utf-8") if options["ca_file"] else ""
        found = elements.discover(options["url"], ca_pem)
        if found.registered and options["if_missing"]:
            self.stdout.write(f"{found.storage_id} is registered already.")
            return
        registration = Registration(options["name"], options["url"], ca_pem)
        done = elements.register(registration, None, timezone.now())
        self.stdout.write(f"Registered {found.storage_id} ({done.element.pk}).")
        if options["wait"]:
            sync.run(done.run.pk)
        else:
            tasks.enqueue_sync(done.run.pk)
