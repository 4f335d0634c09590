"""The audit log: one event per administrative act, in the act's own transaction.

Never holds a secret: callers pass names, ids and what changed. Deleting is pruning, and pruning
is itself an event.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Protocol

from django.db import connection, transaction

from apps.admin.models import SYSTEM_SUBJECT, AuditEvent
from artstore.logs import request_id_var
from artstore.moments import rfc3339

_TARGET_CHARACTERS = 300
SHOWN_EVENTS = 10


class Actor(Protocol):
    """Whoever did it; a `Principal` is one."""

    @property
    def kind(self) -> str: ...
    @property
    def subject(self) -> str: ...


def record(
    principal: Actor | None, action: str, target: str, details: Mapping[str, Any], now: dt.datetime
) -> AuditEvent:
    """Write one event in the current transaction. `None`: the system or its shell did it."""
    return AuditEvent.objects.create(
        at=now,
        actor=principal.subject if principal else SYSTEM_SUBJECT,
        actor_kind=principal.kind if principal else "system",
        action=action,
        target=target[:_TARGET_CHARACTERS],
        details=dict(details),
        request_id=request_id_var.get(),
    )


def about(target: str) -> list[AuditEvent]:
    """The last things done to one thing, newest first, for its page."""
    return list(AuditEvent.objects.filter(target=target).order_by("-sequence")[:SHOWN_EVENTS])


def prune(before: dt.datetime, principal: Actor | None, now: dt.datetime) -> int:
    """Delete events older than `before` and record that; answers how many went."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            # The trigger lets DELETE pass only in a transaction that says it is pruning.
            cursor.execute("select set_config('artstore.audit_pruning', 'on', true)")
        deleted, _ = AuditEvent.objects.filter(at__lt=before).delete()
        with connection.cursor() as cursor:
            cursor.execute("select set_config('artstore.audit_pruning', 'off', true)")
        details = {"before": rfc3339(before), "events": deleted}
        record(principal, "audit.prune", "audit-events", details, now)
    return deleted
