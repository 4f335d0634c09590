"""`manage.py delete_service_account`."""

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from apps.admin import service_accounts
from artstore.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Remove a service account; its tokens stop at once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("account", help="its client id or name")

    def handle(self, *_args: Any, **options: Any) -> None:
        account = service_accounts.named(options["account"])
        service_accounts.remove(account.id, None, timezone.now())
        self.stdout.write(f"Removed {account.client_id}.")
