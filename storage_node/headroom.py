"""Room kept for the worst moment: one file that is given up when the disk is full, so that deletions, garbage collection
and the checkpoint can still finish, and made again when there is room."""

import logging

from storage_node.medium import Medium

PATH = "wal/headroom"
_ZEROS = bytes(2**20)
log = logging.getLogger(__name__)


class Headroom:
    """The file `wal/headroom`."""

    def __init__(self, medium: Medium, size_bytes: int) -> None:
        self._medium = medium
        self._size_bytes = size_bytes
        # Given up: what is left of the room is for deletions, so nothing new is taken in until it is whole again.
        self.is_given_up = False

    def keep(self, min_free_bytes: int) -> bool:
        """Makes the file if it is not whole and the disk has room for it and `min_free_bytes` besides; says whether it is whole."""
        medium = self._medium
        if medium.size(PATH) == self._size_bytes:
            self.is_given_up = False
            return True
        if medium.free_bytes() < 2 * self._size_bytes + min_free_bytes:
            self.is_given_up = True
            return False
        medium.unlink(PATH)
        fd = medium.open_new(PATH)
        try:
            for start in range(0, self._size_bytes, len(_ZEROS)):
                medium.write(fd, _ZEROS[: self._size_bytes - start])
            medium.sync(fd)
        except OSError:
            medium.unlink(PATH)
            raise
        finally:
            medium.close_file(fd)
        self.is_given_up = False
        return True

    def give_up(self) -> bool:
        """Frees the room; says whether there was any to free."""
        had = self._medium.size(PATH) is not None
        if had:
            log.warning("disk full: the headroom is given up", extra={"event": "headroom"})
            self._medium.unlink(PATH)
            self.is_given_up = True
        return had
