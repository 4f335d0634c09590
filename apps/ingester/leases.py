"""Keeps the leases of running uploads alive, from one thread for the whole process.

A transfer may wait for its client for a long time and must hold no database connection meanwhile,
so it does not renew its lease itself. When the process dies, so does the thread, and the leases
run out; when a transfer ends, it leaves.
"""

import contextlib
import logging
import threading
import uuid
from collections.abc import Iterator

from django.db import Error as DatabaseError

from apps.registry.models import FileRecord
from apps.registry.uploading import Lease
from artstore import database

logger = logging.getLogger(__name__)

# Renewals per lease: a few may fail before anybody may take the upload over.
RENEWALS_PER_LEASE = 4


class Hold:
    """One upload's claim on its row. `lost` once somebody else took the row over or settled it;
    `pinned` once this very attempt has bound the row to its element."""

    def __init__(self, file_id: uuid.UUID, lease: Lease, pinned: bool = False) -> None:
        self.file_id = file_id
        self.lease = lease
        self.pinned = pinned
        self.lost = False

    def pin(self) -> bool:
        """Bind the row to its element, before the first byte leaves for it."""
        self.pinned = self.pinned or FileRecord.pin(self.file_id, self.lease)
        return self.pinned

    def unpin(self) -> None:
        """The element promised never to hold the file."""
        FileRecord.unpin(self.file_id, self.lease)
        self.pinned = False

    def unpin_unsent(self) -> None:
        """No byte left in this attempt. What an earlier one pinned stays so: its bytes may live."""
        if self.pinned:
            self.unpin()


class Keeper:
    """Renews every hold it is given until it is given back."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holds: set[Hold] = set()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def keeping(self, hold: Hold) -> Iterator[Hold]:
        """Keep the lease for as long as the block runs."""
        with self._changed:
            self._holds.add(hold)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
                self._thread.start()
        try:
            yield hold
        finally:
            with self._changed:
                self._holds.discard(hold)

    def renew_all(self) -> None:
        """One round over every hold."""
        with self._changed:
            holds = list(self._holds)
        try:
            for hold in holds:
                hold.lost = not FileRecord.renew_lease(hold.file_id, hold.lease)
        except DatabaseError:
            # Nobody can take over what nobody can reach; the next round tries again.
            logger.warning("leases of %d uploads were not renewed", len(holds), exc_info=True)
        finally:
            database.release()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._holds:
                    self._thread = None
                    return
                shortest = min(hold.lease.seconds for hold in self._holds)
                self._changed.wait(shortest / RENEWALS_PER_LEASE)
            self.renew_all()


keeper = Keeper()
