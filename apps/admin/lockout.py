"""Counting wrong passwords per submitted name, known or not, and locking the name for a while.

The count is exact: attempts on one name take turns on its row, so parallel guesses cannot exceed
the limit, and a name that does not exist behaves like one that does.
"""

import datetime as dt
import math
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from apps.admin import audit, metrics
from apps.admin.digests import keyed
from apps.admin.errors import AccountLocked
from apps.admin.models import LoginThrottle
from artstore.moments import rfc3339

_FORGOTTEN_AFTER = dt.timedelta(days=1)
_TAKE_ROW = """
insert into artstore_admin_loginthrottle (name_digest, failures) values (%s, 0)
on conflict (name_digest) do update set name_digest = excluded.name_digest
returning *
"""


@dataclass(frozen=True)
class LockState:
    """What the contract shows of a name's failures."""

    failed_attempts: int = 0
    locked_until: dt.datetime | None = None

    @property
    def is_locked(self) -> bool:
        return self.locked_until is not None


def try_password(
    name: str, check: Callable[[], bool], audited_name: str | None, now: dt.datetime
) -> bool:
    """Run `check` as one attempt on `name` and answer what it said.

    `AccountLocked`, without running it, while the name is locked. `audited_name` is recorded
    when this attempt locks the name; `None` where nobody has that name, as what was typed may be
    a password.
    """
    with transaction.atomic():
        row = LoginThrottle.objects.raw(_TAKE_ROW, [_digest(name)])[0]
        if row.is_locked(now):
            locked_until = row.locked_until
        else:
            return _attempt(row, check, audited_name, now)
    metrics.LOGINS.labels("locked").inc()
    raise _locked(locked_until or now, now)


def unlock(name: str) -> bool:
    """Forget the failures of a name; answers whether it was locked or counted at all."""
    cleared = LoginThrottle.objects.filter(name_digest=_digest(name)).filter(
        Q(failures__gt=0) | Q(locked_until__isnull=False)
    )
    return cleared.update(failures=0, locked_until=None) > 0


def states(names: Iterable[str], now: dt.datetime) -> dict[str, LockState]:
    """The state of each name, in one query."""
    by_digest = {_digest(name): name for name in names}
    found = dict.fromkeys(by_digest.values(), LockState())
    for row in LoginThrottle.objects.filter(name_digest__in=by_digest):
        found[by_digest[row.name_digest]] = _state(row, now)
    return found


def forget_idle(now: dt.datetime) -> int:
    """Drop names nobody has failed at for a day; answers how many."""
    old = Q(last_failure_at__lt=now - _FORGOTTEN_AFTER) | Q(last_failure_at__isnull=True)
    unlocked = Q(locked_until__isnull=True) | Q(locked_until__lte=now)
    deleted, _rows = LoginThrottle.objects.filter(old & unlocked).delete()
    return deleted


def _attempt(
    row: LoginThrottle, check: Callable[[], bool], audited_name: str | None, now: dt.datetime
) -> bool:
    if row.locked_until is not None:
        # The lock has run out: the name starts from nothing, not one failure short of a lock.
        row.failures, row.locked_until = 0, None
    fits = check()
    if fits:
        row.failures = 0
    else:
        row.failures += 1
        row.last_failure_at = now
        if row.failures >= settings.ARTSTORE_LOCK_FAILURES:
            row.locked_until = now + dt.timedelta(seconds=settings.ARTSTORE_LOCK_SECONDS)
            details = {"failures": row.failures, "until": rfc3339(row.locked_until)}
            audit.record(None, "session.lock", audited_name or "(unknown name)", details, now)
    row.save(update_fields=["failures", "last_failure_at", "locked_until"])
    return fits


def _locked(until: dt.datetime, now: dt.datetime) -> AccountLocked:
    wait_seconds = max(1, math.ceil((until - now).total_seconds()))
    return AccountLocked(
        _(
            "Too many wrong passwords for this name. Try again in %(minutes)s min, or ask an"
            " administrator to unlock it."
        )
        % {"minutes": math.ceil(wait_seconds / 60)},
        headers={"Retry-After": str(wait_seconds)},
    )


def _state(row: LoginThrottle, now: dt.datetime) -> LockState:
    if row.locked_until is None:
        return LockState(row.failures)
    return LockState(row.failures, row.locked_until) if row.is_locked(now) else LockState()


def _digest(name: str) -> str:
    return keyed("login", unicodedata.normalize("NFKC", name).casefold())
