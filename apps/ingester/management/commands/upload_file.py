"""`manage.py upload_file`: store a file from this machine, with progress."""

import functools
import time
import uuid
from argparse import ArgumentParser
from pathlib import Path
from typing import IO, Any

from django.core.management.base import CommandError
from django.utils import timezone

from apps.admin.principals import Principal
from apps.ingester import incoming, upload
from apps.ingester.body import PIECE_BYTES, ClientBody
from apps.ingester.incoming import UploadHead
from apps.ingester.upload import Uploader
from apps.registry.credentials import SYSTEM_SUBJECT
from artstore.commands import OperatorCommand

_FIELDS = ("filename", "description", "metadata", "retention_policy", "ttl_days", "checksum")
_PROGRESS_SECONDS = 1.0


class Command(OperatorCommand):
    """Store a file. Prints its id; progress goes to standard error."""

    help = "Store a file from this machine on a storage element."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path)
        parser.add_argument("--tag", dest="tags", action="append", default=[])
        parser.add_argument("--content-type", default="")
        parser.add_argument("--idempotency-key")
        parser.add_argument("--quiet", action="store_true", help="no progress")
        for name in _FIELDS:
            parser.add_argument("--" + name.replace("_", "-"))

    def handle(self, *_args: Any, **options: Any) -> None:
        path: Path = options["path"]
        if not path.is_file():
            raise CommandError(f"{path} is not a file that can be read.")
        texts = {name: [options[name]] for name in _FIELDS if options[name] is not None}
        texts.setdefault("filename", [path.name])
        head = UploadHead(options["content_type"], parameters=texts | {"tags": options["tags"]})
        system = Principal("service_account", SYSTEM_SUBJECT, uuid.UUID(int=0))
        with path.open("rb") as file:
            size_bytes = path.stat().st_size
            read = functools.partial(file.read, PIECE_BYTES)
            body = ClientBody(
                read if options["quiet"] else self._shown(read, file, size_bytes), size_bytes
            )
            sent = incoming.open_request(head, body)
            stored = upload.store_upload(
                sent, Uploader(system, options["idempotency_key"]), timezone.now()
            )
        self.stdout.write(str(stored.record.file_id))

    def _shown(self, read: Any, file: IO[bytes], size_bytes: int) -> Any:
        """`read`, saying about once a second how far it has come."""
        begun = said = time.monotonic()

        def reading() -> bytes:
            nonlocal said
            piece: bytes = read()
            now = time.monotonic()
            if now - said >= _PROGRESS_SECONDS or (piece and file.tell() == size_bytes):
                said = now
                percent = 100 * file.tell() // max(size_bytes, 1)
                speed = file.tell() / 1e6 / max(now - begun, 0.001)
                self.stderr.write(f"{percent:3d} %  {speed:.1f} MB/s")
            return piece

        return reading
