"""A registry with many made records in a PostgreSQL of its own, built once and kept for the next run.

`Ground` starts the server and names it to the settings, so it has to be entered before anything
that reads them or imports models. What is measured on it is in `search` and `console_pages`.
"""

import contextlib
import hashlib
import importlib
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artstore.embedded import postgres, secret_files

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_FOLDER = Path("/tmp/artstore-bench-search")
# Memory as in measured.md's figures. The data can be made again and is only read by what is measured.
SETTINGS = {
    **postgres.VOLATILE,
    "autovacuum": "off",
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "maintenance_work_mem": "512MB",
}
# Where the schema changed the data is made anew.
_MIGRATIONS = ("apps/registry/migrations", "apps/query/migrations")


@dataclass(frozen=True)
class Filled:
    """A running server with so many records in it."""

    folder: Path
    count: int
    server_pid: int


@contextlib.contextmanager
def ground(folder: Path, count: int) -> Iterator[Filled]:
    """A server with `count` made records in `folder`, and Django ready to ask it."""
    place = folder / f"{count}"
    place.mkdir(parents=True, exist_ok=True)
    for above in (folder, place):
        above.chmod(0o711)
    password, _ = secret_files.keep(place / "password", lambda: secrets.token_hex(16))
    cluster = postgres.prepare(place / "postgres", password, place / "postgres.log", SETTINGS)
    server = postgres.start(cluster)
    try:
        _set_environment(cluster.url(), place)
        importlib.import_module("django").setup()
        _fill(place, count)
        yield Filled(place, count, server.pid)
    finally:
        postgres.stop(server)
        postgres.discard_socket_folder(cluster)


def _set_environment(url: str, place: Path) -> None:
    key, _ = secret_files.keep(place / "fernet", secret_files.fernet_key)
    text, _ = secret_files.keep(place / "secret", secret_files.random_text)
    os.environ.update(
        {
            "DATABASE_URL": url,
            "ARTSTORE_SECRET_KEY": text,
            "ARTSTORE_DIGEST_KEY": text,
            "ARTSTORE_KEY_ENCRYPTION_KEYS": key,
            "ARTSTORE_LOG_FORMAT": "text",
            "ARTSTORE_LOG_LEVEL": "ERROR",
            "DJANGO_SETTINGS_MODULE": "artstore.settings",
        }
    )


def made_by() -> str:
    """A digest of everything the stored data depends on."""
    records: Any = importlib.import_module("apps.query.tests.made_records")
    digest = hashlib.sha256(records.recipe().encode())
    for name in _MIGRATIONS:
        for source in sorted((ROOT / name).rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _fill(place: Path, count: int) -> None:
    stamp = place / "made-by"
    if stamp.exists() and stamp.read_text() == made_by():
        return
    stamp.unlink(missing_ok=True)
    contents: Any = importlib.import_module("bench.filled_contents")
    began = time.monotonic()
    contents.make(count)
    stamp.write_text(made_by())
    print(f"{count} records made in {time.monotonic() - began:.0f} s, kept in {place}", flush=True)


def server_version(filled: Filled) -> str:
    """As the server's own binary says it."""
    program = Path(f"/proc/{filled.server_pid}/exe").resolve()
    done = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "PostgreSQL"
