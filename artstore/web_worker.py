"""gunicorn's threaded worker, whose one loop never waits for a client.

gunicorn closes a connection in that loop and gives the other side up to two seconds to close its
own end; a few clients that do not would stop everybody else's. Here the thread that served the
request waits, and the loop finds nothing left to wait for. Knows nothing of Django.
"""

import contextlib
import os
import socket
from typing import Any

from gunicorn import util
from gunicorn.workers.gthread import TConn, ThreadWorker


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """One process of `deploy/gunicorn.conf.py`."""

    def handle(self, conn: TConn) -> Any:
        """Serve one request in a thread; a false answer means that the connection ends."""
        stays = super().handle(conn)
        if not stays:
            hang_up(conn.sock)
        return stays


def hang_up(connection: socket.socket) -> None:
    """Let the client read its answer, as gunicorn does, and leave nothing for the loop to wait for."""
    # The client may have gone already; what matters is that it is not waited for again.
    with contextlib.suppress(OSError):
        # gunicorn closes what it is given, and the loop closes the connection itself.
        util.close_graceful(socket.socket(fileno=os.dup(connection.fileno())))
        connection.shutdown(socket.SHUT_RDWR)
