"""`manage.py reset_password`: a new password for somebody who lost theirs."""

import secrets
from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from apps.admin import users
from apps.admin.management.commands.create_user import GENERATED_BYTES
from artstore.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Set a user's password and end the user's sessions. Generated and shown once, or read."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--password-stdin", action="store_true", help="read the password")

    def handle(self, *_args: Any, **options: Any) -> None:
        given = self.secret_from_input("New password: ") if options["password_stdin"] else None
        password = given if given is not None else secrets.token_urlsafe(GENERATED_BYTES)
        user = users.named(options["username"])
        users.reset_password(user.id, password, None, timezone.now())
        self.stdout.write(f"{user.username} has a new password; all sessions ended.")
        if given is None:
            self.stdout.write(f"Password, shown this once: {password}")
