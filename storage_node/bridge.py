"""From the engine's futures to the event loop: one wake-up for all that a group commit resolved together."""

import asyncio
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

Value = TypeVar("Value")


class Bridge:
    """Belongs to one loop. `wait` is called on it; the engine resolves futures from its own threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._resolved: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._woken = False

    def wait(self, future: "Future[Value]") -> "asyncio.Future[Value]":
        """An awaitable for the engine's future. Giving up on it does not undo the change."""
        waiter: asyncio.Future[Value] = self._loop.create_future()
        future.add_done_callback(partial(self._note, waiter))
        return waiter

    def _note(self, waiter: asyncio.Future[Any], future: Future[Any]) -> None:
        self._resolved.append((waiter, future))
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # Lowered before the queue is emptied: whatever is appended from here on either is seen below or wakes us again.
        self._woken = False
        while self._resolved:
            waiter, future = self._resolved.popleft()
            if waiter.done():
                continue
            failure = future.exception()
            if failure is not None:
                waiter.set_exception(failure)
            else:
                waiter.set_result(future.result())
