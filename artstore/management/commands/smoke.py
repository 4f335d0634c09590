"""`manage.py smoke`: the main job against any deployment. The job itself is `artstore.smoke`."""

import datetime as dt
import getpass
import json
import re
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from artstore.smoke.client import Client, SmokeFailed
from artstore.smoke.job import Credentials, Job, Step
from artstore.smoke.sources import GeneratedFile, GivenFile, Source

UNITS = {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class Command(BaseCommand):
    help = "Upload a file, find it, download it and compare: the main job, against any deployment."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", required=True, help="base address, for example https://host")
        parser.add_argument("--file", type=Path, help="send this file")
        parser.add_argument("--size", default="256KiB", help="size of a generated file: 1GiB, 0")
        parser.add_argument("--ca-file", type=Path, help="CA that signed the deployment's TLS")
        parser.add_argument(
            "--client-file",
            type=Path,
            help="JSON file with client_id and client_secret; else ARTSTORE_CLIENT_ID and "
            "ARTSTORE_CLIENT_SECRET (or *_FILE), else you are asked",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        now = timezone.now()
        source = _source(options["file"], options["size"], now)
        try:
            job = Job(Client(options["url"], options["ca_file"]), source, self._tell)
            job.run(_credentials(options["client_file"]), now)
        except SmokeFailed as failure:
            raise CommandError(f"The main job failed at {failure}") from failure
        self.stdout.write("The main job works.")

    def _tell(self, step: Step) -> None:
        self.stdout.write(str(step))


def _source(path: Path | None, size: str, now: dt.datetime) -> Source:
    if path is not None:
        if not path.is_file():
            raise CommandError(f"{path} is no file.")
        return GivenFile(path)
    match = re.fullmatch(r"(\d+)\s*(KIB|MIB|GIB|)", size.upper())
    if match is None:
        raise CommandError(f"--size {size} is no size; write bytes or 64KiB, 10MiB, 1GiB.")
    return GeneratedFile(int(match[1]) * UNITS[match[2]], f"{now:%Y-%m-%d}")


def _credentials(path: Path | None) -> Credentials:
    if path is not None:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Credentials(content["client_id"], content["client_secret"])
    client_id, secret = settings.ARTSTORE_CLIENT_ID, settings.ARTSTORE_CLIENT_SECRET
    if not (client_id and secret) and not sys.stdin.isatty():
        raise CommandError(
            "Nobody is there to be asked who I am. Set ARTSTORE_CLIENT_ID and "
            "ARTSTORE_CLIENT_SECRET, or name a file with --client-file."
        )
    return Credentials(
        client_id or input("client_id: "), secret or getpass.getpass("client_secret: ")
    )
