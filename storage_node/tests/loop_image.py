"""A small real ext4 filesystem on a loop device, whose power a test can cut and which a test can fill."""

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
# A disk in memory: a power cut is about what was asked to be written, not about what writes it.
_MEMORY = Path("/dev/shm")


class NoLoopMounts(Exception):
    """This machine or this user can not mount an image; the message says why."""


class LoopImage:
    """An image of `size_bytes`, mounted at `at`. `close` always."""

    def __init__(self, at: Path, size_bytes: int) -> None:
        self.at = at
        scratch = _MEMORY if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) else None
        self._directory = Path(tempfile.mkdtemp(prefix="artstore-image-", dir=scratch))
        self._image = self._directory / "disk.ext4"
        with self._image.open("wb") as file:
            file.truncate(size_bytes)
        try:
            if os.geteuid() != 0:
                raise NoLoopMounts("mounting an image needs root")
            # No blocks kept for root, or the node as root would never meet a full disk where others do.
            _run("mkfs.ext4", "-q", "-F", "-m", "0", str(self._image))
            at.mkdir(parents=True, exist_ok=True)
            self.mount()
        except NoLoopMounts:
            shutil.rmtree(self._directory)
            raise

    def mount(self) -> None:
        """Makes it appear; the kernel replays the filesystem's journal."""
        _run("mount", "-o", "loop", str(self._image), str(self.at))

    def cut_power(self) -> None:
        """From now on nothing reaches the image, not even what the filesystem's journal holds in memory."""
        fd = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def power_on(self) -> None:
        """After a power cut, when whoever used it is gone: what the image holds is mounted as a disk of its own.

        A copy, because a browser's sandbox elsewhere on the machine may have taken the old mount along into its own
        namespace; then the filesystem that was shut down is still there, and mounting the image again gives that one back.
        """
        _run("umount", "-l", str(self.at))
        found = self._image
        self._image = found.with_name(f"{found.stem}+.ext4")
        _run("cp", "--sparse=always", str(found), str(self._image))
        found.unlink()
        self.mount()

    def fill(self) -> Path:
        """Somebody else's file takes all the room that is left; its path."""
        path = self.at / "somebody-elses"
        with path.open("ab") as file:
            for piece_bytes in (2**20, 2**16, 4096):
                try:
                    while True:
                        os.write(file.fileno(), bytes(piece_bytes))
                except OSError:
                    continue
        return path

    def free_bytes(self) -> int:
        """What is left."""
        room = os.statvfs(self.at)
        return room.f_bavail * room.f_frsize

    def close(self) -> None:
        """Unmounts and removes the image."""
        subprocess.run(["umount", "-l", str(self.at)], capture_output=True, check=False)
        shutil.rmtree(self._directory, ignore_errors=True)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise NoLoopMounts(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        raise NoLoopMounts(f"{' '.join(command)}: {done.stderr.strip()}")
