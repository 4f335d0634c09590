"""How often one address, or one name, may knock at a door that asks for credentials.

Counted in the database, so all processes share one limit. Locking an account after wrong
passwords is `lockout.py`.
"""

import datetime as dt
import ipaddress
import math
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext as _

from apps.admin import metrics
from apps.admin.digests import keyed
from apps.admin.errors import Throttled
from apps.admin.models import RequestRate

_WINDOW = dt.timedelta(minutes=1)
_IPV6_PREFIX_BITS = 64
# Programs fetch tokens more often than people log in, with secrets that cannot be guessed and
# that cost no slow hash to check.
_ALLOWANCE = {"token": 10}

# One row per key holds when the next request would be due at the allowed pace. A request passes
# while that is less than a window ahead, and moves it on by one step; so a burst of a whole
# minute's requests passes and then the pace is kept.
_ADMIT = """
insert into artstore_admin_requestrate as rate (key_digest, due_at)
values {rows}
on conflict (key_digest) do update
    set due_at = greatest(rate.due_at, %s) + (excluded.due_at - %s)
    where rate.due_at + (excluded.due_at - %s) <= %s
returning key_digest
"""
_ADMIT_AND_FIND = """
with admitted as ({admit}), found as ({question})
select array(select key_digest from admitted), found.*
from (select 1) as once left join found on true
"""


@dataclass(frozen=True)
class Question:
    """A row of the database asked for on the way, for a door where each round trip counts."""

    sql: str
    parameters: tuple[str, ...]


_NO_QUESTION = Question("select null", ())


@dataclass(frozen=True)
class _Limit:
    key: str
    per_minute: int

    @property
    def step(self) -> dt.timedelta:
        return _WINDOW / self.per_minute


def admit(door: str, address: str, name: str | None, now: dt.datetime) -> None:
    """Count one request at `door`; `Throttled` when its address or name came too often."""
    admit_asking(door, address, name, now, None)


def admit_asking(
    door: str, address: str, name: str | None, now: dt.datetime, question: Question | None
) -> tuple[Any, ...]:
    """`admit`, and what `question` finds, whose first column is null when it finds nothing."""
    times = _ALLOWANCE.get(door, 1)
    limits = [_Limit(_key(door, "address", _network(address)), times * _per_address())]
    if name:
        limits.append(_Limit(_key(door, "name", name.casefold()), times * _per_name()))
    admitted, *found = _count(limits, now, question)
    refused = [limit for limit in limits if limit.key not in admitted]
    if refused:
        metrics.THROTTLED.labels(door).inc()
        wait_seconds = max(1, math.ceil(max(limit.step for limit in refused).total_seconds()))
        raise Throttled(
            _("Too many requests in a short time. Try again in %(seconds)s s.")
            % {"seconds": wait_seconds},
            headers={"Retry-After": str(wait_seconds)},
        )
    return tuple(found)


def forget_idle(now: dt.datetime) -> int:
    """Drop rows that no longer hold anybody back; answers how many."""
    deleted, _rows = RequestRate.objects.filter(due_at__lt=now - _WINDOW).delete()
    return deleted


def _count(limits: list[_Limit], now: dt.datetime, question: Question | None) -> tuple[Any, ...]:
    """The keys of those that are not exhausted, and what the question found."""
    # In one order everywhere, so that two requests never wait for each other's rows.
    ordered = sorted(limits, key=lambda limit: limit.key)
    values: list[str | dt.datetime] = []
    for limit in ordered:
        values += [limit.key, now + limit.step]
    admit = _ADMIT.format(rows=", ".join(["(%s, %s)"] * len(ordered)))
    values += [now, now, now, now + _WINDOW]
    asked = question or _NO_QUESTION
    with connection.cursor() as cursor:
        cursor.execute(
            _ADMIT_AND_FIND.format(admit=admit, question=asked.sql), [*values, *asked.parameters]
        )
        row: tuple[Any, ...] = cursor.fetchone()
    return row


def _key(door: str, kind: str, value: str) -> str:
    return keyed("throttle", f"{door}:{kind}:{value}")


def _network(address: str) -> str:
    """IPv6 hosts own a whole /64, so that is what is counted."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_PREFIX_BITS), strict=False))


def _per_address() -> int:
    return int(settings.ARTSTORE_THROTTLE_ADDRESS_PER_MINUTE)


def _per_name() -> int:
    return int(settings.ARTSTORE_THROTTLE_NAME_PER_MINUTE)
