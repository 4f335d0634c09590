"""`manage.py rotate_service_account_secret`: a new secret, the old one dying now or a little later."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from apps.admin import service_accounts
from apps.admin.management.commands.create_service_account import add_json_option, describe
from apps.admin.service_accounts import LONGEST_OVERLAP_SECONDS
from artstore.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Give a service account a new secret and show it, once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("account", help="its client id or name")
        parser.add_argument(
            "--overlap-seconds", type=int, default=0, help="how much longer the old secret works"
        )
        add_json_option(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        overlap_seconds = options["overlap_seconds"]
        if not 0 <= overlap_seconds <= LONGEST_OVERLAP_SECONDS:
            raise CommandError(f"--overlap-seconds goes from 0 to {LONGEST_OVERLAP_SECONDS}.")
        account = service_accounts.named(options["account"])
        now = timezone.now()
        issued = service_accounts.rotate_secret(account.id, overlap_seconds, None, now)
        self.stdout.write(describe(issued, as_json=options["json"]))
