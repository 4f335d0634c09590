"""gunicorn's threaded worker, whose one loop never waits for a client.

gunicorn closes a connection in that loop and gives the other side up to two seconds to close its
own end; a few clients that do not would stop everybody else's. Here the thread that served the
request waits, and the loop finds nothing left to wait for. Knows nothing of Django.
"""

import contextlib
import socket
import time
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

LINGER_SECONDS = 2.0
# RFC 9112, section 9.6: read on for a while after the answer, or the kernel resets what is unread.
LINGER_BYTES = 64 * 1024
_PIECE_BYTES = 4096


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """One process of `deploy/gunicorn.conf.py`."""

    def handle(self, conn: TConn) -> Any:
        """Serve one request in a thread; a false answer means that the connection ends."""
        stays = super().handle(conn)
        if not stays:
            hang_up(conn.sock)
        return stays


def hang_up(connection: socket.socket) -> None:
    """Say goodbye, let the client read its answer, and leave nothing for the loop to wait for."""
    deadline = time.monotonic() + LINGER_SECONDS
    left_bytes = LINGER_BYTES
    # The client may have gone already; what matters is that it is not waited for again.
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while left_bytes > 0 and (seconds := deadline - time.monotonic()) > 0:
            connection.settimeout(seconds)
            piece = connection.recv(_PIECE_BYTES)
            if not piece:
                break
            left_bytes -= len(piece)
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
