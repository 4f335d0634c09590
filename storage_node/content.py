"""The bytes of one file, open for reading. Found and checked here; ranges and headers are the door's business."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from storage_node.attributes import FileAttributes
from storage_node.disk import Disk
from storage_node.errors import FileDamaged, InternalError
from storage_node.index_schema import Row
from storage_node.names import content_path


@dataclass(frozen=True, slots=True)
class Seen:
    """Where the bytes of a file were found, by the row that said so: good as long as that row is the file's."""

    row: Row
    path: str


class Content:
    """A descriptor and what it is of. Close it, or use it as a context."""

    def __init__(self, fd: int, attributes: FileAttributes, seen: "Seen | None" = None) -> None:
        self.fd = fd
        self.attributes = attributes
        self.size_bytes = attributes.size
        self.seen = seen

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes at `offset`; fewer only when the file ends or the kernel hands out less at once."""
        return os.pread(self.fd, length, offset)

    def close(self) -> None:
        """Gives the descriptor back; twice is harmless."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def content_in_memory(file: FileAttributes, body: bytes) -> Content:
    """The bytes of a file that is durable in the log and not in its place yet, behind a descriptor like any other."""
    fd = os.memfd_create("body", os.MFD_CLOEXEC)
    os.write(fd, body)
    return Content(fd, file)


def read_again(disk: Disk, seen: Seen) -> bytes | None:
    """The whole of a small file in as few steps as there are; None where `open_content` has to say what is wrong."""
    try:
        # One byte more than there should be shows a file that has grown.
        body = disk.medium.read_start(seen.path, seen.row.size + 1)
    except OSError:
        return None
    return body if len(body) == seen.row.size else None


def open_content(disk: Disk, row: Row, found_damaged: Callable[[str], None]) -> Content:
    """Opens the bytes; raises `FileDamaged` rather than give wrong ones, and tells `found_damaged` what is new about that."""
    file = row.file
    if row.damage is not None or file is None:
        raise FileDamaged(
            f"Download was refused: {row.file_id} is damaged ({row.damage}). An operator has to look."
        )
    try:
        path = content_path(row.file_id, file.stored_name)
        fd = disk.medium.open_read(path)
    except FileNotFoundError:
        found_damaged("missing_file")
        raise FileDamaged(
            f"Download was refused: the bytes of {row.file_id} are missing. Run reconcile."
        ) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileDamaged(
                f"Download was refused: there is a link in place of {row.file_id}."
            ) from None
        raise InternalError(
            f"Download failed: {row.file_id} can not be opened ({error.strerror})."
        ) from error
    if os.fstat(fd).st_size != file.size:
        os.close(fd)
        found_damaged("size_mismatch")
        raise FileDamaged(
            f"Download was refused: {row.file_id} is not as long as it was stored. Run reconcile."
        )
    return Content(fd, file, Seen(row, path))
