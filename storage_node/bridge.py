"""From the engine's futures to the event loop: one wake-up for all that a group commit resolved together."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

Value = TypeVar("Value")


class Bridge:
    """Belongs to one loop. `wait` and `tell` are called on it; the engine resolves futures from its own threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._resolved: deque[tuple[Callable[[Future[Any]], None], Future[Any]]] = deque()
        self._woken = False

    def wait(self, future: "Future[Value]") -> "asyncio.Future[Value]":
        """An awaitable for the engine's future. Giving up on it does not undo the change."""
        waiter: asyncio.Future[Value] = self._loop.create_future()
        self.tell(future, partial(_settle, waiter))
        return waiter

    def tell(self, future: "Future[Value]", listener: "Callable[[Future[Value]], None]") -> None:
        """Has `listener` called on the loop once the engine's future is resolved. It must not raise."""
        future.add_done_callback(partial(self._note, listener))

    def _note(self, listener: "Callable[[Future[Any]], None]", future: Future[Any]) -> None:
        self._resolved.append((listener, future))
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # Lowered before the queue is emptied: whatever is appended from here on either is seen below or wakes us again.
        self._woken = False
        while self._resolved:
            listener, future = self._resolved.popleft()
            listener(future)


def _settle(waiter: "asyncio.Future[Any]", future: "Future[Any]") -> None:
    if waiter.done():
        return
    failure = future.exception()
    if failure is not None:
        waiter.set_exception(failure)
    else:
        waiter.set_result(future.result())
