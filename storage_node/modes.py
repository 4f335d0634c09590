"""What an element allows in each mode, how one mode becomes another, and `mode.json`.

The change itself is durable through the log like any other; `mode.json` is where it ends up. Who may ask is the door's
business.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from storage_node.attributes import stamp
from storage_node.errors import (
    ConfirmationRequired,
    InvalidTransition,
    ModeNotAllowed,
    RefusedToStart,
    ValidationFailed,
)

HISTORY_LIMIT = 100


class Operation(StrEnum):
    """What a mode may allow; the values are those of `/info`."""

    UPLOAD = "upload"
    DOWNLOAD = "download"
    UPDATE = "update"
    DELETE = "delete"
    LIST = "list"


_ALL = tuple(Operation)
ALLOWED: dict[str, tuple[Operation, ...]] = {
    "edit": _ALL,
    "rw": tuple(operation for operation in _ALL if operation is not Operation.DELETE),
    "ro": (Operation.DOWNLOAD, Operation.LIST),
    "ar": (Operation.LIST,),
}
FREES_BYTES = ("edit", "rw")
_FORWARD = {("rw", "ro"), ("ro", "ar")}
_BACK_IF_CONFIRMED = {("ro", "rw")}


@dataclass(frozen=True, slots=True)
class ModeChange:
    """A transition that happened."""

    previous_mode: str
    current_mode: str
    transitioned_at: datetime


@dataclass(frozen=True, slots=True)
class ModeState:
    """All of `mode.json`."""

    mode: str
    since: str
    by: str
    history: tuple[dict[str, str], ...] = ()

    @classmethod
    def initial(cls, mode: str, now: datetime) -> "ModeState":
        """The state of a directory just initialised."""
        if mode not in ALLOWED:
            raise RefusedToStart(
                f"The element can not begin in mode {mode!r}: SE_MODE must be one of {', '.join(ALLOWED)}."
            )
        return cls(mode, stamp(now), "init")

    @classmethod
    def from_json(cls, raw: bytes) -> "ModeState":
        """The state in the bytes of `mode.json`; `RefusedToStart` when there is none in them."""
        try:
            data = json.loads(raw)
            state = cls(
                str(data["mode"]),
                str(data["since"]),
                str(data["by"]),
                tuple(data.get("history", ())),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise RefusedToStart(
                f"mode.json can not be read ({error}). Restore it from a backup before starting."
            ) from None
        if state.mode not in ALLOWED:
            raise RefusedToStart(f"mode.json names no mode that exists: {state.mode!r}.")
        return state

    def to_facts(self) -> dict[str, Any]:
        """What the log carries and the file holds."""
        return {
            "mode": self.mode,
            "since": self.since,
            "by": self.by,
            "history": list(self.history),
        }

    def to_json(self) -> bytes:
        """The bytes of `mode.json`."""
        return (
            json.dumps(self.to_facts(), ensure_ascii=False, sort_keys=True, indent=1) + "\n"
        ).encode()

    def allows(self, operation: Operation) -> bool:
        """Whether the mode allows it."""
        return operation in ALLOWED[self.mode]

    def require(self, operation: Operation) -> None:
        """Raises `ModeNotAllowed` unless the mode allows it."""
        if operation not in ALLOWED[self.mode]:
            raise ModeNotAllowed(
                f"The element is in mode {self.mode}, which does not allow {operation.value}."
            )

    def become(self, target: str, confirm: bool, by: str, now: datetime) -> "ModeState":
        """The state after a transition; raises when there is no such way, or only a confirmed one."""
        if target not in ALLOWED:
            problem = "must be one of " + ", ".join(ALLOWED)
            raise ValidationFailed(
                f"Mode was not changed: target_mode {problem}.", {"target_mode": [problem]}
            )
        step = (self.mode, target)
        if step in _BACK_IF_CONFIRMED and not confirm:
            raise ConfirmationRequired(
                "Mode was not changed: going back from ro to rw needs confirm: true."
            )
        if step not in _FORWARD | _BACK_IF_CONFIRMED:
            raise InvalidTransition(
                f"Mode was not changed: {self.mode} can not become {target}. "
                "rw becomes ro, ro becomes ar or (confirmed) rw; edit stays edit."
            )
        past = {"mode": self.mode, "since": self.since, "by": self.by}
        return replace(
            self,
            mode=target,
            since=stamp(now),
            by=by,
            history=(*self.history, past)[-HISTORY_LIMIT:],
        )
