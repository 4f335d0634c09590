"""Keeping background work slow enough that callers do not feel it."""

import threading
from collections.abc import Callable

_never = threading.Event()
FILES_PER_SECOND = 20_000
# Shorter pauses are saved up: waking a thread for a microsecond costs more than it gives.
_SHORTEST_PAUSE_SECONDS = 0.02


class Pace:
    """Called with the work just done; waits until that work has had its time. False when the work should end."""

    def __init__(
        self, bytes_per_second: int, monotonic: Callable[[], float], wait: Callable[[float], bool]
    ) -> None:
        self._bytes_per_second = bytes_per_second
        self._monotonic = monotonic
        self._wait = wait
        self._free_at = monotonic()
        self.is_stopped = False

    def __call__(self, files: int, size_bytes: int) -> bool:
        now = self._monotonic()
        self._free_at = (
            max(self._free_at, now - 1.0)
            + files / FILES_PER_SECOND
            + size_bytes / self._bytes_per_second
        )
        pause_seconds = self._free_at - now
        if self._wait(pause_seconds if pause_seconds > _SHORTEST_PAUSE_SECONDS else 0.0):
            self.is_stopped = True
        return not self.is_stopped


def never_stopped(seconds: float) -> bool:
    """A wait that nobody interrupts."""
    if seconds > 0:
        _never.wait(seconds)
    return False
