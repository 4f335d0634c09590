"""Puts pages of a first load in beside each other: PostgreSQL takes twice as long to put a page in as it takes to read one,
and a connection has one process of its own there, on one core.

Only pages that bring nothing but new files, for which their order means nothing. Any other waits for
all before it, as does one that turns out to be another: a file of it is there already.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from apps.registry.feed import Page
from artstore import database

# A third would wait for the one thread that reads.
CONNECTIONS = 2


class ParallelLoad:
    """Pages are given in the order of the feed. Leaving the block waits for what is under way.

    `put_in` answers False, with nothing written, for a page that has to be compared with what is there: then `apply` does it,
    in the caller's thread. An exception of either reaches whoever gives the next page. No connection is held between
    pages: a load takes minutes, in which an idle one may be cut, and a pool has not three for each load.
    """

    def __init__(self, put_in: Callable[[Page], bool], apply: Callable[[Page], None]) -> None:
        self._put_in = put_in
        self._apply = apply
        self._threads = ThreadPoolExecutor(CONNECTIONS, "load")
        self._under_way: deque[tuple[Page, Future[bool]]] = deque()

    def __enter__(self) -> "ParallelLoad":
        database.release()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._threads.shutdown()

    def give(self, page: Page) -> None:
        """Returns once there is room for the next one."""
        # The last page brings the totals, and ends in this thread, with everything before it.
        if not page.records or page.tombstones or page.rejected or not page.has_more:
            self._finish()
            self._apply_alone(page)
            return
        if len(self._under_way) == CONNECTIONS:
            if self._under_way[0][1].result():
                self._under_way.popleft()
            else:
                self._finish()
        self._under_way.append((page, self._threads.submit(self._put_one_in, page)))

    def _finish(self) -> None:
        """Wait for all, then apply in their order those that did not fit."""
        left = [page for page, done in self._under_way if not done.result()]
        self._under_way.clear()
        for page in left:
            self._apply_alone(page)

    def _apply_alone(self, page: Page) -> None:
        self._apply(page)
        database.release()

    def _put_one_in(self, page: Page) -> bool:
        try:
            return self._put_in(page)
        finally:
            database.release()
