"""gunicorn's threaded worker, whose one loop never waits for a client and is spared who asks again at once.

gunicorn closes a connection in that loop and gives the other side up to two seconds to close its
own end; a few clients that do not would stop everybody else's. Here the thread that served the
request waits, and the loop finds nothing left to wait for.

Between two requests of one connection gunicorn hands it to that loop and back to a thread: for a
client that asks again at once, a third of what a small download costs. Here the thread looks for
the next request for a moment first. Knows nothing of Django.
"""

import contextlib
import os
import select
import socket
from typing import Any

from gunicorn import util
from gunicorn.workers.gthread import TConn, ThreadWorker

# A program that works through a list on the same network asks again within this.
NEXT_REQUEST_MILLISECONDS = 5


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """One process of `deploy/gunicorn.conf.py`."""

    def handle(self, conn: TConn) -> Any:
        """Serve what the client asks in a thread; a false answer means that the connection ends."""
        stays = super().handle(conn)
        while stays is True and self._has_room() and asks_again(conn):
            stays = super().handle(conn)
        if not stays:
            hang_up(conn.sock)
        return stays

    def _has_room(self) -> bool:
        """Whether no connection waits for a thread, and the process is not to stop."""
        idle = len(self.keepalived_conns) + len(self.pending_conns)
        return bool(self.alive and self.nr_conns - idle <= self.cfg.threads)


def asks_again(conn: TConn) -> bool:
    """Whether the next request begins within a moment."""
    if conn.parser.unreader.buf.getvalue():
        return True
    arrivals = select.poll()
    arrivals.register(conn.sock, select.POLLIN)
    return bool(arrivals.poll(NEXT_REQUEST_MILLISECONDS))


def hang_up(connection: socket.socket) -> None:
    """Let the client read its answer, as gunicorn does, and leave nothing for the loop to wait for."""
    # The client may have gone already; what matters is that it is not waited for again.
    with contextlib.suppress(OSError):
        # gunicorn closes what it is given, and the loop closes the connection itself.
        util.close_graceful(socket.socket(fileno=os.dup(connection.fileno())))
        connection.shutdown(socket.SHUT_RDWR)
