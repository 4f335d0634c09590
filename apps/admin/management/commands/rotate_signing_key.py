"""`manage.py rotate_signing_key`: the announced key signs from now on."""

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from apps.admin import keys
from artstore.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Rotate the signing keys. Tokens of the old key stay good for their life, or die now."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--emergency", action="store_true", help="the old key leaked: drop it at once"
        )
        parser.add_argument(
            "--discard-announced",
            action="store_true",
            help="the whole database leaked: drop the keys announced for later, too",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        now = timezone.now()
        if options["discard_announced"]:
            dropped = keys.discard_announced(None, now)
            self.stdout.write(f"Dropped {dropped} announced keys.")
        rotation = keys.rotate(None, now, emergency=options["emergency"])
        self.stdout.write(f"{rotation.new_key_id} signs from now on.")
        if rotation.grace_period_ends_at is not None:
            ends = rotation.grace_period_ends_at.isoformat()
            self.stdout.write(f"{rotation.previous_key_id} verifies until {ends}.")
        if rotation.warning:
            self.stderr.write(rotation.warning)
