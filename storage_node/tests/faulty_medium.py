"""Disks that fail, wait, or fill up: fakes at the medium, for real engines."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from storage_node.medium import Medium

Rule = Callable[[str, str], int]


class GatedMedium(Medium):
    """Holds syncs of the log back until it is told to let them go."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self._gate = threading.Event()
        self._gate.set()
        self._reached = threading.Event()

    @contextmanager
    def hold_log_syncs(self) -> Iterator["GatedMedium"]:
        self._reached.clear()
        self._gate.clear()
        try:
            yield self
        finally:
            self._gate.set()

    def wait_until_reached(self) -> None:
        assert self._reached.wait(10)

    def sync(self, fd: int) -> None:
        if "/wal/" in str(Path(f"/proc/self/fd/{fd}").readlink()):
            self._reached.set()
            assert self._gate.wait(10)
        super().sync(fd)


class FaultyMedium(Medium):
    """Fails operations as `rule(operation, path)` says: it returns an errno, or 0 for fine."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.rule: Rule = lambda _operation, _path: 0
        self.failed: list[tuple[str, str]] = []
        self.free: int | Callable[[], int] | None = None

    def _check(self, operation: str, path: str) -> None:
        code = self.rule(operation, path)
        if code:
            self.failed.append((operation, path))
            raise OSError(code, os.strerror(code), path)

    def _path_of(self, fd: int) -> str:
        return str(Path(f"/proc/self/fd/{fd}").readlink().relative_to(self.data_dir))

    def free_bytes(self) -> int:
        told = self.free() if callable(self.free) else self.free
        return super().free_bytes() if told is None else told

    def open_new(self, path: str) -> int:
        self._check("create", path)
        return super().open_new(path)

    def put(self, path: str, data: bytes) -> None:
        self._check("put", path)
        super().put(path, data)

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> None:
        self._check("write", self._path_of(fd))
        super().write(fd, data)

    def pwrite(self, fd: int, data: bytes, offset: int) -> None:
        path = self._path_of(fd)
        if self.rule("short", path):
            super().pwrite(fd, data[: len(data) // 2], offset)
            raise OSError(errno.ENOSPC, "short write", path)
        self._check("pwrite", path)
        super().pwrite(fd, data, offset)

    def sync(self, fd: int) -> None:
        self._check("sync", self._path_of(fd))
        super().sync(fd)

    def truncate(self, fd: int, length: int) -> None:
        self._check("truncate", self._path_of(fd))
        super().truncate(fd, length)

    def rename(self, source: str, target: str) -> None:
        self._check("rename", target)
        super().rename(source, target)

    def make_directory(self, path: str) -> None:
        self._check("mkdir", path)
        super().make_directory(path)

    def sync_directory(self, path: str) -> None:
        self._check("syncdir", path)
        super().sync_directory(path)

    def sync_everything(self) -> None:
        self._check("syncfs", ".")
        super().sync_everything()
