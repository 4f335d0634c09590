"""A beat that runs once even when it is started twice.

Whoever holds an advisory lock in the database sends the periodic tasks; the others wait for it to
be free. The lock belongs to a connection, so it goes with its holder, however that one ends.
"""

import logging
from typing import Any

from celery import beat
from django.db import DatabaseError, connections

logger = logging.getLogger(__name__)

# Any number will do, as long as nobody else in the database uses it.
_LOCK = 0x41_72_74_42_65_61_74
FOLLOWER_WAIT_SECONDS = 5.0


class SingleScheduler(beat.Scheduler):
    """Sends what is due while it leads. What was sent last is not kept: the tasks look at rows."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._connection: Any = None
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        if not self._leads():
            return FOLLOWER_WAIT_SECONDS
        wait: float = super().tick(*args, **kwargs)
        return wait

    def close(self) -> None:
        self._give_up()
        super().close()

    def _leads(self) -> bool:
        try:
            return self._holds_lock() if self._connection else self._take_lock()
        except DatabaseError:
            logger.warning("beat lost its database; it waits for it", exc_info=True)
            self._give_up()
            return False

    def _holds_lock(self) -> bool:
        """The session is alive, and so is its lock."""
        with self._connection.cursor() as cursor:
            cursor.execute("select 1")
        return True

    def _take_lock(self) -> bool:
        self._connection = connections.create_connection("default")
        with self._connection.cursor() as cursor:
            cursor.execute("select pg_try_advisory_lock(%s)", [_LOCK])
            taken = bool(cursor.fetchone()[0])
        if taken:
            logger.info("this beat leads")
        else:
            self._give_up()
        return taken

    def _give_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
