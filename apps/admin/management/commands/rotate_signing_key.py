"""`manage.py rotate_signing_key`: the announced key signs from now on."""

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from apps.admin import keys
from artstore.commands import OperatorCommand
from artstore.moments import rfc3339


class Command(OperatorCommand):
    help = "Rotate the signing keys. Tokens of the old key stay good for their life, or die now."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--emergency",
            action="store_true",
            help="a key leaked: drop every key there was at once and sign with one made now",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        now = timezone.now()
        rotation = keys.rotate(None, now, emergency=options["emergency"])
        self.stdout.write(f"{rotation.new_key_id} signs from now on.")
        if rotation.grace_period_ends_at is not None:
            ends = rfc3339(rotation.grace_period_ends_at)
            self.stdout.write(f"{rotation.previous_key_id} verifies until {ends}.")
        if rotation.warning:
            self.stderr.write(rotation.warning)
