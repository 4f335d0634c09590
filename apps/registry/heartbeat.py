"""Says in the database that this worker is alive, every few seconds, from a thread of its own."""

import logging
import os
import socket
import threading
from collections.abc import Callable

from django.db import DatabaseError

from apps.registry.models import WorkerHeartbeat
from artstore import database

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 15.0


class Heart:
    """Beats from `start` to `stop`."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._quietly(lambda: WorkerHeartbeat.leave(self.name))

    def beat(self) -> None:
        """One sign of life."""
        self._quietly(lambda: WorkerHeartbeat.beat([self.name]))

    @staticmethod
    def _quietly(write: Callable[[], None]) -> None:
        """A database that is away is somebody else's alarm."""
        try:
            write()
        except DatabaseError:
            logger.warning("the heartbeat was not written", exc_info=True)
        finally:
            database.release()

    def _run(self) -> None:
        self.beat()
        while not self._stopped.wait(PERIOD_SECONDS):
            self.beat()
