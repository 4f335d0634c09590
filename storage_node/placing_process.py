"""The process that writes the files of small uploads to their places: `python -m storage_node.placing_process FD FD FD`.

Started by `placing.py` with three descriptors: the data directory, a held lock, and a socket. Each message is one batch
whose records are durable already; its answer is 0 or an errno, and what could not be written here is then written by the
node itself. Ends when the node does: what was handed over before is still written, and the lock is let go of last, which
a new node waits for. Making a file costs the kernel more than Python; here it holds up nobody who needs the interpreter.
"""

import signal
import socket
import struct
import sys
from collections.abc import Callable

from storage_node.medium import Medium

BATCH = struct.Struct("<I")
FILE = struct.Struct("<HIHI")
ANSWER = struct.Struct("<i")
_BUFFER_BYTES = 1 << 20

Read = Callable[[int], bytes]


class _Ended(Exception):
    """The node is gone, or has closed its end."""


def _take(read: Read) -> list[tuple[str, bytes]]:
    """One batch: paths and what belongs there, in the order in which it is to be written."""
    (count,) = BATCH.unpack(_exactly(read, BATCH.size))
    places = []
    for _ in range(count):
        lengths = FILE.unpack(_exactly(read, FILE.size))
        path, body, other_path, other = (_exactly(read, length) for length in lengths)
        places += [(path.decode(), body), (other_path.decode(), other)]
    return places


def _exactly(read: Read, length: int) -> bytes:
    piece = read(length)
    if len(piece) < length:
        # A batch cut short is one the node did not live to hand over; replay writes its files.
        raise _Ended
    return piece


def _put_all(medium: Medium, places: list[tuple[str, bytes]]) -> int:
    """0, or the errno of the first that could not be written."""
    try:
        for path, data in places:
            medium.put(path, data)
    except OSError as error:
        return error.errno or -1
    return 0


def main() -> None:
    """Serve batches until the socket ends."""
    root, _lock, connection_fd = (int(text) for text in sys.argv[1:4])
    # A terminal and systemd send these to every process of the node; the node's own end comes through the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    medium = Medium.held(root)
    with (
        socket.socket(fileno=connection_fd) as connection,
        connection.makefile("rb", _BUFFER_BYTES) as incoming,
    ):
        try:
            while True:
                answer = _put_all(medium, _take(incoming.read))
                connection.sendall(ANSWER.pack(answer))
        except (_Ended, ConnectionError):
            return


if __name__ == "__main__":
    main()
