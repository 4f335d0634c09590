"""Brings the embedded system up in order, keeps it up, takes it down in order.

One thread: the kernel ties each child's life to the thread that started it. What there is to start
is in `plan`; how a dead process comes back is in `tending`.
"""

import datetime as dt
import json
import os
import select
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from artstore.embedded import (
    certificates,
    lock,
    plan,
    ports,
    postgres,
    processes,
    ready,
    secret_files,
    tending,
)
from artstore.embedded.errors import ChildFailed, EmbeddedError
from artstore.embedded.plan import ADMIN_USERNAME, Layout, Plan
from artstore.embedded.processes import Child
from artstore.embedded.tending import Tended
from artstore.smoke.client import Client, SmokeFailed
from artstore.smoke.job import Credentials, Job
from artstore.smoke.sources import GeneratedFile

READY_TIMEOUT_SECONDS = 60.0
COMMAND_TIMEOUT_SECONDS = 300.0
STOP_TIMEOUT_SECONDS = 40.0
LONGEST_SLEEP_SECONDS = 5.0
# More than travels inside a log record, so that the whole path of a file is walked.
SMOKE_BYTES = 256 * 1024
# What `manage.py bootstrap` prints when it made somebody, and what is said here then.
FIRST_ADMIN_WORDS = "Made the first admin"


