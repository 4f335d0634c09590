"""`manage.py prune_audit_events`: forget what is older than the law or the operator wants."""

import datetime as dt
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.utils import timezone

from apps.admin import audit
from artstore.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Delete old audit events; the deletion is itself an event."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--older-than-days",
            type=int,
            default=settings.ARTSTORE_AUDIT_KEEP_DAYS,
            help="default: ARTSTORE_AUDIT_KEEP_DAYS",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        days, now = options["older_than_days"], timezone.now()
        if days < 1:
            raise CommandError("--older-than-days must be at least 1.")
        deleted = audit.prune(now - dt.timedelta(days=days), None, now)
        self.stdout.write(f"Deleted {deleted} events older than {days} days.")
