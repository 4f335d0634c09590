"""What is wrong with the element at the moment, and whether it may still write.

Set by whoever meets a failure, read by whoever is about to write and by the health answers. A failed disk stays failed
until the node is restarted, because a sync that failed once can not be repeated safely.
"""

import errno
import logging
import threading

from storage_node.errors import NodeError, NotWritable, StorageFull

log = logging.getLogger(__name__)
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Health:
    """Reasons the element is degraded: failures last, shortages pass."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failure: str | None = None
        self._shortages: dict[str, str] = {}

    @property
    def failure(self) -> str | None:
        """Why nothing may be written until a restart, None when all is well."""
        return self._failure

    @property
    def reasons(self) -> list[str]:
        """Everything to be said about it."""
        with self._lock:
            told = [self._failure, *self._shortages.values()]
        return [reason for reason in told if reason]

    def fail(self, reason: str) -> None:
        """The disk failed: no more writes. The first reason stays, it is the cause of the others."""
        with self._lock:
            if self._failure is None:
                log.error("degraded: %s", reason, extra={"event": "degraded"})
                self._failure = reason

    def lack(self, who: str, reason: str | None) -> None:
        """The disk is too full at the moment for what `who` wants, or (None) no longer is."""
        with self._lock:
            if reason == self._shortages.get(who):
                return
            if reason is None:
                del self._shortages[who]
            else:
                self._shortages[who] = reason
        log.warning("disk: %s", reason or f"has room again for {who}", extra={"event": "disk_room"})

    def require_writable(self) -> None:
        """Raises `NotWritable` when the disk has failed."""
        if self._failure is not None:
            raise NotWritable(
                f"Changes are refused: {self._failure}. Reads go on; restart the node when the disk is well."
            )

    def refusal(self, attempted: str, error: OSError) -> NodeError:
        """The answer to a change that failed before its record was written; a failing disk degrades the element."""
        if error.errno in NO_ROOM:
            return StorageFull(f"{attempted} was refused: the disk is full. Nothing was stored.")
        self.fail(f"the disk failed ({error.strerror or error})")
        return NotWritable(
            f"{attempted} was refused: the disk failed. Nothing was stored; reads go on."
        )
