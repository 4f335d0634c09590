"""The shell door of the embedded system: run | up | down | status | manage."""

import argparse
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from artstore.embedded import lock, plan, processes, supervisor
from artstore.embedded.errors import EmbeddedError
from artstore.embedded.plan import ROOT, Layout, Plan

UP_TIMEOUT_SECONDS = 300.0
DOWN_TIMEOUT_SECONDS = 240.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m artstore.embedded", description=__doc__)
    parser.add_argument("verb", choices=["run", "up", "down", "status", "manage"])
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="for manage: the command")
    asked = parser.parse_args()
    verbs = {"run": run, "up": up, "down": down, "status": status}
    try:
        system = plan.read()
        if asked.verb == "manage":
            return manage(system, asked.arguments)
        return verbs[asked.verb](system)
    except EmbeddedError as failure:
        sys.stderr.write(f"{failure}\n")
        return 1


def run(system: Plan) -> int:
    """In the foreground, until Ctrl-C. What is said is kept in the log too."""
    layout = system.layout
    supervisor.make_home(layout.home)
    with _Copied(layout.log_of("supervisor")) as output:
        return supervisor.Supervisor(system, output.show_unlogged).run()


class _Copied(io.TextIOBase):
    """Standard output that also goes to a file, unless it is that file already."""

    def __init__(self, log_file: Path) -> None:
        self._screen = sys.stdout
        self._log = io.TextIOWrapper(processes.open_log(log_file), encoding="utf-8")
        is_same = os.path.sameopenfile(self._log.fileno(), self._screen.fileno())
        self._targets = (self._log,) if is_same else (self._screen, self._log)

    def __enter__(self) -> "_Copied":
        sys.stdout = self
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout = self._screen
        self._log.close()

    def write(self, text: str) -> int:
        for target in self._targets:
            target.write(text)
        return len(text)

    def show_unlogged(self, text: str) -> None:
        """What no file may keep. In the background there is no screen: `up` shows it then."""
        if self._screen in self._targets:
            self._screen.write(text + "\n")

    def flush(self) -> None:
        for target in self._targets:
            target.flush()


def up(system: Plan) -> int:
    """In the background: returns once the system is ready, or says why it is not."""
    layout = system.layout
    supervisor.make_home(layout.home)
    log_file = layout.log_of("supervisor")
    begins_at_bytes = log_file.stat().st_size if log_file.exists() else 0
    with processes.open_log(log_file) as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "artstore.embedded", "run"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,
        )
    deadline = time.monotonic() + UP_TIMEOUT_SECONDS
    shown_bytes = begins_at_bytes
    while time.monotonic() < deadline:
        is_over = process.poll() is not None
        shown_bytes = _show(log_file, shown_bytes)
        if is_over:
            return process.returncode or 1
        if layout.ready_file.exists() and lock.holder(layout) == process.pid:
            _show_greeting(log_file, begins_at_bytes, shown_bytes, layout)
            return 0
        time.sleep(0.1)
    sys.stderr.write(f"Not ready after {UP_TIMEOUT_SECONDS:.0f} s; see {log_file}.\n")
    return 1


def _show(log_file: Path, from_bytes: int) -> int:
    with log_file.open("rb") as log:
        log.seek(from_bytes)
        text = log.read()
    sys.stdout.write(text.decode(errors="replace"))
    sys.stdout.flush()
    return from_bytes + len(text)


def _show_greeting(log_file: Path, begins_at_bytes: int, shown_bytes: int, layout: Layout) -> None:
    """The end of the log, and after it the first password, which the log must not keep."""
    time.sleep(0.2)
    _show(log_file, shown_bytes)
    with log_file.open("rb") as log:
        log.seek(begins_at_bytes)
        if supervisor.FIRST_ADMIN_WORDS.encode() in log.read():
            sys.stdout.write(supervisor.first_password(layout) + "\n")


def down(system: Plan) -> int:
    """Ask the running system to stop and wait until it has."""
    pid = lock.holder(system.layout)
    if pid is None:
        system.layout.ready_file.unlink(missing_ok=True)
        sys.stdout.write(f"ArtStore is not running in {system.layout.home}.\n")
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_TIMEOUT_SECONDS
    while lock.holder(system.layout) == pid:
        if time.monotonic() > deadline:
            sys.stderr.write(f"The supervisor (pid {pid}) is still stopping.\n")
            return 1
        time.sleep(0.1)
    sys.stdout.write("ArtStore is stopped; files and records are kept.\n")
    return 0


def status(system: Plan) -> int:
    """0 when ready, 3 when not, as init scripts have it."""
    layout = system.layout
    if lock.holder(layout) is None:
        sys.stdout.write(f"ArtStore is not running in {layout.home}.\n")
        return 3
    is_ready = layout.ready_file.exists()
    sys.stdout.write(f"ArtStore is {'ready' if is_ready else 'starting'} in {layout.home}.\n")
    return 0 if is_ready else 3


def manage(system: Plan, arguments: list[str]) -> int:
    """A `manage.py` command with the settings of the running system; replaces this process."""
    if not system.layout.database_url_file.exists():
        raise EmbeddedError(f"Nothing has run in {system.layout.home} yet. Start with `make run`.")
    child = plan.manage(system, "manage", *arguments)
    os.chdir(child.directory)
    os.execve(child.argv[0], list(child.argv), dict(child.environment))  # noqa: S606 - our own command


if __name__ == "__main__":
    sys.exit(main())
