"""`manage.py list_elements`: every storage element and how it is."""

import json
from argparse import ArgumentParser
from typing import Any

from apps.registry.models import StorageElement
from artstore.commands import OperatorCommand

_COLUMNS = (
    "storage_id",
    "name",
    "mode",
    "status",
    "file_count",
    "used_bytes",
    "capacity_bytes",
    "url",
)


class Command(OperatorCommand):
    help = "List storage elements: mode, status, files, bytes, URL."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object per line")

    def handle(self, *_args: Any, **options: Any) -> None:
        rows = [
            {"id": str(element.pk), **{name: getattr(element, name) for name in _COLUMNS}}
            for element in StorageElement.objects.order_by("name", "id")
        ]
        for row in rows:
            text = json.dumps(row) if options["json"] else _line(row)
            self.stdout.write(text)


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['storage_id']:<24} {row['mode']:<5} {row['status']:<12} {row['file_count']:>10} files "
        f"{row['used_bytes']:>16} of {row['capacity_bytes']} bytes  {row['url']}  {row['name']}"
    )
