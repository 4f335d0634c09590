"""The operations that touch the medium, one method each: all that the node does to a disk goes through here.

Paths are relative to the data directory, resolved from a descriptor held since start, so a mount that vanishes can not
be mistaken for an empty directory. What the paths mean is `disk.py`'s and `wal.py`'s business. Tests subclass `Medium`
to record operations, to fail them, and to lay out what a power cut could leave. Errors are `OSError`s, untranslated.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from storage_node.errors import RefusedToStart

FILE_MODE = 0o640
DIRECTORY_MODE = 0o750
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_PUT = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)
SYNC_FILE_RANGE_WRITE = 2


class Medium:
    """One data directory on a local filesystem."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.root = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Gives the directory back; its flock goes with it."""
        if self.root >= 0:
            os.close(self.root)
            self.root = -1

    def another_root(self) -> int:
        """A descriptor of the same directory that the lock does not hang on: for a process that reads and may live on."""
        return os.open(os.curdir, _LOOK, dir_fd=self.root)

    # Reading

    def open_read(self, path: str) -> int:
        """A descriptor for reading; symbolic links are not followed."""
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.root)

    def read(self, path: str) -> bytes:
        """The whole of a small file."""
        fd = self.open_read(path)
        try:
            size = os.fstat(fd).st_size
            pieces = []
            while piece := os.read(fd, max(size, 4096)):
                pieces.append(piece)
            return b"".join(pieces)
        finally:
            os.close(fd)

    def read_start(self, path: str, length: int) -> bytes:
        """Up to `length` bytes from the start of a file; fewer also where the disk fails further on."""
        fd = self.open_read(path)
        try:
            return os.read(fd, length)
        finally:
            os.close(fd)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        """Up to `length` bytes at `offset`; fewer only at the end of the file."""
        return os.pread(fd, length, offset)

    def size(self, path: str) -> int | None:
        """Bytes in a regular file, None where there is none."""
        try:
            found = os.stat(path, dir_fd=self.root, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def exists(self, path: str) -> bool:
        """Whether anything has this name."""
        try:
            os.stat(path, dir_fd=self.root, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def inode(self, path: str) -> int:
        """The inode number of a file."""
        return os.stat(path, dir_fd=self.root, follow_symlinks=False).st_ino

    def names(self, path: str) -> list[str]:
        """Sorted names in a directory; none where there is no directory."""
        return sorted(self.all_names(path))

    def entries(self, path: str) -> Iterator[tuple[str, bool]]:
        """(name, is a directory) of everything in a directory, in no order."""
        try:
            fd = os.open(path, _LOOK, dir_fd=self.root)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            with os.scandir(fd) as found:
                yield from ((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
        finally:
            os.close(fd)

    def all_names(self, path: str) -> list[str]:
        """Names of everything in a directory, in no order; none where there is no directory."""
        try:
            fd = os.open(path, _LOOK, dir_fd=self.root)
        except (FileNotFoundError, NotADirectoryError):
            return []
        try:
            return os.listdir(fd)  # noqa: PTH208  # of a descriptor, which no Path stands for
        finally:
            os.close(fd)

    def free_bytes(self) -> int:
        """What an unprivileged process could still write."""
        room = os.fstatvfs(self.root)
        return room.f_bavail * room.f_frsize

    def is_same_directory(self) -> bool:
        """Whether the path given at start still leads to the directory opened then."""
        try:
            now, then = self.data_dir.stat(), os.fstat(self.root)
        except OSError:
            return False
        return (now.st_dev, now.st_ino) == (then.st_dev, then.st_ino) and then.st_nlink > 0

    # Changing

    def create(self, path: str, data: bytes) -> None:
        """A new file with `data`, unsynced. On failure nothing of it stays."""
        fd = self.open_new(path)
        try:
            self.write(fd, data)
        except OSError:
            self.unlink(path)
            raise
        finally:
            self.close_file(fd)

    def put(self, path: str, data: bytes) -> None:
        """A file with exactly `data`, unsynced, whatever was there; a failure may leave a part of it."""
        fd = os.open(path, _PUT, FILE_MODE, dir_fd=self.root)
        try:
            self.write(fd, data)
        finally:
            os.close(fd)

    def open_new(self, path: str) -> int:
        """A descriptor to write a file that did not exist."""
        return os.open(path, _NEW, FILE_MODE, dir_fd=self.root)

    def open_change(self, path: str) -> int:
        """A descriptor to read and overwrite an existing file."""
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.root)

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> None:
        """Appends all of `data` at the descriptor's place."""
        done = os.write(fd, data)
        while done < len(data):
            done += os.write(fd, memoryview(data)[done:])

    def pwrite(self, fd: int, data: bytes, offset: int) -> None:
        """Writes all of `data` at `offset`; a short write is an error, for the caller to undo."""
        done = os.pwrite(fd, data, offset)
        if done != len(data):
            raise OSError(errno.ENOSPC, f"only {done} of {len(data)} bytes were written")

    def sync(self, fd: int) -> None:
        """Returns when the file's bytes, and what is needed to find them, are on the medium."""
        os.fdatasync(fd)

    def start_write_back(self, fd: int, offset: int, length: int) -> None:
        """Asks the kernel to begin writing a range, so that the sync at the end finds little to do. A hint only."""
        _libc.sync_file_range(
            fd, ctypes.c_int64(offset), ctypes.c_int64(length), SYNC_FILE_RANGE_WRITE
        )

    def allocate(self, fd: int, length: int) -> None:
        """Reserves blocks, so that a full disk shows before the body is sent. Not every filesystem can: then nothing."""
        try:
            os.posix_fallocate(fd, 0, length)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise

    def truncate(self, fd: int, length: int) -> None:
        """Cuts a file."""
        os.ftruncate(fd, length)

    def close_file(self, fd: int) -> None:
        """Closes a descriptor that `open_*` gave."""
        os.close(fd)

    def rename(self, source: str, target: str) -> None:
        """Moves a name, replacing what is at the target in one step."""
        os.rename(source, target, src_dir_fd=self.root, dst_dir_fd=self.root)

    def unlink(self, path: str) -> None:
        """Removes a name; fine if it is gone already."""
        try:
            os.unlink(path, dir_fd=self.root)
        except FileNotFoundError:
            return

    def make_directory(self, path: str) -> None:
        """Makes one directory; fine if it is there already."""
        try:
            os.mkdir(path, DIRECTORY_MODE, dir_fd=self.root)
        except FileExistsError:
            return

    def sync_directory(self, path: str) -> None:
        """Returns when the names in a directory are on the medium."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.root)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def sync_everything(self) -> None:
        """Returns when all written so far on this filesystem is on the medium, errors since start included."""
        if _libc.syncfs(self.root) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


def filesystem_type(data_dir: Path) -> str:
    """The type of the filesystem a directory lies on, as /proc/self/mountinfo names it; empty where unknown."""
    device = data_dir.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = (
            Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        )
    except OSError:
        return ""
    for line in lines:
        fields = line.split(" ")
        if fields[2] == wanted and "-" in fields:
            return fields[fields.index("-") + 1]
    return ""


_NETWORK_TYPES = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "fuse.sshfs",
    "ceph",
    "glusterfs",
    "lustre",
    "afs",
    "fuse.glusterfs",
)


def refuse_network_filesystem(data_dir: Path) -> None:
    """Raises `RefusedToStart` for filesystems whose locks and syncs can not be relied on."""
    kind = filesystem_type(data_dir)
    if kind.startswith(_NETWORK_TYPES):
        raise RefusedToStart(
            f"{data_dir} lies on {kind}, a network filesystem, whose locks and syncs can not be relied on. "
            "Use a local disk, or set SE_ALLOW_NETWORK_FS=1 knowing that a power cut may lose files."
        )
