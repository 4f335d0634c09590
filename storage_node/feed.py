"""The feed of changes as callers page through it: which `since` is still good, and when to start again from 0.

A cursor below the oldest forgotten tombstone would miss deletions, except for a caller that is in the middle of listing
everything: the pages handed out from 0 on are remembered for that.
"""

import threading
from collections import OrderedDict

from storage_node.errors import ResyncRequired, ValidationFailed
from storage_node.index_reading import PAGE_LIMIT, ChangePage, Reading

_REMEMBERED_CURSORS = 10_000


class Feed:
    """Pages of changes of one epoch after another."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._lock = threading.Lock()
        # (epoch, cursor) given out by a full listing -> the floor when that listing began.
        self._listing: OrderedDict[tuple[str, int], int] = OrderedDict()

    def page(self, epoch: str | None, since: int, limit: int) -> ChangePage:
        """What changed after `since`. `ResyncRequired` for another epoch or a cursor that reaches too far back."""
        if not 1 <= limit <= PAGE_LIMIT:
            raise ValidationFailed(
                "Changes were refused: limit must be between 1 and 1000.",
                {"limit": ["must be between 1 and 1000"]},
            )
        if not 0 <= since < 2**63:
            raise ValidationFailed(
                "Changes were refused: since must not be negative.",
                {"since": ["must be between 0 and 2^63-1"]},
            )
        overview = self._reading.overview()
        floor = self._floor_of(overview.epoch, since, overview.floor)
        if since > 0:
            self._refuse_stale(epoch, since, overview.epoch, floor)
        page = self._reading.changes(since, limit)
        if page.epoch != overview.epoch:
            raise ResyncRequired(
                "Changes were refused: the index was rebuilt meanwhile. List again from since=0."
            )
        if floor is not None and page.has_more and page.next_since < overview.floor:
            self._remember(page.epoch, page.next_since, floor)
        return page

    def _floor_of(self, epoch: str, since: int, floor_now: int) -> int | None:
        """The floor a listing from 0 began with, where `since` belongs to one."""
        if since == 0:
            return floor_now
        with self._lock:
            began = self._listing.get((epoch, since))
        if began is not None and began >= floor_now:
            return began
        return floor_now if since >= floor_now else None

    def _refuse_stale(
        self, epoch: str | None, since: int, epoch_now: str, floor: int | None
    ) -> None:
        if epoch is None:
            raise ValidationFailed(
                "Changes were refused: since needs the epoch it belongs to.",
                {"epoch": ["is required with since"]},
            )
        if epoch != epoch_now:
            raise ResyncRequired(
                "Changes were refused: the index was rebuilt since then. List again from since=0."
            )
        if floor is None:
            raise ResyncRequired(
                f"Changes were refused: deletions before {since} are forgotten. List again from since=0."
            )

    def _remember(self, epoch: str, cursor: int, floor: int) -> None:
        with self._lock:
            self._listing[epoch, cursor] = floor
            while len(self._listing) > _REMEMBERED_CURSORS:
                self._listing.popitem(last=False)
