"""One supervisor per home directory, and how another process finds it."""

import fcntl
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from artstore.embedded.errors import AlreadyRunning
from artstore.embedded.plan import Layout

# A supervisor that was killed leaves children that were told so and are still finishing.
LEFTOVER_TIMEOUT_SECONDS = 60.0


def acquire(layout: Layout) -> int:
    """Hold the home; the descriptor closes with the process, however it ends."""
    descriptor = os.open(layout.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as failure:
        os.close(descriptor)
        raise AlreadyRunning(
            f"ArtStore is already running in {layout.home} (pid {holder(layout) or 'unknown'}). "
            "Stop it with Ctrl-C or `make down`, or set ARTSTORE_HOME to run a second one."
        ) from failure
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def holder(layout: Layout) -> int | None:
    """The pid of the supervisor that holds the home, if one does."""
    try:
        descriptor = os.open(layout.lock_file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).decode().strip()
        return int(text) if text.isdecimal() else None
    finally:
        os.close(descriptor)
    return None


def note_children(layout: Layout, pids: Iterable[int]) -> None:
    """Remember who runs, with the moment each began: a pid alone may be somebody else's later."""
    born = {str(pid): _birth(pid) for pid in pids}
    partial = layout.children_file.with_suffix(".partial")
    partial.write_text(json.dumps(born))
    partial.replace(layout.children_file)


def wait_for_leftovers(layout: Layout) -> list[int]:
    """Wait until the children of a killed supervisor are gone; answers who is still there."""
    if not layout.children_file.exists():
        return []
    born = json.loads(layout.children_file.read_text())
    deadline = time.monotonic() + LEFTOVER_TIMEOUT_SECONDS
    while True:
        alive = [int(pid) for pid, birth in born.items() if birth and _birth(int(pid)) == birth]
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.1)


def _birth(pid: int) -> str | None:
    """The start time of a process in clock ticks since boot; None where it cannot be told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    is_zombie = fields[0] == "Z"
    return None if is_zombie else fields[19]
