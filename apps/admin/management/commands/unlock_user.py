"""`manage.py unlock_user`: log in again before the lock runs out."""

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from apps.admin import users
from artstore.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Unlock a user who was locked after too many wrong passwords."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")

    def handle(self, *_args: Any, **options: Any) -> None:
        user = users.named(options["username"])
        users.unlock(user.id, None, timezone.now())
        self.stdout.write(f"{user.username} can log in again.")
