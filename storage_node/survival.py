"""The one place where this program goes on after a failure nobody foresaw: it is logged with its traceback, and told.

Used by the door, so that no request may end the process, and by the periodic loop, so that one bad run is not the last.
Failures that have a name are caught where they mean something, never here.
"""

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Self


class Surviving:
    """`with Surviving(...) as attempt:` swallows and logs any `Exception` of its block; `attempt.failed` says that one came."""

    __slots__ = ("_facts", "_log", "_message", "failed")

    def __init__(self, log: logging.Logger, message: str, facts: Mapping[str, object]) -> None:
        self._log, self._message, self._facts = log, message, facts
        self.failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        # Cancellation, SystemExit and KeyboardInterrupt are no failures: they go on their way.
        if not isinstance(failure, Exception):
            return False
        self.failed = True
        self._log.error(self._message, exc_info=failure, extra=dict(self._facts))
        return True
