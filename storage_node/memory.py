"""Memory that the process does not need any more goes back to the system.

Under many connections pieces of up to a megabyte come and go, and glibc keeps what was freed, in up to eight arenas per
core: nothing leaks, and yet a node would stay as large as its busiest moment several times over. Fewer arenas share what
is free; now and then the rest is given back. Where the C library is another one, nothing is done and nothing breaks.
"""

import ctypes
import mmap
from pathlib import Path

# Numbers of glibc's malloc.h.
_M_ARENA_MAX = -8
ARENAS = 2
# Giving back means walking the heap: not for less than this.
WORTH_BYTES = 16 * 2**20
_libc = ctypes.CDLL(None)
_STATM = Path("/proc/self/statm")


def share_arenas() -> None:
    """To be called before the first thread starts: a thread keeps the arena it began with."""
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS)


def resident_bytes() -> int:
    """What of this process is in memory; 0 where the system does not say."""
    try:
        return int(_STATM.read_text().split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0


class Returning:
    """Gives back when the process has grown since it last did. One thread."""

    def __init__(self) -> None:
        self._trim = getattr(_libc, "malloc_trim", None)
        self._left_bytes = 0

    def look(self) -> None:
        """A few milliseconds when there is something to give back, next to nothing otherwise."""
        if self._trim is None or resident_bytes() < self._left_bytes + WORTH_BYTES:
            return
        # The interpreter is let go of meanwhile; who wants memory of the arena at hand waits for it.
        self._trim(0)
        self._left_bytes = resident_bytes()
