"""A real gunicorn that serves the API over the test database, and elements it may use.

For claims that only a server process can prove: bodies, early answers, cut connections. The test
has to use a committed database (`transactional_db`).
"""

import os
import signal
import subprocess
import sys
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

import requests
from django.db import connection
from django.utils import timezone

from apps.registry.models import ElementStatus, StorageElement, element_id_of
from apps.registry.node_client import NodeAddress, NodeClient
from storage_node.tests.node_process import REPOSITORY, NodeProcess, free_port

# A machine that does many things at once takes its time.
START_SECONDS = 180.0
WEB_ROLE = "web_under_test"


def element_on(node: NodeProcess, available_bytes: int | None = None) -> StorageElement:
    """The node as a registered, freshly probed element."""
    ca_pem = node.certificates.ca.read_text()
    answer = NodeClient(NodeAddress(node.base_url, ca_pem=ca_pem)).get_info()
    info = answer.body
    room = available_bytes if available_bytes is not None else 10 * 1024**3
    return StorageElement.objects.create(
        id=element_id_of(node.storage_id),
        name=node.storage_id,
        url=node.base_url,
        storage_id=node.storage_id,
        instance_id=info["instance_id"],
        epoch=answer.identity.epoch,
        ca_pem=ca_pem,
        mode=info["mode"],
        status=ElementStatus.ONLINE,
        capacity_bytes=room,
        available_bytes=room,
        last_probe_at=timezone.now(),
    )


@dataclass
class WebProcess:
    """One gunicorn worker with threads, as `deploy/` runs it, on the test database."""

    log_path: Path
    environment: dict[str, str] = field(default_factory=dict)
    threads: int = 64
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "WebProcess":
        self.port = free_port(18300, 18349)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self._command(),
                cwd=REPOSITORY,
                env=os.environ
                | {"DATABASE_URL": database_url_of_test(WEB_ROLE)}
                | {"ARTSTORE_WEB_THREADS": str(self.threads)}
                | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if requests.get(self.base_url + "/health/live", timeout=5).ok:
                    return self
            except requests.RequestException:
                pass
            time.sleep(0.02)
        raise RuntimeError(f"gunicorn did not start:\n{self.log()}")

    def _command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "gunicorn",
            "-c",
            "deploy/gunicorn.conf.py",
            "artstore.wsgi",
            "--bind",
            f"127.0.0.1:{self.port}",
            "--graceful-timeout",
            "5",
        ]

    def workers(self) -> list[int]:
        """The processes that serve."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def kill_worker(self) -> None:
        """kill -9 of the serving process; gunicorn's master starts another."""
        for pid in self.workers():
            os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        assert self.process is not None
        workers = self.workers() if self.process.poll() is None else []
        self.process.kill()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(30)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def __enter__(self) -> "WebProcess":
        return self.start()

    def __exit__(self, *_details: object) -> None:
        self.stop()


def database_url_of_test(role: str = "") -> str:
    """The address of the database the test works in, as its owner or as another role."""
    name = connection.settings_dict["NAME"]
    parts = urllib.parse.urlsplit(os.environ["DATABASE_URL"])
    login = f"{role}:{role}" if role else parts.netloc.rpartition("@")[0]
    netloc = f"{login}@{parts.netloc.rpartition('@')[2]}"
    return urllib.parse.urlunsplit(parts._replace(netloc=netloc, path=f"/{name}"))


def make_web_role() -> None:
    """A login of its own for the gunicorn, so that tests can count and end its connections."""
    with connection.cursor() as cursor:
        cursor.execute("select 1 from pg_roles where rolname = %s", [WEB_ROLE])
        if cursor.fetchone() is None:
            cursor.execute(f"create role {WEB_ROLE} login superuser password '{WEB_ROLE}'")
