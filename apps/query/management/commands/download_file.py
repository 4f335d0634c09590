"""`manage.py download_file`: get a file out; a broken download goes on where it stopped."""

import hashlib
import uuid
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from apps.admin.principals import Principal
from apps.query import download
from apps.query.download import Ask
from apps.registry.credentials import SYSTEM_SUBJECT
from apps.registry.models import FileRecord
from artstore.commands import OperatorCommand


class Command(OperatorCommand):
    """Download into `<target>.part`, check the sha256, then rename."""

    help = "Download a file; run again to resume; the checksum is verified."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file_id", type=uuid.UUID)
        parser.add_argument("--output", type=Path, help="default: the file's own name, here")

    def handle(self, *_args: Any, **options: Any) -> None:
        now = timezone.now()
        record = download.find_present(options["file_id"], now)
        target: Path = options["output"] or Path(Path(record.original_filename).name)
        if target.exists():
            raise CommandError(f"{target} is there already; choose another --output.")
        part = target.with_name(target.name + ".part")
        have_bytes = part.stat().st_size if part.exists() else 0
        if have_bytes < record.size or not part.exists():
            self._fetch(record, part, have_bytes)
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != record.checksum:
            part.unlink()
            raise CommandError(f"The bytes had sha256 {found}, not {record.checksum}. Run again.")
        part.rename(target)
        self.stdout.write(str(target))

    def _fetch(self, record: FileRecord, part: Path, have_bytes: int) -> None:
        system = Principal("service_account", SYSTEM_SUBJECT, uuid.UUID(int=0))
        resume = {"Range": f"bytes={have_bytes}-", "If-Range": f'"{record.checksum}"'}
        ask = Ask(headers=resume if have_bytes else {})
        answer = download.open_file(record.file_id, ask, system, timezone.now())
        # Without 206 the whole file comes: what was there is of another version.
        with part.open("ab" if answer.status == 206 else "wb") as file:
            for block in answer.blocks:
                file.write(block)
