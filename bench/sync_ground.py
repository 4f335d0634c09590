"""What the sync bench stands on: a durable PostgreSQL whose address is put into the environment before anything of Django
is imported, a real node with many files, and how much CPU processes have used.
"""

import base64
import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from artstore.embedded import postgres
from bench.node_directory import Content, index_only
from storage_node.tests.node_process import Certificates, Issuer, NodeProcess

STORAGE_ID = "se-bench"
# As `measured.md` had it: memory for the working set, and no checkpoint every few seconds of a load.
_SERVER = postgres.DURABLE | {"shared_buffers": "1GB", "max_wal_size": "4GB"}


@contextmanager
def postgres_server(folder: Path) -> Iterator[int]:
    """A server below `folder`, its address in the environment; gives its process id."""
    folder.chmod(0o711)  # the server is somebody else when a bench runs as root
    cluster = postgres.prepare(
        folder / "postgres", secrets.token_hex(16), folder / "postgres.log", _SERVER
    )
    process = postgres.start(cluster)
    os.environ.update(
        {
            "DATABASE_URL": cluster.url(),
            "ARTSTORE_SECRET_KEY": secrets.token_urlsafe(32),
            "ARTSTORE_DIGEST_KEY": secrets.token_urlsafe(32),
            "ARTSTORE_KEY_ENCRYPTION_KEYS": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "ARTSTORE_LOG_FORMAT": "text",
            "ARTSTORE_LOG_LEVEL": "WARNING",
            "ARTSTORE_ALLOW_LOOPBACK_ELEMENTS": "true",
            "DJANGO_SETTINGS_MODULE": "artstore.settings",
        }
    )
    try:
        yield process.pid
    finally:
        postgres.stop(process)
        postgres.discard_socket_folder(cluster)


@contextmanager
def node_with_files(folder: Path, jwks: dict[str, Any], count: int) -> Iterator[NodeProcess]:
    """A running node that lists `count` files (see `node_directory.index_only`), made where `folder` has none yet."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "keys.json").write_text(json.dumps(jwks))
    environment = {
        "SE_JWKS_FILE": str(folder / "keys.json"),
        "SE_MAX_CAPACITY": "1TiB",
        "SE_LOG_LEVEL": "WARNING",
    }
    certificates = Certificates.make(folder / f"tls-{secrets.token_hex(4)}")
    node = NodeProcess(folder, certificates, Issuer(), STORAGE_ID, environment)
    made = folder / "made"
    if not made.exists():
        index_only(node.settings, Content(STORAGE_ID, count))
        made.touch()
    with node:
        yield node


def cpu_seconds(pid: int) -> float:
    """CPU that a process tree's ended and running children have used, PostgreSQL's backends included."""
    spent = 0.0
    for child in _children(pid):
        # One that has ended meanwhile left its time to the first.
        with suppress(FileNotFoundError, ProcessLookupError):
            spent += _own_cpu_seconds(child)
    return spent + _own_cpu_seconds(pid)


def _children(pid: int) -> list[int]:
    listed = subprocess.run(
        ["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return [int(text) for text in listed.split()]


def _own_cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(value) for value in fields[11:15]) / os.sysconf("SC_CLK_TCK")
