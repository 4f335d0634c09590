"""Processes that read the attributes files of an element beside each other, for the rebuild of its index.

Each is this module run as a program: it is given paths of leaves and gives back their rows, in the order it was asked,
until nobody asks any more. It changes nothing on the disk and does not hold the directory's lock, so one that outlives
its parent by a moment is in nobody's way. What is done with the rows, and what follows from a lost reader, is
`index_rebuild.py`'s.
"""

import ctypes
import marshal
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import IO, Any, Self

from storage_node.disk import Disk
from storage_node.leaf_rows import Harvest, harvest
from storage_node.medium import Medium

# Orders a reader has before it while its answers are taken: it never waits for the next.
AHEAD = 2
# Beyond this many the process that stores the rows is the slower one.
MOST = 6
_LENGTH_BYTES = 8
_PROGRAM_DIR = Path(__file__).parent.parent
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class ReaderLost(Exception):
    """A reader could not be started, or ended before it was told to."""


def usable_cores() -> int:
    """How many readers are worth their while on this machine; 0 where there is no second core."""
    cores = len(os.sched_getaffinity(0))
    return min(cores, MOST) if cores > 1 else 0


class LeafReaders:
    """`count` readers of one data directory; they end with the block."""

    def __init__(self, medium: Medium, count: int) -> None:
        self._medium = medium
        self._count = count
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        root = self._medium.another_root()
        try:
            for _ in range(self._count):
                self._running.append(_started(root))
        except OSError as error:
            self._end()
            raise ReaderLost(str(error)) from error
        finally:
            os.close(root)
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def harvests(self, orders: Iterable[list[str]]) -> Iterator[Harvest]:
        """The answers to `orders`, in their order. `OSError` as the reader met it, `ReaderLost`."""
        asked: deque[subprocess.Popen[bytes]] = deque()
        for order, reader in zip(orders, cycle(self._running), strict=False):
            _ask(reader, order)
            asked.append(reader)
            if len(asked) == AHEAD * len(self._running):
                yield _answer(asked.popleft())
        while asked:
            yield _answer(asked.popleft())

    def _end(self) -> None:
        """At once: a reader has nothing to finish."""
        for reader in self._running:
            reader.kill()
            reader.wait()
            for pipe in (reader.stdin, reader.stdout):
                # What was still to be sent to it can not be.
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]  # both are pipes, see `_started`


def _started(root: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "storage_node.leaf_readers", str(root)]
    return subprocess.Popen(  # noqa: S603  # our own interpreter and module
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(root,),
        cwd=_PROGRAM_DIR,
    )


def _ask(reader: subprocess.Popen[bytes], order: list[str]) -> None:
    assert reader.stdin is not None
    try:
        _send(reader.stdin, order)
    except OSError as error:
        raise ReaderLost(_how_it_ended(reader)) from error


def _answer(reader: subprocess.Popen[bytes]) -> Harvest:
    assert reader.stdout is not None
    said = _received(reader.stdout)
    if said is None:
        raise ReaderLost(_how_it_ended(reader))
    found, failure = said
    if failure is not None:
        raise OSError(*failure)
    rows, newest_at, unfinished = found
    return rows, newest_at, unfinished


def _how_it_ended(reader: subprocess.Popen[bytes]) -> str:
    return f"a reader ended early, with status {reader.wait()}"


def _send(pipe: IO[bytes], what: Any) -> None:
    raw = marshal.dumps(what)
    pipe.write(len(raw).to_bytes(_LENGTH_BYTES, "big") + raw)
    pipe.flush()


def _received(pipe: IO[bytes]) -> Any:
    """None at the end, also where it comes amid a message."""
    head = pipe.read(_LENGTH_BYTES)
    length = int.from_bytes(head, "big")
    raw = pipe.read(length)
    if len(head) < _LENGTH_BYTES or len(raw) < length:
        return None
    return marshal.loads(raw)  # noqa: S302  # from our own child, or from our parent


def _serve(root: int) -> None:
    os.fchdir(root)
    disk = Disk(Medium(Path(os.curdir)))
    while (paths := _received(sys.stdin.buffer)) is not None:
        try:
            said: Any = (harvest(disk, paths), None)
        except OSError as error:
            said = (None, (error.errno, error.strerror, error.filename))
        _send(sys.stdout.buffer, said)


def main() -> None:
    """A reader: argument one is the descriptor of the data directory. Ends when its parent does."""
    # A signal to the whole group (Ctrl-C, systemd) is for the parent to follow, who then closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # A parent that was killed closes it as well; this ends a reader that a sick disk holds up, too.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with suppress(BrokenPipeError):
        _serve(int(sys.argv[1]))
    # What could not be told to a parent that is gone is not tried again on the way out.
    os._exit(0)


if __name__ == "__main__":
    main()
