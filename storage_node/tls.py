"""The node's certificate: loaded once at start, again whenever its file changes, so that renewal needs no restart."""

import asyncio
import logging
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from storage_node.config import ConfigInvalid

LOOK_SECONDS = 30.0

log = logging.getLogger(__name__)

_Mark = tuple[int, int, int]


@dataclass
class ServerTls:
    """A context for incoming connections; `keep_current` follows the files."""

    cert: Path
    key: Path
    context: ssl.SSLContext = field(init=False)
    _seen: tuple[_Mark, _Mark] = field(init=False)

    def __post_init__(self) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            self._seen = self._marks()
            self.context.load_cert_chain(self.cert, self.key)
        except (ssl.SSLError, OSError) as problem:
            raise ConfigInvalid(
                [f"SE_TLS_CERT and SE_TLS_KEY are no certificate with its key in PEM ({problem})."]
            ) from None

    def _marks(self) -> tuple[_Mark, _Mark]:
        return _mark(self.cert), _mark(self.key)

    def reload_if_changed(self) -> None:
        """Take up a renewed certificate. One that does not fit is left alone until its files change again."""
        try:
            marks = self._marks()
            if marks == self._seen:
                return
            self._seen = marks
            # Tried on a context of its own: a half-written pair must not spoil the one in use.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.cert, self.key)
            self.context.load_cert_chain(self.cert, self.key)
        except (ssl.SSLError, OSError) as problem:
            log.warning("certificate not reloaded", extra={"problem": str(problem)})
            return
        log.info("certificate reloaded", extra={"file": str(self.cert)})

    async def keep_current(self) -> None:
        """Look for ever; connections made before keep the certificate they began with."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.reload_if_changed()


def _mark(path: Path) -> _Mark:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size
