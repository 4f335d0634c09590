"""`manage.py delete_user`."""

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from apps.admin import users
from artstore.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Remove a user. Files keep the name as their uploader."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")

    def handle(self, *_args: Any, **options: Any) -> None:
        users.remove(users.named(options["username"]).id, None, timezone.now())
        self.stdout.write(f"Removed {options['username']}.")
