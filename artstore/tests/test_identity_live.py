"""Identity in the running system: keys rotate under load, and secrets stay where they belong."""

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from django.utils import timezone

from apps.admin import keys, tokens
from artstore.tests.live import LiveSystem
from storage_node.tests.node_process import NodeProcess

PATIENCE_SECONDS = 180.0


class Load:
    """Clients that fetch a token, upload and download, again and again, and note every status."""

    def __init__(self, system: LiveSystem, clients: int) -> None:
        self.system = system
        self.statuses: Counter[str] = Counter()
        self.rounds = itertools.count()
        self.finished_rounds = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._credentials = system.service_account(["files:read", "files:write"])
        self._old_token = self._token(requests.Session())
        self._threads = [threading.Thread(target=self._client) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for_rounds(self, more: int) -> None:
        """Until the clients together have done that many more rounds."""
        wanted, deadline = self.finished_rounds + more, time.monotonic() + PATIENCE_SECONDS
        while self.finished_rounds < wanted:
            assert time.monotonic() < deadline, f"the load stands still: {self.statuses}"
            time.sleep(0.05)

    def _client(self) -> None:
        session = requests.Session()
        session.trust_env = False
        while not self._stop.is_set():
            number = next(self.rounds)
            # Every other round with a token that was made before any rotation.
            token = self._old_token if number % 2 else self._token(session)
            self._round(session, token, b"round %d" % number)
            with self._lock:
                self.finished_rounds += 1

    def _token(self, session: requests.Session) -> str:
        answer = session.post(
            f"{self.system.api}/auth/token",
            data={"grant_type": "client_credentials"},
            auth=self._credentials,
            timeout=60,
        )
        self._note("token", answer)
        return str(answer.json()["access_token"])

    def _round(self, session: requests.Session, token: str, content: bytes) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        stored = session.post(
            f"{self.system.api}/files/upload?filename=round.txt",
            data=content,
            headers=headers | {"Content-Type": "text/plain"},
            timeout=60,
        )
        self._note("upload", stored)
        if stored.status_code == 201:
            path = f"{self.system.api}/files/{stored.json()['file_id']}/download"
            fetched = session.get(path, headers=headers, timeout=60)
            self._note("download", fetched)
            assert fetched.content == content

    def _note(self, what: str, answer: requests.Response) -> None:
        with self._lock:
            self.statuses[f"{what} {answer.status_code}"] += 1


@pytest.mark.parametrize(
    "clients", [8, pytest.param(50, marks=pytest.mark.drill)], ids=["quick", "fifty_clients"]
)
def test_three_rotations_under_load_refuse_nobody(live_web: LiveSystem, clients: int) -> None:
    admin = live_web.session(live_web.admin_token())
    with Load(live_web, clients) as load:
        load.wait_for_rounds(clients)
        for _ in range(3):
            before = admin.get(f"{live_web.api}/jwt-keys/status", timeout=60).json()
            rotated = admin.post(f"{live_web.api}/jwt-keys/rotate", json={}, timeout=60).json()
            assert rotated["previous_key_id"] == before["active_key_id"]
            load.wait_for_rounds(2 * clients)
    assert set(load.statuses) == {"token 200", "upload 201", "download 200"}, load.statuses


@pytest.mark.django_db
def test_a_node_cut_off_for_two_rotations_still_accepts(node: NodeProcess) -> None:
    """The node of this test knows the keys as they were when it started and hears of no others."""

    def status(module: str) -> int:
        token = tokens.element_token(node.storage_id, "ada", module, ["files:read"], timezone.now())
        answer = requests.get(
            f"{node.base_url}/api/v1/files",
            headers={"Authorization": f"Bearer {token}"},
            verify=str(node.certificates.ca),
            timeout=30,
        )
        return answer.status_code

    assert status("before") == 200
    for number in range(keys.ANNOUNCED_AHEAD):
        keys.rotate(None, timezone.now())
        assert status(f"rotation {number}") == 200
    keys.rotate(None, timezone.now())
    assert status("one too many") == 401


@pytest.fixture
def secrets_in_use(live_web: LiveSystem) -> dict[str, str]:
    """Every kind of secret, used in every way there is, the wrong way included."""
    client_id, client_secret = live_web.service_account(["files:read", "files:write"])
    pair = live_web.log_in()
    api, session = live_web.api, requests.Session()
    password = "only-known-to-this-test-7731"
    body = {"grant_type": "client_credentials", "client_id": client_id}
    token = session.post(f"{api}/auth/token", data=body | {"client_secret": client_secret})
    session.post(f"{api}/auth/token", data=body | {"client_secret": client_secret + "x"})
    session.post(f"{api}/auth/token", data="{" + client_secret)
    session.post(f"{api}/admin-auth/login", json={"username": password, "password": password})
    session.post(f"{api}/admin-auth/login", json={"username": "admin", "password": password})
    session.post(f"{api}/admin-auth/login", data=f'{{"password": "{password}"')
    session.post(f"{api}/admin-auth/refresh", json={"refresh_token": pair["refresh_token"]})
    session.post(f"{api}/admin-auth/refresh", json={"refresh_token": pair["refresh_token"]})
    admin = live_web.session(live_web.admin_token())
    bad = {"username": "bob", "password": password, "role": "root"}
    admin.post(f"{api}/admin-users", json=bad)
    made = admin.post(f"{api}/admin-users", json=bad | {"role": "readonly"})
    admin.delete(f"{api}/admin-users/{made.json()['id']}")
    secret = token.json()["access_token"]
    files = live_web.session(secret)
    files.get(f"{api}/admin-users")
    files.post(f"{api}/files/upload?filename=a.txt", data=b"a")
    return {
        "client secret": client_secret,
        "refresh token": pair["refresh_token"],
        "access token": secret,
        "admin's token": pair["access_token"],
        "user's password": password,
        "admin's password": live_web.admin_password,
    }


def logs(system: LiveSystem) -> str:
    return "\n".join(path.read_text(errors="replace") for path in system.home.glob("log/*"))


def command_lines(_system: LiveSystem) -> str:
    """What `ps` shows to everybody."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it ended meanwhile
    return "\n".join(lines)


def database_dump(system: LiveSystem) -> str:
    """Every row of every table, as a stolen dump would show it."""
    with psycopg.connect(system.ready["database_url"]) as connection:
        names = connection.execute(
            "select quote_ident(schemaname) || '.' || quote_ident(tablename) from pg_tables"
            " where schemaname not in ('pg_catalog', 'information_schema')"
        ).fetchall()
        rows: list[Any] = []
        for (name,) in names:
            rows += connection.execute(f"select to_jsonb(t)::text from {name} t").fetchall()
    return json.dumps(rows)


@pytest.mark.parametrize("where", [logs, command_lines, database_dump])
def test_secrets_are_nowhere_to_be_read(
    live_web: LiveSystem, secrets_in_use: dict[str, str], where: Callable[[LiveSystem], str]
) -> None:
    text = where(live_web)
    assert len(text) > 1000, "the reader finds nothing at all"
    assert [name for name, secret in secrets_in_use.items() if secret in text] == []
    assert "PRIVATE KEY" not in text
