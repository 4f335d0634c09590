"""`manage.py create_user`: a person who can log in."""

import secrets
from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from apps.admin import users
from apps.admin.models import Role
from apps.admin.users import NewUser
from artstore.commands import OperatorCommand, email_address

GENERATED_BYTES = 18


class Command(OperatorCommand):
    help = "Create a user. The password is generated and shown once, or read from standard input."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--role", choices=Role.values, default=Role.READONLY.value)
        parser.add_argument("--email", type=email_address)
        parser.add_argument("--password-stdin", action="store_true", help="read the password")

    def handle(self, *_args: Any, **options: Any) -> None:
        given = self.secret_from_input("Password: ") if options["password_stdin"] else None
        password = given if given is not None else secrets.token_urlsafe(GENERATED_BYTES)
        draft = NewUser(options["username"], password, options["role"], options["email"])
        user = users.create(draft, None, timezone.now())
        self.stdout.write(f"Created {user.username} ({user.role}).")
        if given is None:
            self.stdout.write(f"Password, shown this once: {password}")
