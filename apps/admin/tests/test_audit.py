"""The audit log keeps what it was told."""

import datetime as dt
import uuid

import pytest
from django.db import DatabaseError, connection, transaction

from apps.admin import audit
from apps.admin.models import AuditEvent
from apps.admin.principals import Principal

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
ADMIN = Principal("user", "ada", uuid.UUID(int=7), role="admin")


def an_event(at: dt.datetime = NOW) -> AuditEvent:
    return audit.record(ADMIN, "user.create", "bob", {"role": "readonly"}, at)


def test_an_event_says_who_did_what_to_whom_and_when() -> None:
    stored = AuditEvent.objects.get(pk=an_event().pk)
    assert (stored.actor, stored.actor_kind) == ("ada", "user")
    assert (stored.action, stored.target, stored.at) == ("user.create", "bob", NOW)
    assert stored.details == {"role": "readonly"}


@pytest.mark.parametrize(
    "statement",
    [
        "update artstore_admin_auditevent set actor = 'nobody'",
        "delete from artstore_admin_auditevent",
    ],
)
def test_events_can_be_neither_changed_nor_deleted(statement: str) -> None:
    an_event()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        connection.cursor().execute(statement)
    assert AuditEvent.objects.filter(actor="ada").count() == 1


def test_the_table_cannot_be_truncated() -> None:
    an_event()
    with connection.cursor() as cursor:
        cursor.execute("set local artstore.audit_truncation = 'off'")
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            cursor.execute("truncate artstore_admin_auditevent")


def test_pruning_deletes_what_is_old_and_says_so() -> None:
    an_event(NOW - dt.timedelta(days=800))
    an_event(NOW)
    assert audit.prune(NOW - dt.timedelta(days=730), ADMIN, NOW) == 1
    events = AuditEvent.objects.filter(actor="ada")
    assert [event.action for event in events] == ["audit.prune", "user.create"]
    assert events[0].details["events"] == 1


def test_after_pruning_deleting_is_refused_again_in_the_same_transaction() -> None:
    an_event()
    audit.prune(NOW - dt.timedelta(days=1), ADMIN, NOW)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEvent.objects.all().delete()


def test_the_history_of_one_thing_is_read_from_an_index() -> None:
    """At any size: its page and `?target=` never read the whole log."""
    with connection.cursor() as cursor:
        cursor.execute("set local enable_seqscan = off")
        newest = AuditEvent.objects.filter(target="bob").order_by("-sequence")[:10]
        plan = newest.explain()
    assert "audit_by_target" in plan
    assert "Sort" not in plan
