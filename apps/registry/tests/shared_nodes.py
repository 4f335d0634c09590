"""Nodes that tests share: one process per name for the whole run, emptied before it is handed out again.

Starting a node takes longer than most tests. What a test leaves behind is files, which are deleted and collected;
their tombstones stay and are nobody's. A test that needs a mode, a setting or a clock of its own starts its own node.
"""

import json
from pathlib import Path

from apps.admin import keys
from apps.registry.tests.site import Site
from storage_node.tests.node_process import Certificates

# Every full listing brings all tombstones: past these a new node is cheaper.
_MOST_TOMBSTONES = 400


class SharedNodes:
    """Running nodes by name."""

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        self._folder = folder
        self._certificates = certificates
        self._running: dict[str, Site] = {}
        self._trusted: dict[str, str] = {}
        self._started = 0

    def take(self, storage_id: str) -> Site:
        """A node without files, and a new row for its element."""
        site = self._running.get(storage_id)
        trusted = json.dumps({"keys": keys.keyring.jwks()})
        if site is not None and self._trusted[storage_id] == trusted:
            if site.node.process is None or site.node.process.poll() is not None:
                site.node.start()
            site = Site.beside(site.node)
            if site.emptied() <= _MOST_TOMBSTONES:
                self._running[storage_id] = site
                return site
        self._end(storage_id)
        self._started += 1
        folder = self._folder / f"{storage_id}-{self._started}"
        site = Site.start(folder, self._certificates, storage_id)
        self._running[storage_id], self._trusted[storage_id] = site, trusted
        return site

    def _end(self, storage_id: str) -> None:
        site = self._running.pop(storage_id, None)
        if site is not None:
            site.element.delete()
            site.stop()

    def stop(self) -> None:
        for site in self._running.values():
            site.stop()
