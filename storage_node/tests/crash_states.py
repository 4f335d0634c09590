"""What a power cut can leave on a disk: a recorder of every operation, and a model that lays out the possible remains.

The recorder does each operation for real and writes it down. The model replays a beginning of what was written down onto an
imagined disk, leaving out operations that no sync has covered yet, and puts the result into a real directory.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import combinations, count
from pathlib import Path
from typing import Any

from storage_node.disk import NODE_FILE
from storage_node.index_rebuild import NEW_FILE
from storage_node.index_schema import INDEX_FILE, INDEX_WAL_FILE
from storage_node.medium import Medium
from storage_node.wal_format import PAGE_BYTES

CREATE, WRITE, TRUNCATE, RENAME, UNLINK, MKDIR = (
    "create",
    "write",
    "truncate",
    "rename",
    "unlink",
    "mkdir",
)
SYNC, SYNC_DIRECTORY, SYNC_ALL, ACKNOWLEDGED = "sync", "syncdir", "syncfs", "ack"
CHANGING = (CREATE, WRITE, TRUNCATE, RENAME, UNLINK, MKDIR)


@dataclass(frozen=True)
class Operation:
    """One thing done to the disk. `node` stands for an inode; an index commit is a write of the whole index."""

    kind: str
    path: str = ""
    node: int = 0
    target: str = ""
    offset: int = 0
    data: bytes = b""


class RecordingMedium(Medium):
    """Does and writes down. Any thread may come: the committer and a checkpoint work at the same time."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.operations: list[Operation] = []
        self._fds: dict[int, tuple[int, int]] = {}
        self._index_data = b""
        # A filesystem gives the inode number of a removed file to another one, sooner or later. Here every file made has
        # a number of its own, or it would be laid out with bytes of the one before.
        self._numbers = count(2**64)
        self._nodes: dict[int, int] = {}

    def _inode_of(self, status: os.stat_result) -> int:
        return status.st_ino

    def _node(self, path: str) -> int:
        inode = self._inode_of(os.stat(path, dir_fd=self.root, follow_symlinks=False))
        return self._nodes.get(inode, inode)

    def _made(self, path: str) -> int:
        """The number of a file that is new."""
        inode = self._inode_of(os.stat(path, dir_fd=self.root, follow_symlinks=False))
        self._nodes[inode] = next(self._numbers)
        return self._nodes[inode]

    def note(self, kind: str, **facts: Any) -> None:
        self.operations.append(Operation(kind, **facts))

    def note_index(self) -> None:
        """SQLite writes past the medium: after each of its commits the file as it would be read back is noted."""
        data = self._read_index()
        if data != self._index_data:
            self._index_data = data
            self.note(WRITE, path=INDEX_FILE, node=-1, data=data)

    def _read_index(self) -> bytes:
        with closing(sqlite3.connect(self.data_dir / INDEX_FILE)) as connection:
            return connection.serialize()

    def open_new(self, path: str) -> int:
        fd = super().open_new(path)
        node = self._made(path)
        self._fds[fd] = (node, 0)
        self.note(CREATE, path=path, node=node)
        return fd

    def put(self, path: str, data: bytes) -> None:
        was_there = self.exists(path)
        super().put(path, data)
        node = self._node(path) if was_there else self._made(path)
        self.note(TRUNCATE if was_there else CREATE, path=path, node=node)
        self.note(WRITE, node=node, data=data)

    def open_change(self, path: str) -> int:
        fd = super().open_change(path)
        node = self._made(path) if path == NEW_FILE else self._node(path)
        self._fds[fd] = (node, 0)
        if path == NEW_FILE:
            # Written by SQLite; to the disk it is a file made and filled by now, and synced next.
            self.note(CREATE, path=path, node=node)
            self.note(WRITE, node=node, data=self.read(path))
        return fd

    def open_read(self, path: str) -> int:
        fd = super().open_read(path)
        if path == INDEX_WAL_FILE:
            self._fds[fd] = (-1, 0)
        return fd

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> None:
        super().write(fd, data)
        if fd not in self._fds:
            return  # inside `put`, which notes it
        node, offset = self._fds[fd]
        self._fds[fd] = (node, offset + len(data))
        self.note(WRITE, node=node, offset=offset, data=bytes(data))

    def pwrite(self, fd: int, data: bytes, offset: int) -> None:
        super().pwrite(fd, data, offset)
        self.note(WRITE, node=self._fds[fd][0], offset=offset, data=data)

    def allocate(self, fd: int, length: int) -> None:
        """Not modelled: reserved blocks hold nothing."""

    def sync(self, fd: int) -> None:
        super().sync(fd)
        self.note(SYNC, node=self._fds[fd][0])

    def truncate(self, fd: int, length: int) -> None:
        super().truncate(fd, length)
        self.note(TRUNCATE, node=self._fds[fd][0], offset=length)

    def close_file(self, fd: int) -> None:
        # Forgotten first: once closed, another thread may be given the same number.
        self._fds.pop(fd, None)
        super().close_file(fd)

    def rename(self, source: str, target: str) -> None:
        node = self._node(source)
        super().rename(source, target)
        self.note(RENAME, path=source, target=target, node=node)

    def unlink(self, path: str) -> None:
        was_there = self.exists(path)
        super().unlink(path)
        if was_there:
            self.note(UNLINK, path=path)

    def make_directory(self, path: str) -> None:
        was_there = self.exists(path)
        super().make_directory(path)
        if not was_there:
            self.note(MKDIR, path=path)

    def sync_directory(self, path: str) -> None:
        super().sync_directory(path)
        self.note(SYNC_DIRECTORY, path=os.path.normpath(path))

    def sync_everything(self) -> None:
        super().sync_everything()
        self.note(SYNC_ALL)


