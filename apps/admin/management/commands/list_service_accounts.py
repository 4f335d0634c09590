"""`manage.py list_service_accounts`."""

from typing import Any

from apps.admin.models import ServiceAccount
from artstore.commands import OperatorCommand
from artstore.moments import rfc3339


class Command(OperatorCommand):
    help = "List service accounts: client id, name, status, scopes, when the secret ends, last use."

    def handle(self, *_args: Any, **_options: Any) -> None:
        for account in ServiceAccount.objects.order_by("name"):
            ends, used = account.secret_expires_at, account.last_used_at
            columns = (
                account.client_id,
                account.name,
                account.status,
                " ".join(account.scopes),
                rfc3339(ends) if ends else "never ends",
                rfc3339(used) if used else "never used",
            )
            self.stdout.write("\t".join(columns))
