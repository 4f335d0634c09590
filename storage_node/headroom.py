"""Room kept for the worst moment: one file that is given up when the disk is full, so that deletions, garbage collection
and the checkpoint can still finish, and made again when there is room."""

import logging

from storage_node.medium import Medium

PATH = "wal/headroom"
HEADROOM_BYTES = 16 * 2**20
_ZEROS = bytes(2**20)
log = logging.getLogger(__name__)


class Headroom:
    """The file `wal/headroom`."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium

    def keep(self, min_free_bytes: int) -> bool:
        """Makes the file if it is not whole and the disk has room for it and `min_free_bytes` besides; says whether it is whole."""
        medium = self._medium
        if medium.size(PATH) == HEADROOM_BYTES:
            return True
        if medium.free_bytes() < 2 * HEADROOM_BYTES + min_free_bytes:
            return False
        medium.unlink(PATH)
        fd = medium.open_new(PATH)
        try:
            for _ in range(HEADROOM_BYTES // len(_ZEROS)):
                medium.write(fd, _ZEROS)
            medium.sync(fd)
        except OSError:
            medium.unlink(PATH)
            raise
        finally:
            medium.close_file(fd)
        return True

    def give_up(self) -> bool:
        """Frees the room; says whether there was any to free."""
        had = self._medium.size(PATH) is not None
        if had:
            log.warning("disk full: the headroom is given up", extra={"event": "headroom"})
            self._medium.unlink(PATH)
        return had
