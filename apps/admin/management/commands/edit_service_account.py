"""`manage.py edit_service_account`: scopes, description, suspension."""

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from apps.admin import service_accounts
from apps.admin.models import SCOPES, AccountStatus
from artstore.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Change a service account's scopes or description, suspend or resume it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("account", help="its client id or name")
        parser.add_argument("--scope", dest="scopes", action="append", choices=SCOPES)
        parser.add_argument("--description")
        status = parser.add_mutually_exclusive_group()
        for name, value in (
            ("--suspend", AccountStatus.SUSPENDED.value),
            ("--resume", AccountStatus.ACTIVE.value),
        ):
            status.add_argument(name, dest="status", action="store_const", const=value)

    def handle(self, *_args: Any, **options: Any) -> None:
        changes = {
            name: options[name]
            for name in ("scopes", "description", "status")
            if options[name] is not None
        }
        found = service_accounts.named(options["account"])
        account = service_accounts.edit(found.id, changes, None, timezone.now())
        self.stdout.write(f"{account.client_id}: {account.status}, {' '.join(account.scopes)}")