@dataclass
class Disk:
    """Names and contents, as a disk would have them."""

    names: dict[str, int] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    contents: dict[int, bytearray] = field(default_factory=dict)

    @classmethod
    def of(cls, directory: Path) -> "Disk":
        """A real directory, all of it durable; the index without its own log, which a clean stop has folded."""
        disk = cls()
        for path in sorted(directory.rglob("*")):
            name = str(path.relative_to(directory))
            if path.is_dir():
                disk.folders.add(name)
            elif name == INDEX_FILE:
                disk.names[name] = -1
                disk.contents[-1] = bytearray(path.read_bytes())
            elif not name.startswith(INDEX_FILE):
                disk.names[name] = path.stat().st_ino
                disk.contents[path.stat().st_ino] = bytearray(path.read_bytes())
        return disk

    def apply(self, operation: Operation) -> None:
        kind, node = operation.kind, operation.node
        if kind == CREATE:
            self.names[operation.path] = node
            self.contents.setdefault(node, bytearray())
        elif kind == WRITE and node == -1:
            self.names[INDEX_FILE] = -1
            self.contents[-1] = bytearray(operation.data)
        elif kind == WRITE:
            content = self.contents.setdefault(node, bytearray())
            end = operation.offset + len(operation.data)
            content.extend(bytes(max(0, end - len(content))))
            content[operation.offset : end] = operation.data
        elif kind == TRUNCATE:
            del self.contents.setdefault(node, bytearray())[operation.offset :]
        elif kind == RENAME:
            self.names.pop(operation.path, None)
            self.names[operation.target] = node
        elif kind == UNLINK:
            self.names.pop(operation.path, None)
        elif kind == MKDIR:
            self.folders.add(operation.path)

    def lay_out(self, directory: Path) -> None:
        """Into an empty real directory."""
        for folder in sorted(self.folders):
            (directory / folder).mkdir(parents=True, exist_ok=True)
        for name, node in self.names.items():
            # A directory whose making was lost takes the names in it along.
            if (directory / name).parent.is_dir():
                (directory / name).write_bytes(self.contents.get(node, b""))
        if INDEX_FILE in self.names and NODE_FILE in self.names:
            _bind_index(directory)

    def digest(self) -> bytes:
        """The same for disks that look the same."""
        sum_ = hashlib.sha256(repr(sorted(self.folders)).encode())
        for name in sorted(self.names):
            sum_.update(
                name.encode()
                + b"\0"
                + hashlib.sha256(self.contents.get(self.names[name], b"")).digest()
            )
        return sum_.digest()

    def copy(self) -> "Disk":
        contents = {node: bytearray(content) for node, content in self.contents.items()}
        return Disk(dict(self.names), set(self.folders), contents)


