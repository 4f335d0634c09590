"""Starting and stopping one child process. What to start is decided elsewhere.

Every child is a direct one and gets a signal from the kernel when its parent dies, so a killed
supervisor leaves nothing behind. The kernel watches the *thread* that started the child:
`spawn` must be called from a thread that lives as long as the child, the main one.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from artstore.embedded.errors import ChildFailed

_PR_SET_PDEATHSIG = 1
_LOG_TAIL_LINES = 15
# Loaded before any fork: between fork and exec nothing may be imported.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Identity:
    """The user and group a child runs as."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Child:
    """What to run: never a secret in `argv`, those travel in `environment`."""

    name: str
    argv: Sequence[str]
    log_file: Path
    environment: Mapping[str, str] = field(repr=False)
    directory: Path = Path("/")
    run_as: Identity | None = None
    stop_signal: signal.Signals = signal.SIGTERM


def spawn(child: Child) -> subprocess.Popen[bytes]:
    """Start `child` in its own session, output appended to its log."""
    identity = child.run_as
    with open_log(child.log_file) as log:
        return subprocess.Popen(  # noqa: S603 - argv comes from our own plan
            list(child.argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=child.directory,
            env=dict(child.environment),
            start_new_session=True,
            user=identity.uid if identity else None,
            group=identity.gid if identity else None,
            extra_groups=[] if identity else None,
            umask=0o077,
            preexec_fn=_die_with_parent(child.stop_signal, os.getpid()),  # noqa: PLW1509 - the caller has one thread
        )


def open_log(path: Path) -> BinaryIO:
    """To append to, and for its owner alone: logs name files and people."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def _die_with_parent(stop_signal: signal.Signals, parent_pid: int) -> Callable[[], None] | None:
    if _LIBC is None:
        return None
    prctl = _LIBC.prctl

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
        if os.getppid() != parent_pid:  # it died between fork and prctl
            os._exit(1)

    return arm


def stop(
    process: subprocess.Popen[bytes], stop_signal: signal.Signals, timeout_seconds: float
) -> bool:
    """Ask, wait, and only then kill. Answers whether it went by itself."""
    if process.poll() is not None:
        return True
    process.send_signal(stop_signal)
    try:
        process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def wait_until(
    is_ready: Callable[[], bool],
    process: subprocess.Popen[bytes],
    child: Child,
    timeout_seconds: float,
) -> None:
    """Wait for `is_ready`; fails with the end of the log when the child dies or takes too long."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        code = process.poll()
        if code is not None:
            raise ChildFailed(
                f"{child.name} stopped at start with code {code}; its log {child.log_file} ends:\n"
                f"{log_tail(child.log_file)}"
            )
        if is_ready():
            return
        if time.monotonic() > deadline:
            raise ChildFailed(
                f"{child.name} was not ready after {timeout_seconds:.0f} s; its log "
                f"{child.log_file} ends:\n{log_tail(child.log_file)}"
            )
        time.sleep(0.05)


def log_tail(log_file: Path) -> str:
    """The last lines of a log, indented, to be shown where something failed."""
    try:
        text = log_file.read_bytes()[-16_384:].decode(errors="replace")
    except FileNotFoundError:
        return "    (there is no log)"
    return "\n".join(f"    {line}" for line in text.splitlines()[-_LOG_TAIL_LINES:])
