"""Ends calls that take too long altogether, whatever they are stuck in.

A socket's own timeout counts from the last byte, so an element that sends one byte a second is
never too slow for it. That is right for files and wrong for small answers: those get a deadline,
and when it passes the connection under the call is cut from here.
"""

import heapq
import itertools
import os
import socket
import threading
import time
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Call:
    """One call under way in one thread, and the connection it uses at the moment."""

    stall_seconds: float
    # Whether there is a deadline: only then is the connection of interest here.
    watched: bool = False
    expired: bool = False
    finished: bool = False
    body_started: bool = False
    # Whether it had to open its connection, so that nobody can have closed it as idle.
    connected: bool = False
    _line: socket.socket | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def uses(self, line: socket.socket) -> None:
        """The call goes on over the connection of `line`, which may be closed before its end."""
        if not self.watched:
            return
        with self._lock:
            if self._line is not None:
                self._line.close()
            self._line = line.dup()
            if self.expired:
                _shut(self._line)

    def expire(self) -> None:
        with self._lock:
            if self.finished:
                return
            self.expired = True
            if self._line is not None:
                _shut(self._line)

    def finish(self) -> None:
        """Nothing may be cut any more: the connection can belong to the next call."""
        with self._lock:
            self.finished = True
            if self._line is not None:
                self._line.close()
                self._line = None


def _shut(line: socket.socket) -> None:
    try:
        line.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was faster


class Watchdog:
    """One thread per process that expires the calls whose time is up."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._order = itertools.count()
        self._due: list[tuple[float, int, Call]] = []
        self._thread: threading.Thread | None = None

    def watch(self, call: Call, seconds: float) -> None:
        call.watched = True
        with self._wake:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), call))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="node-deadlines", daemon=True
                )
                self._thread.start()
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._due:
                    self._wake.wait()
                due, _number, call = self._due[0]
                left = due - time.monotonic()
                if left > 0 and not call.finished:
                    self._wake.wait(left)
                    continue
                heapq.heappop(self._due)
            call.expire()


watchdog = Watchdog()


def _forget_threads() -> None:
    """A forked child has the parent's objects but none of its threads."""
    watchdog.__init__()  # type: ignore[misc]  # the same object, since modules hold it


os.register_at_fork(after_in_child=_forget_threads)
