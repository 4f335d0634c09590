"""Which records this process changed lately, for whoever keeps copies of them.

A keeper notes where the count stands, reads, and later asks whether the record changed since; told
is what was committed. Bounded: where a change may have been forgotten, the answer is yes. Other
processes are not heard of; a copy has to die by its age too.
"""

import functools
import threading
import uuid
from collections import OrderedDict

from django.db import transaction

REMEMBERED_RECORDS = 10_000


class RecordChanges:
    """Changes in their order, each with a number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._last: OrderedDict[uuid.UUID, int] = OrderedDict()
        # Up to this number any record may have changed.
        self._any_up_to = 0

    @property
    def count(self) -> int:
        """To be read before a record is, and given to `changed_since` with it."""
        return self._count

    def changed_since(self, file_id: uuid.UUID, count: int) -> bool:
        with self._lock:
            return self._any_up_to > count or self._last.get(file_id, 0) > count

    def note(self, file_id: uuid.UUID) -> None:
        """One record changes with the transaction at hand, or did just now."""
        transaction.on_commit(functools.partial(self._note, file_id))

    def note_any(self) -> None:
        """Many records change with the transaction at hand, or what they point at."""
        transaction.on_commit(self._note_any)

    def _note(self, file_id: uuid.UUID) -> None:
        with self._lock:
            self._count += 1
            self._last[file_id] = self._count
            self._last.move_to_end(file_id)
            if len(self._last) > REMEMBERED_RECORDS:
                _oldest, self._any_up_to = self._last.popitem(last=False)

    def _note_any(self) -> None:
        with self._lock:
            self._count += 1
            self._any_up_to = self._count
            self._last.clear()


changes = RecordChanges()
