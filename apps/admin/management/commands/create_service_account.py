"""`manage.py create_service_account`: a program that can get tokens."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management import CommandError
from django.utils import timezone

from apps.admin import service_accounts
from apps.admin.models import SCOPES
from apps.admin.serializers import LONGEST_EXPIRATION_DAYS
from apps.admin.service_accounts import DEFAULT_EXPIRATION_DAYS, IssuedSecret, NewAccount
from artstore.commands import OperatorCommand
from artstore.moments import rfc3339


class Command(OperatorCommand):
    help = "Create a service account and show its client id and secret, once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument(
            "--scope", dest="scopes", action="append", required=True, choices=SCOPES
        )
        parser.add_argument("--description")
        parser.add_argument(
            "--secret-days",
            type=int,
            default=DEFAULT_EXPIRATION_DAYS,
            help="days the secret lives; 0: for ever",
        )
        parser.add_argument(
            "--element-tokens",
            action="store_true",
            help="may ask for tokens of storage elements themselves",
        )
        add_json_option(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        if not 0 <= options["secret_days"] <= LONGEST_EXPIRATION_DAYS:
            raise CommandError(f"--secret-days goes from 0 to {LONGEST_EXPIRATION_DAYS}.")
        draft = NewAccount(
            name=options["name"],
            scopes=options["scopes"],
            description=options["description"],
            secret_expiration_days=options["secret_days"],
            element_tokens=options["element_tokens"],
        )
        issued = service_accounts.create(draft, None, timezone.now())
        self.stdout.write(describe(issued, as_json=options["json"]))


def add_json_option(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object, for scripts")


def describe(issued: IssuedSecret, *, as_json: bool) -> str:
    """The secret in the only place it ever appears."""
    shown = {"client_id": issued.account.client_id, "client_secret": issued.client_secret}
    if as_json:
        return json.dumps(shown)
    ends = issued.account.secret_expires_at
    until = f"until {rfc3339(ends)}" if ends else "for ever"
    return "\n".join(
        [
            f"client_id:     {shown['client_id']}",
            f"client_secret: {shown['client_secret']}",
            f"The secret is good {until} and is shown this once.",
        ]
    )
