"""What a change is to the committer: decided, prepared, written to the log, applied, answered, in that order.

The kinds of change are in `changes.py` (files), `upkeep.py` (what the element does to itself); `committer.py` drives them.
"""

from abc import ABC, abstractmethod
from concurrent.futures import Future
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from storage_node.element import Element
from storage_node.errors import NodeError
from storage_node.records import Record

Answer = TypeVar("Answer")


class Change(ABC, Generic[Answer]):
    """One wish to change something. The committer's thread runs all methods but the constructor."""

    # What it is called when it is refused.
    attempted = "The change"
    # A change that holds up the ones behind it until it is applied: nothing shares its batch.
    is_alone = False
    # Whether it may eat into the room kept for a full disk: only what ends in more room, or needs next to none.
    may_use_headroom = False
    # Whether its answer and its row need not wait for the files: the record holds all of it, and readers are served from
    # memory for the moment until the files are there.
    needs_no_files_to_answer = False

    def __init__(self, now: datetime, file_id: UUID | None = None) -> None:
        self.now = now
        self.file_id = file_id
        self.future: Future[Answer] = Future()
        # Given by the committer before it calls anything: what is to be changed, and then what was decided.
        self.element: Element
        self.record: Record

    @property
    def weight_bytes(self) -> int:
        """Roughly what its record adds to a batch."""
        return 4096

    @property
    def needs_parts_synced(self) -> bool:
        """Whether the record names a part, whose own name must be on the medium first."""
        return False

    @abstractmethod
    def decide(self) -> Record | Answer:
        """Checks against the state as of now and says what to record, or answers without a record. Raises `NodeError`."""

    def prepare(self) -> None:
        """Everything that can fail for want of space, before the record is written. `OSError` refuses the change."""

    def apply(self) -> None:
        """What follows from the durable record; must be repeatable from where it failed."""

    @abstractmethod
    def answer(self) -> Answer:
        """What the caller gets when everything is applied."""

    def discard(self) -> None:
        """Takes back what `prepare` made; nothing was recorded."""

    def resolve(self, value: Answer) -> None:
        """Tells the caller."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(value)

    def refuse(self, error: NodeError) -> None:
        """Tells the caller why not."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)
