"""Keeping processes alive: who died is reported, swept up after and started again, ever slower.

Knows nothing of what the processes do.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from artstore.embedded import processes
from artstore.embedded.processes import Child

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
# Alive this long, a process counts as well again.
WELL_AFTER_SECONDS = 60.0

Say = Callable[[str], None]


@dataclass
class Tended:
    """One child that should be running, and when to try again when it is not."""

    child: Child
    stop_timeout_seconds: float
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    started_at: float = 0.0
    restart_at: float | None = field(default=None)

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def start(self) -> subprocess.Popen[bytes]:
        self.process = processes.spawn(self.child)
        self.started_at = time.monotonic()
        self.restart_at = None
        return self.process

    def note_death(self, say: Say) -> None:
        """Report a process that went by itself and decide when to start it again."""
        if self.process is None or self.process.poll() is None:
            return
        _sweep(self.process.pid)
        now = time.monotonic()
        if now - self.started_at > WELL_AFTER_SECONDS:
            self.failures = 0
        delay_seconds = min(FIRST_DELAY_SECONDS * 2**self.failures, LONGEST_DELAY_SECONDS)
        self.failures += 1
        self.restart_at = now + delay_seconds
        say(
            f"{self.child.name} (pid {self.process.pid}) {_how(self.process.returncode)}; "
            f"starting it again in {delay_seconds:g} s. Its log: {self.child.log_file}"
        )
        self.process = None

    def stop(self) -> bool:
        """Whether it went when asked. Nothing of its session is left either way."""
        if self.process is None:
            return True
        went = processes.stop(self.process, self.child.stop_signal, self.stop_timeout_seconds)
        _sweep(self.process.pid)
        self.process = None
        return went


def tend(family: list[Tended], say: Say) -> bool:
    """One look at everybody; answers whether a process was started or died."""
    changed = False
    for member in family:
        if member.process is not None and member.process.poll() is not None:
            member.note_death(say)
            changed = True
        if member.restart_at is not None and member.restart_at <= time.monotonic():
            process = member.start()
            say(f"{member.child.name} started again (pid {process.pid})")
            changed = True
    return changed


def seconds_until_next(family: list[Tended], at_most_seconds: float) -> float:
    """How long one may sleep, if no child dies, before somebody has to be started."""
    due = [member.restart_at for member in family if member.restart_at is not None]
    return max(0.0, min([at_most_seconds, *(moment - time.monotonic() for moment in due)]))


def _sweep(session_id: int) -> None:
    """Workers of a killed master would hold its port; each child leads a session of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(session_id, signal.SIGKILL)


def _how(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"stopped by itself with code {code}"