def _bind_index(directory: Path) -> None:
    """Laid out anew, node.json has another inode; the index that belonged to the old one belongs to it."""
    inode = (directory / NODE_FILE).stat().st_ino
    with closing(sqlite3.connect(directory / INDEX_FILE)) as connection:
        connection.execute("UPDATE state SET node_inode = ?", (inode,))
        connection.commit()


def is_covered(operation: Operation, sync: Operation) -> bool:
    """Whether a sync puts an earlier operation on the medium."""
    if sync.kind == SYNC_ALL:
        # The index is not modelled page by page; its own sync decides.
        return operation.node != -1
    if sync.kind == SYNC:
        return operation.kind in (WRITE, TRUNCATE) and operation.node == sync.node
    if sync.kind != SYNC_DIRECTORY or operation.kind not in (CREATE, RENAME, UNLINK, MKDIR):
        return False
    changed = operation.target if operation.kind == RENAME else operation.path
    return str(Path(changed).parent) == sync.path


def unsynced(operations: list[Operation]) -> list[int]:
    """Positions of changing operations that no later sync covers."""
    open_: list[int] = []
    for position, operation in enumerate(operations):
        if operation.kind in CHANGING:
            open_.append(position)
        elif operation.kind != ACKNOWLEDGED:
            open_ = [earlier for earlier in open_ if not is_covered(operations[earlier], operation)]
    return open_


def remains(
    before: Disk, operations: list[Operation], most_lost: int
) -> Iterator[tuple[str, Disk]]:
    """(what was lost, the disk) for a power cut after `operations`: all there, all unsynced lost, up to `most_lost` lost."""
    losable = unsynced(operations)
    choices: list[tuple[int, ...]] = [(), tuple(losable)] if losable else [()]
    for length in range(1, most_lost + 1):
        choices += [lost for lost in combinations(losable, length) if len(lost) < len(losable)]
    for lost in choices:
        disk = before.copy()
        for position, operation in enumerate(operations):
            if position not in lost:
                disk.apply(operation)
        yield "lost " + ", ".join(f"{i}:{operations[i].kind}" for i in lost), disk
    # A write is torn while it is the last thing done; later beginnings have the same states without it.
    if operations and operations[-1].kind == WRITE:
        yield from _torn(before, operations, losable)


def _torn(
    before: Disk, operations: list[Operation], losable: list[int]
) -> Iterator[tuple[str, Disk]]:
    """The last unsynced write of several pages, with each of its pages lost, and with each the only one to arrive."""
    writes = [
        position
        for position in losable
        if operations[position].kind == WRITE and operations[position].node != -1
    ]
    if not writes or len(operations[writes[-1]].data) <= PAGE_BYTES:
        return
    at = writes[-1]
    whole = operations[at]
    starts = range(0, len(whole.data), PAGE_BYTES)
    for keep in [{start} for start in starts] + [set(starts) - {start} for start in starts]:
        disk = before.copy()
        for position, operation in enumerate(operations):
            if position != at:
                disk.apply(operation)
                continue
            for start in sorted(keep):
                piece = whole.data[start : start + PAGE_BYTES]
                disk.apply(
                    Operation(WRITE, node=whole.node, offset=whole.offset + start, data=piece)
                )
        yield f"torn {at}: pages {sorted(keep)} of {len(whole.data)} bytes arrived", disk
