"""`manage.py edit_user`: role, e-mail, and whether the user may log in."""

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from apps.admin import users
from apps.admin.models import Role
from artstore.commands import OperatorCommand, email_address


class Command(OperatorCommand):
    help = "Change a user's role or e-mail; --deactivate ends the user's sessions."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--role", choices=Role.values)
        parser.add_argument("--email", type=email_address)
        active = parser.add_mutually_exclusive_group()
        active.add_argument("--activate", dest="is_active", action="store_const", const=True)
        active.add_argument("--deactivate", dest="is_active", action="store_const", const=False)

    def handle(self, *_args: Any, **options: Any) -> None:
        changes = {name: options[name] for name in users.EDITABLE if options[name] is not None}
        user = users.edit(users.named(options["username"]).id, changes, None, timezone.now())
        state = "active" if user.is_active else "not active"
        self.stdout.write(f"{user.username}: {user.role}, {state}.")
