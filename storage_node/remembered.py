"""Rows of the index that were asked for lately, so that the next reader neither asks SQLite nor parses attributes again.

Bounded: ten million files need no more of it than ten thousand. A row is dropped by the transaction that changes it,
before anybody hears that the change is durable; so what is given back is always what the index holds.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from uuid import UUID

from storage_node.index_schema import Row

ROWS_KEPT = 4096


class RememberedRows:
    """Rows by id, the least recently used go first. Any thread."""

    def __init__(self, limit: int = ROWS_KEPT) -> None:
        self._limit = limit
        self._rows: OrderedDict[UUID, Row] = OrderedDict()
        self._lock = threading.Lock()
        self._forgettings = 0

    def get(self, file_id: UUID) -> Row | None:
        """The row as the index holds it now, None when it is not remembered."""
        with self._lock:
            row = self._rows.get(file_id)
            if row is not None:
                self._rows.move_to_end(file_id)
            return row

    @property
    def moment(self) -> int:
        """To be read before a row is looked up, and given to `keep` with it."""
        return self._forgettings

    def keep(self, row: Row, moment: int) -> None:
        """Remembers a row looked up since `moment`, unless the index changed meanwhile: then it may be an old one."""
        with self._lock:
            if moment != self._forgettings:
                return
            self._rows[row.file_id] = row
            if len(self._rows) > self._limit:
                self._rows.popitem(last=False)

    def forget(self, file_ids: Iterable[UUID]) -> None:
        """These rows have changed. Called after the commit that changed them and before it is answered for."""
        with self._lock:
            self._forgettings += 1
            for file_id in file_ids:
                self._rows.pop(file_id, None)
