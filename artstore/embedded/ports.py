"""Whether the ports of a plan are free, said in the operator's words."""

import contextlib
import socket
from collections.abc import Mapping

from artstore.embedded.errors import PortBusy
from artstore.embedded.plan import LOOPBACK


def check_free(ports: Mapping[str, int]) -> None:
    """`ports` by the setting that moves each; all busy ones are named at once."""
    busy = {setting: port for setting, port in ports.items() if not _is_free(port)}
    if busy:
        named = "; ".join(f"port {port} ({setting})" for setting, port in busy.items())
        example = next(iter(busy))
        raise PortBusy(
            f"Another program listens on {named}. Stop it, or choose another port, for example "
            f"`make run {example}={_any_free_port()}`."
        )


def _is_free(port: int) -> bool:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        # As servers do: connections in TIME_WAIT of an earlier run are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _any_free_port() -> int:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