class Supervisor:
    """The running system of one home directory."""

    def __init__(self, system: Plan, show_unlogged: Callable[[str], None]) -> None:
        self._plan = system
        self._show_unlogged = show_unlogged
        self._layout = system.layout
        self._family: list[Tended] = []
        self._database_url = ""
        self._wakeup_read, wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        # A handler of our own makes the signal arrive at the wakeup descriptor.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, _interrupt)
        signal.signal(signal.SIGINT, _interrupt)

    def run(self) -> int:
        """Up, until somebody says stop; the exit code for the shell."""
        held = lock.acquire(self._layout)
        try:
            self._start()
            self._tend()
        except KeyboardInterrupt:
            say("Stopping; files and records are kept.")
            return 0
        except EmbeddedError as failure:
            say(f"Could not start: {failure}")
            return 1
        finally:
            self._stop()
            os.close(held)

    # --- up -----------------------------------------------------------------------------------

    def _start(self) -> None:
        began = time.monotonic()
        ready.remove(self._plan)
        leftovers = lock.wait_for_leftovers(self._layout)
        if leftovers:
            raise EmbeddedError(f"Processes of an earlier run do not end: {leftovers}.")
        ports.check_free(self._plan.ports)
        self._prepare_secrets()
        self._start_database()
        is_new = self._bootstrap()
        self._start_web()
        self._start_nodes()
        self._register()
        self._start_background()
        self._note_pids()
        self._smoke()
        ready.write(self._plan, self._database_url, self._pids())
        self._greet(is_new, time.monotonic() - began)

    def _prepare_secrets(self) -> None:
        folder = self._layout.secrets
        folder.mkdir(mode=0o700, exist_ok=True)
        secret_files.keep(folder / "django-secret-key", secret_files.random_text)
        secret_files.keep(folder / "digest-key", secret_files.random_text)
        secret_files.keep(folder / "key-encryption-keys", secret_files.fernet_key)
        certificates.ensure(
            self._layout.certificates,
            [element.storage_id for element in self._plan.elements],
            dt.datetime.now(dt.UTC),
        )
        secret_files.keep(self._layout.admin_password_file, secret_files.readable_password)

    def _start_database(self) -> None:
        if self._plan.database_url is not None:
            self._database_url = self._plan.database_url
            postgres.check_server(self._database_url)
        else:
            password_file = self._layout.secrets / "postgres-password"
            password, _ = secret_files.keep(password_file, secret_files.random_text)
            log_file = self._layout.log_of("postgres")
            cluster = postgres.prepare(self._layout.postgres, password, log_file)
            member = Tended(cluster.child(), postgres.STOP_TIMEOUT_SECONDS)
            self._family.append(member)
            postgres.wait_ready(cluster, member.start())
            self._database_url = cluster.url()
            say(f"PostgreSQL {cluster.binaries.version} is up")
        secret_files.write(self._layout.database_url_file, f"{self._database_url}\n")

    def _bootstrap(self) -> bool:
        """Whether the first admin was made just now: a database may be older than this home."""
        output = self._command(
            "bootstrap",
            *("bootstrap", "--client-file", str(self._layout.client_file)),
            *("--elements-file", str(self._layout.elements_file)),
        )
        return FIRST_ADMIN_WORDS in output

    def _start_web(self) -> None:
        member = Tended(plan.web(self._plan), STOP_TIMEOUT_SECONDS)
        self._family.append(member)
        self._await(member, f"{self._plan.base_url}/health/ready", None)
        say(f"web is up at {self._plan.base_url}")

    def _start_nodes(self) -> None:
        """Both at once: starting the second does not wait for the first."""
        nodes = [
            Tended(plan.node(self._plan, element), STOP_TIMEOUT_SECONDS)
            for element in self._plan.elements
        ]
        self._family += nodes
        for element, member in zip(self._plan.elements, nodes, strict=True):
            element.data_dir.mkdir(mode=0o700, exist_ok=True)
            member.start()
        for element, member in zip(self._plan.elements, nodes, strict=True):
            self._await(member, f"{element.url}/health/ready", self._layout.ca_file)
            say(f"{element.storage_id} is up at {element.url} (mode {element.mode})")

    def _start_background(self) -> None:
        """Nobody waits for these: what they do is due some time."""
        for child in (plan.worker(self._plan), plan.beat(self._plan)):
            member = Tended(child, STOP_TIMEOUT_SECONDS)
            self._family.append(member)
            member.start()

    def _await(self, member: Tended, address: str, ca_file: Path | None) -> None:
        process = member.process or member.start()
        processes.wait_until(
            lambda: is_ready(address, ca_file), process, member.child, READY_TIMEOUT_SECONDS
        )

    def _register(self) -> None:
        """Only where something is new or has moved: each command costs a start of Django."""
        ca_pem = self._layout.ca_file.read_text(encoding="utf-8")
        wanted = [
            {"storage_id": element.storage_id, "url": element.url, "ca_pem": ca_pem}
            for element in self._plan.elements
        ]
        known = json.loads(self._layout.elements_file.read_text(encoding="utf-8"))
        if all(element in known for element in wanted):
            return
        nodes = [("--node", e.storage_id, e.name, e.url) for e in self._plan.elements]
        arguments = [word for node in nodes for word in node]
        self._command(
            "register", "register_nodes", "--ca-file", str(self._layout.ca_file), *arguments
        )

    def _smoke(self) -> None:
        """What `manage.py smoke` does, without waiting for another start of Django."""
        if self._plan.inherited.get("ARTSTORE_SMOKE") == "0":
            return
        now = dt.datetime.now(dt.UTC)
        kept = json.loads(self._layout.client_file.read_text(encoding="utf-8"))
        source = GeneratedFile(SMOKE_BYTES, f"{now:%Y-%m-%d}")
        say("Uploading, finding and downloading a file, as a client would:")
        try:
            Job(Client(self._plan.base_url), source, lambda step: say(f"  {step}")).run(
                Credentials(kept["client_id"], kept["client_secret"]), now
            )
        except SmokeFailed as failure:
            # An element in maintenance or without room is an operator's business, and he needs
            # the system up to see to it.
            say(
                f"  THE MAIN JOB FAILED at {failure}\n  Everything is up, but uploads or downloads "
                f"may not work. The console says more; logs are in {self._layout.logs}."
            )
            return
        say("  The main job works.")

    def _command(self, name: str, *arguments: str) -> str:
        """Run a `manage.py` command to its end and give back what it printed."""
        return run_to_end(plan.manage(self._plan, name, *arguments))

    def _greet(self, is_new: bool, seconds: float) -> None:
        if is_new:
            say(f"{FIRST_ADMIN_WORDS}: {ADMIN_USERNAME}")
        say(
            f"Ready after {seconds:.1f} s.\n"
            f"  Console:  {self._plan.console_url}\n"
            f"  Log in:   {ADMIN_USERNAME}, password in {self._layout.admin_password_file}\n"
            f"  API:      {self._plan.base_url}/api/docs\n"
            f"  Programs: {self._layout.ready_file}\n"
            f"  Logs:     {self._layout.logs}"
        )
        if is_new:
            self._show_unlogged(first_password(self._layout))

    # --- staying up ---------------------------------------------------------------------------

    def _tend(self) -> NoReturn:
        while True:
            if tending.tend(self._family, report):
                self._note_pids()
                ready.write(self._plan, self._database_url, self._pids())
            sleep_seconds = tending.seconds_until_next(self._family, LONGEST_SLEEP_SECONDS)
            if select.select([self._wakeup_read], [], [], sleep_seconds)[0]:
                os.read(self._wakeup_read, 1024)

    def _pids(self) -> dict[str, int | None]:
        return {member.child.name: member.pid for member in self._family}

    def _note_pids(self) -> None:
        lock.note_children(self._layout, [pid for pid in self._pids().values() if pid])

    # --- down ---------------------------------------------------------------------------------

    def _stop(self) -> None:
        """In the opposite order, so that nobody loses what it leans on. A second Ctrl-C hurries."""
        ready.remove(self._plan)
        signal.signal(signal.SIGINT, self._hurry)
        signal.signal(signal.SIGTERM, self._hurry)
        for member in reversed(self._family):
            if not member.stop():
                say(f"{member.child.name} did not stop when asked and was killed.")
        if self._family:
            self._layout.children_file.unlink(missing_ok=True)
            say("Everything is stopped.")
        self._family.clear()

    def _hurry(self, *_: object) -> None:
        for member in self._family:
            if member.process is not None and member.child.name != "postgres":
                member.process.kill()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def make_home(home: Path) -> None:
    """For its owner alone; as root others may pass through, PostgreSQL's user among them."""
    if not home.exists():
        home.mkdir(parents=True)
        home.chmod(0o711 if os.geteuid() == 0 else 0o700)
    Layout(home).logs.mkdir(mode=0o700, exist_ok=True)


