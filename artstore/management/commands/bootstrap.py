"""`manage.py bootstrap`: from an empty database to one that people and programs can sign in to.

Safe to repeat and to race: every step finds out for itself whether it is needed.
"""

import datetime as dt
import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from apps.admin import keys, service_accounts, users
from apps.admin.models import ServiceAccount, User
from apps.admin.service_accounts import NewAccount
from apps.registry.models import StorageElement
from artstore.commands import OperatorCommand
from artstore.embedded import secret_files

SMOKE_ACCOUNT = "smoke"
SMOKE_SCOPES = ("files:read", "files:write")


class Command(OperatorCommand):
    help = "Migrate, make the first signing key and the first admin. Changes nothing when repeated."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--client-file",
            type=Path,
            help=f"keep credentials of a service account '{SMOKE_ACCOUNT}' in this 0600 file",
        )
        parser.add_argument(
            "--elements-file", type=Path, help="say in this file which storage elements are known"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        now = timezone.now()
        call_command("migrate", interactive=False, verbosity=options["verbosity"])
        if keys.ensure_signing_keys(now):
            self.stdout.write("Made the first signing key.")
        self._make_first_admin(now)
        if options["client_file"] is not None:
            _keep_client(options["client_file"], now)
        if options["elements_file"] is not None:
            known = StorageElement.objects.values("storage_id", "url", "ca_pem")
            options["elements_file"].write_text(json.dumps(list(known)), encoding="utf-8")

    def _make_first_admin(self, now: dt.datetime) -> None:
        username, given = settings.ARTSTORE_ADMIN_USERNAME, settings.ARTSTORE_ADMIN_PASSWORD
        is_empty = not User.objects.exists()
        generated = users.ensure_first_admin(username, given or None, now)
        if is_empty:
            # The supervisor looks for these words.
            self.stdout.write(f"Made the first admin: {username}")
        if generated is not None:
            self.stdout.write(f"Password, shown this once: {generated}")


def _keep_client(path: Path, now: dt.datetime) -> None:
    """Leave working credentials in `path`: those already there, or new ones."""
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if service_accounts.authenticate(kept["client_id"], kept["client_secret"], now):
            return
    account = ServiceAccount.objects.filter(name=SMOKE_ACCOUNT).first()
    if account is None:
        draft = NewAccount(SMOKE_ACCOUNT, SMOKE_SCOPES, description="Checks that uploads work")
        issued = service_accounts.create(draft, None, now)
    else:
        issued = service_accounts.rotate_secret(account.pk, 0, None, now)
    content = {"client_id": issued.account.client_id, "client_secret": issued.client_secret}
    secret_files.write(path, json.dumps(content) + "\n")
