"""Choosing the storage element for a new file.

Figures come from the last probe, less what was begun since, so that an hour's uploads do not all
go to whoever had most room when last asked. The choice is drawn by lot, weighted by room. Nothing
here asks an element; the element itself has the last word, and its refusals are remembered for a
few seconds. Elements that seem full come last, because only they know.
"""

import datetime as dt
import enum
import math
import random
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.conf import settings
from django.db.models import F, Sum
from django.utils.translation import gettext as _

from apps.ingester.errors import FileTooLarge, NoStorageAvailable, StorageFull
from apps.registry.models import ElementStatus, FileRecord, Mode, Retention, StorageElement
from artstore.errors import ArtStoreError

RETRY_AFTER_SECONDS = 10
_MODE_FOR = {Retention.TEMPORARY: Mode.EDIT, Retention.PERMANENT: Mode.RW}


class Refusal(enum.Enum):
    """Why an element did not take a file."""

    FULL = "full"
    TOO_LARGE = "too_large"
    NOT_WILLING = "not_willing"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Need:
    """What a file asks of its element."""

    retention_policy: str
    size_bytes: int


@dataclass(slots=True)
class _Room:
    """One element and what it can still take, as far as is known."""

    element: StorageElement
    room_bytes: int


@dataclass(slots=True)
class _Remembered:
    refusal: Refusal
    size_bytes: int
    until: dt.datetime

    def forbids(self, size_bytes: int, now: dt.datetime) -> bool:
        """A smaller file may fit where a larger one did not."""
        if now >= self.until:
            return False
        if self.refusal in {Refusal.FULL, Refusal.TOO_LARGE}:
            return size_bytes >= self.size_bytes
        return True


@dataclass(slots=True)
class _Snapshot:
    taken_at: dt.datetime
    rooms: dict[uuid.UUID, _Room] = field(default_factory=dict)


class Board:
    """What this process knows of every element's room; shared by its threads."""

    def __init__(self, lots: random.Random) -> None:
        self._lock = threading.Lock()
        self._lots = lots
        self._snapshot: _Snapshot | None = None
        self._refusals: dict[uuid.UUID, _Remembered] = {}

    def candidates(self, need: Need, now: dt.datetime) -> list[StorageElement]:
        """The elements to try, in order; raises when there is none to try."""
        rooms = [room for room in self._rooms(now) if _takes(room.element, need)]
        if not rooms:
            raise none_available(need)
        with self._lock:
            willing = [room for room in rooms if not self._forbidden(room, need, now)]
            if not willing:
                refusals = [self._refusals[room.element.id].refusal for room in rooms]
                raise refused_by_all(refusals, need)
            return [room.element for room in _drawn(willing, need, self._lots)]

    def note_begun(self, element_id: uuid.UUID, size_bytes: int) -> None:
        """An upload was begun here: count it at once, not at the next look at the database."""
        with self._lock:
            room = self._snapshot and self._snapshot.rooms.get(element_id)
            if room:
                room.room_bytes -= size_bytes

    def note_refused(
        self, element_id: uuid.UUID, refusal: Refusal, size_bytes: int, now: dt.datetime
    ) -> None:
        """Leave the element alone for a few seconds."""
        pause = dt.timedelta(seconds=settings.ARTSTORE_PLACEMENT_MEMORY_SECONDS)
        with self._lock:
            self._refusals[element_id] = _Remembered(refusal, size_bytes, now + pause)

    def forget(self) -> None:
        """Start as a fresh process does."""
        with self._lock:
            self._snapshot = None
            self._refusals.clear()

    def _forbidden(self, room: _Room, need: Need, now: dt.datetime) -> bool:
        remembered = self._refusals.get(room.element.id)
        return remembered is not None and remembered.forbids(need.size_bytes, now)

    def _rooms(self, now: dt.datetime) -> list[_Room]:
        age = dt.timedelta(seconds=settings.ARTSTORE_PLACEMENT_REFRESH_SECONDS)
        with self._lock:
            snapshot = self._snapshot
            if snapshot is not None and now - snapshot.taken_at < age:
                return list(snapshot.rooms.values())
        fresh = _Snapshot(now, {room.element.id: room for room in _read_rooms()})
        with self._lock:
            self._snapshot = fresh
        return list(fresh.rooms.values())


def refused_by_all(refusals: Iterable[Refusal], need: Need) -> ArtStoreError:
    """The one answer for a file that no element took: room, size, or nobody there."""
    kinds = set(refusals)
    if kinds == {Refusal.FULL}:
        return StorageFull(
            _("The file was not stored: no %(mode)s storage element has room for %(size)d bytes.")
            % {"mode": _MODE_FOR[Retention(need.retention_policy)].value, "size": need.size_bytes}
        )
    if kinds == {Refusal.TOO_LARGE}:
        return FileTooLarge(
            _("The file was not stored: no storage element takes a file of %(size)d bytes.")
            % {"size": need.size_bytes}
        )
    return none_available(need)


def none_available(need: Need) -> NoStorageAvailable:
    return NoStorageAvailable(
        _("The file was not stored: no storage element for %(retention)s files answers now.")
        % {"retention": need.retention_policy}
        + " "
        + _("Try again in a moment; if it lasts, ask the operator."),
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def _takes(element: StorageElement, need: Need) -> bool:
    return element.mode == _MODE_FOR[Retention(need.retention_policy)]


def _read_rooms() -> list[_Room]:
    elements = StorageElement.objects.filter(
        status=ElementStatus.ONLINE, mode__in=list(_MODE_FOR.values())
    )
    begun = (
        FileRecord.objects.filter(
            storage_element__in=elements, begun_at__gt=F("storage_element__last_probe_at")
        )
        .values_list("storage_element")
        .annotate(Sum("size"))
    )
    begun_bytes = dict(begun)
    return [
        _Room(element, element.available_bytes - begun_bytes.get(element.id, 0))
        for element in elements
    ]


def _drawn(rooms: list[_Room], need: Need, lots: random.Random) -> list[_Room]:
    """A random order in which more room comes first more often (Efraimidis and Spirakis)."""

    def lot(room: _Room) -> float:
        spare_bytes = room.room_bytes - need.size_bytes
        if spare_bytes < 0:
            return math.inf
        return -math.log(1.0 - lots.random()) / (spare_bytes + 1)

    drawn = [(lot(room), -room.room_bytes, room) for room in rooms]
    return [room for *_order, room in sorted(drawn, key=lambda entry: entry[:2])]


# Weighted choice needs spread, not secrecy.
board = Board(random.Random())  # noqa: S311
