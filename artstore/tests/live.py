"""The whole system, running for real, for tests that need to meet it as a client does.

One home directory, one `python -m artstore.embedded run`. Needs no Django in the test's process.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import requests

from artstore.embedded.plan import ROOT
from storage_node.tests.node_process import free_port

# Nothing of the test run's own settings: the system makes its own secrets and database.
OURS = ("ARTSTORE_", "SE_", "DATABASE_URL", "DJANGO_", "PYTEST_", "OTEL_")


def free_ports(count: int) -> list[int]:
    """Loopback ports of this test process alone, below those the kernel gives to outgoing connections."""
    return [free_port(18400, 18799) for _ in range(count)]


def eventually(is_so: Callable[[], Any], what: str, timeout_seconds: float = 60) -> Any:
    """Wait for something another process does; answers the first truth."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        answer = is_so()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout_seconds} s: {what}")


class LiveSystem:
    """`make up` in a home of its own."""

    def __init__(self, home: Path | None = None, **settings: str) -> None:
        self._made = home is None
        self.home = home or Path(tempfile.mkdtemp(prefix="artstore-live-"))
        # As root PostgreSQL is somebody else and has to pass through.
        self.home.chmod(0o711)
        web, edit, rw = free_ports(3)
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(OURS)}
        self.environment = inherited | {
            "ARTSTORE_HOME": str(self.home),
            "ARTSTORE_WEB_PORT": str(web),
            "ARTSTORE_NODE_EDIT_PORT": str(edit),
            "ARTSTORE_NODE_RW_PORT": str(rw),
            **settings,
        }

    def shell(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`python -m artstore.embedded <arguments>` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "artstore.embedded", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def up(self) -> str:
        outcome = self.shell("up")
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        return outcome.stdout

    def down(self) -> str:
        outcome = self.shell("down")
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        return outcome.stdout

    def remove(self) -> None:
        self.shell("down")
        postgres = self.home / "postgres"
        if postgres.is_symlink():
            shutil.rmtree(postgres.resolve(), ignore_errors=True)
        if self._made:
            shutil.rmtree(self.home, ignore_errors=True)

    # --- what a client knows ------------------------------------------------------------------

    @property
    def ready(self) -> dict[str, Any]:
        """`ready.json` as it is now."""
        content: dict[str, Any] = json.loads((self.home / "ready.json").read_text())
        return content

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.environment['ARTSTORE_WEB_PORT']}"

    @property
    def api(self) -> str:
        return f"{self.base_url}/api/v1"

    @property
    def ca_file(self) -> str:
        return str(self.home / "certificates" / "ca.pem")

    @property
    def admin_password(self) -> str:
        return (self.home / "secrets" / "admin-password").read_text().strip()

    def element(self, storage_id: str) -> dict[str, Any]:
        return next(item for item in self.ready["elements"] if item["storage_id"] == storage_id)

    def log_of(self, name: str) -> str:
        path = self.home / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def manage(self, *arguments: str) -> str:
        outcome = self.shell("manage", *arguments)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        return outcome.stdout

    # --- tokens and calls ---------------------------------------------------------------------

    def log_in(self) -> dict[str, Any]:
        """The admin's pair of tokens."""
        answer = requests.post(
            f"{self.api}/admin-auth/login",
            json={"username": "admin", "password": self.admin_password},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        pair: dict[str, Any] = answer.json()
        return pair

    def admin_token(self) -> str:
        return str(self.log_in()["access_token"])

    def service_account(self, scopes: Collection[str], **fields: Any) -> tuple[str, str]:
        """A new service account's id and secret."""
        body = {"name": f"test-{uuid.uuid4().hex[:12]}", "scopes": list(scopes)} | fields
        answer = requests.post(
            f"{self.api}/service-accounts",
            json=body,
            headers={"Authorization": f"Bearer {self.admin_token()}"},
            timeout=30,
        )
        assert answer.status_code == 201, answer.text
        made = answer.json()
        return made["client_id"], made["client_secret"]

    def service_token(self, scopes: Collection[str]) -> str:
        answer = requests.post(
            f"{self.api}/auth/token",
            data={"grant_type": "client_credentials"},
            auth=self.service_account(scopes),
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def session(self, token: str | None) -> requests.Session:
        """Calls with a token, to the API by path: `session.get(system.api + "/files")`."""
        session = requests.Session()
        session.trust_env = False
        if token is not None:
            session.headers["Authorization"] = f"Bearer {token}"
        return session
