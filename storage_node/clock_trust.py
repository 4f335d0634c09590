"""Whether the wall clock can be believed when bytes are about to be freed for good.

Three witnesses: the newest change on disk, tokens that were verified with an `iat` near now, and the monotonic clock.
Pure bookkeeping; both clocks are handed in.
"""

import threading
from collections.abc import Callable
from datetime import datetime

from storage_node.attributes import moment

TOKEN_NEARNESS_SECONDS = 600.0
DRIFT_LIMIT_SECONDS = 300.0


class ClockTrust:
    """Gathers witnesses while the node runs."""

    def __init__(
        self, now: datetime, interval_seconds: float, monotonic: Callable[[], float]
    ) -> None:
        self._monotonic = monotonic
        self._interval_seconds = interval_seconds
        self._lock = threading.Lock()
        self._wall_start = now
        self._monotonic_start = monotonic()
        self._witnessed_at: float | None = None

    def note_token(self, issued_at: int, now: datetime) -> None:
        """A token was verified; its `iat` tells what time it is elsewhere."""
        if abs(now.timestamp() - issued_at) <= TOKEN_NEARNESS_SECONDS:
            with self._lock:
                self._witnessed_at = self._monotonic()

    def doubt(self, now: datetime, newest_at: str) -> str | None:
        """Why the clock can not be believed at `now`; None when it can."""
        if newest_at and now < moment(newest_at):
            return f"the clock is behind the newest change, which was at {newest_at}"
        with self._lock:
            elapsed = self._monotonic() - self._monotonic_start
            witnessed_at = self._witnessed_at
        drift = (now - self._wall_start).total_seconds() - elapsed
        if abs(drift) > DRIFT_LIMIT_SECONDS:
            return f"the clock moved {drift:+.0f} seconds against the monotonic clock since start; if it is right now, restart the node"
        if witnessed_at is None or self._monotonic() - witnessed_at > 2 * self._interval_seconds:
            return "no token verified in the last two intervals was issued within ten minutes of this clock"
        return None
