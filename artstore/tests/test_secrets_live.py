"""Secrets of the running system are nowhere to be read: not in logs, dumps, the audit log or `ps`.

Every kind of secret is used in every way there is, wrong ways included, by API, page and command;
then everything the system wrote is searched for them.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import requests

from artstore.embedded import binaries
from artstore.embedded.plan import ROOT
from artstore.tests.live import LiveSystem

PASSWORD = "only-known-to-this-test-7731"
COMMAND_PASSWORD = "typed-into-a-command-8842"


class Watch:
    """Keeps every command line that was ever seen while it ran, as anybody with `ps` might."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue  # it ended meanwhile


@pytest.fixture(scope="module")
def used(live_web: LiveSystem) -> tuple[dict[str, str], Watch]:
    """The secrets by name, and the process list of the time they were used in."""
    with Watch() as watch:
        secrets = through_the_api(live_web) | through_pages(live_web) | through_commands(live_web)
        secrets |= through_a_statement_that_fails(live_web)
    return secrets, watch


def through_the_api(system: LiveSystem) -> dict[str, str]:
    client_id, client_secret = system.service_account(["files:read", "files:write"])
    pair = system.log_in()
    api, session = system.api, requests.Session()
    body = {"grant_type": "client_credentials", "client_id": client_id}
    token = session.post(f"{api}/auth/token", data=body | {"client_secret": client_secret})
    session.post(f"{api}/auth/token", data=body | {"client_secret": client_secret + "x"})
    session.post(f"{api}/auth/token", data="{" + client_secret)
    session.post(f"{api}/auth/token", data=client_secret, headers={"Content-Type": client_secret})
    session.post(f"{api}/admin-auth/login", json={"username": PASSWORD, "password": PASSWORD})
    session.post(f"{api}/admin-auth/login", json={"username": "admin", "password": PASSWORD})
    session.post(f"{api}/admin-auth/login", data=f'{{"password": "{PASSWORD}"')
    session.post(f"{api}/admin-auth/login", json={"username": "admin", PASSWORD: PASSWORD})
    for _ in range(2):
        session.post(f"{api}/admin-auth/refresh", json={"refresh_token": pair["refresh_token"]})
    admin = system.session(system.admin_token())
    bad = {"username": "bob", "password": PASSWORD, "role": "root"}
    admin.post(f"{api}/admin-users", json=bad)
    made = admin.post(f"{api}/admin-users", json=bad | {"role": "readonly"}).json()
    path = f"{api}/admin-users/{made['id']}"
    admin.post(f"{path}/reset-password", json={"new_password": PASSWORD + "-2"})
    admin.delete(path)
    files = system.session(token.json()["access_token"])
    files.get(f"{api}/admin-users")
    stored = files.post(f"{api}/files/upload?filename=a.txt", data=b"a")
    assert stored.status_code == 201, stored.text
    files.get(f"{api}/files/{stored.json()['file_id']}/download")
    return {
        "client secret": client_secret,
        "refresh token": pair["refresh_token"],
        "access token": token.json()["access_token"],
        "admin's token": pair["access_token"],
        "user's password": PASSWORD,
        "admin's password": system.admin_password,
    }


def through_pages(system: LiveSystem) -> dict[str, str]:
    """Signing in with a browser: the cookie is a secret too."""
    browser = system.session(None)
    address = f"{system.base_url}/console/login"
    form = {"username": "admin", "password": PASSWORD}
    for password in (PASSWORD, system.admin_password):
        page = browser.get(address, timeout=30).text
        planted = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        form |= {"csrfmiddlewaretoken": planted, "password": password}
        browser.post(address, data=form, headers={"Referer": address}, timeout=30)
    assert browser.get(f"{system.base_url}/console/account", timeout=30).url.endswith("/account")
    return {"console cookie": browser.cookies["sessionid"]}


def through_commands(system: LiveSystem) -> dict[str, str]:
    """What commands show once, and what is typed into them."""
    shown = json.loads(
        system.manage("create_service_account", "watched", "--scope", "files:read", "--json")
    )
    arguments = ("create_user", "watched", "--role", "readonly", "--password-stdin")
    typed = subprocess.run(
        [sys.executable, "-m", "artstore.embedded", "manage", *arguments],
        cwd=ROOT,
        env=system.environment,
        input=COMMAND_PASSWORD + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert typed.returncode == 0, typed.stdout + typed.stderr
    assert COMMAND_PASSWORD not in typed.stdout + typed.stderr
    return {"shown secret": shown["client_secret"], "typed password": COMMAND_PASSWORD}


def through_a_statement_that_fails(system: LiveSystem) -> dict[str, str]:
    """PostgreSQL would log it with its values, password hashes among them."""
    value = "only-in-a-failing-statement-9953"
    with psycopg.connect(system.ready["database_url"]) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute(f"select 1/0, '{value}'")  # type: ignore[arg-type]  # a literal on purpose
        connection.rollback()
    return {"value of a failing statement": value}


def logs(system: LiveSystem, _watch: Watch) -> str:
    return "\n".join(path.read_text(errors="replace") for path in system.home.glob("log/*"))


def process_list(_system: LiveSystem, watch: Watch) -> str:
    return "\n".join(watch.seen)


def database_dump(system: LiveSystem, _watch: Watch) -> str:
    """What `pg_dump` writes, every table with it."""
    url = urlsplit(system.ready["database_url"])
    with psycopg.connect(system.ready["database_url"]) as connection:
        major = connection.info.server_version // 10_000
        host, port = connection.info.host, connection.info.port
    dumped = subprocess.run(
        [
            str(binaries.find(major).program("pg_dump")),
            *("--host", host, "--port", str(port), "--username", str(url.username)),
            url.path.lstrip("/"),
        ],
        env=os.environ | {"PGPASSWORD": str(url.password)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert dumped.returncode == 0, dumped.stderr
    assert "COPY public.artstore_admin_auditevent" in dumped.stdout
    assert "COPY public.artstore_admin_signingkey" in dumped.stdout
    return dumped.stdout


@pytest.mark.parametrize("where", [logs, process_list, database_dump])
def test_secrets_are_nowhere_to_be_read(
    live_web: LiveSystem,
    used: tuple[dict[str, str], Watch],
    where: Callable[[LiveSystem, Watch], str],
) -> None:
    secrets, watch = used
    text = where(live_web, watch)
    assert len(text) > 1000, "the reader finds nothing at all"
    assert [name for name, secret in secrets.items() if secret in text] == []
    assert "PRIVATE KEY" not in text