def first_password(layout: Layout) -> str:
    """For a screen, never for a log."""
    return f"  Password: {layout.admin_password_file.read_text().strip()} (shown this once)"


def run_to_end(child: Child) -> str:
    """What the child printed; fails with the end of its log when it fails."""
    before_bytes = child.log_file.stat().st_size if child.log_file.exists() else 0
    process = processes.spawn(child)
    try:
        code = process.wait(COMMAND_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        processes.stop(process, child.stop_signal, STOP_TIMEOUT_SECONDS)
    if code != 0:
        reason = f"failed with code {code}" if code is not None else "took too long"
        raise ChildFailed(
            f"{child.name} {reason}; its log {child.log_file} ends:\n"
            f"{processes.log_tail(child.log_file)}"
        )
    with child.log_file.open("rb") as log:
        log.seek(before_bytes)
        return log.read().decode(errors="replace")


def is_ready(address: str, ca_file: Path | None) -> bool:
    """Whether the health page at `address` answers 200."""
    context = ssl.create_default_context(cafile=str(ca_file)) if ca_file else None
    # No proxy of the environment stands between us and our own loopback.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def say(text: str) -> None:
    """A line for whoever started us."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def report(text: str) -> None:
    """A line about something that happened by itself: with its time."""
    say(f"{dt.datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {text}")
