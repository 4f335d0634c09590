"""What a filled registry holds: elements, made records, sync runs, audit events, and an admin."""

import datetime as dt
import uuid

from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from apps.admin import keys, users
from apps.admin.models import User
from apps.query.tests.asked import ELEMENTS
from apps.query.tests.made_records import make_records
from apps.registry.models import StorageElement, SyncRun, element_id_of

RUNS_PER_ELEMENT = 500
AUDIT_EVENTS = 100_000
ADMIN = "bench-admin"


def make(count: int) -> None:
    """Start from nothing: schema, then everything."""
    with connection.cursor() as cursor:
        cursor.execute("drop schema public cascade; create schema public")
    call_command("migrate", verbosity=0)
    now = timezone.now()
    keys.ensure_signing_keys(now)
    users.create(users.NewUser(ADMIN, uuid.uuid4().hex + "Aa1!", "admin"), None, now)
    elements = [_element(number, count, now) for number in range(len(ELEMENTS))]
    make_records(count, [element.pk for element in elements])
    for element in elements:
        _runs(element, now)
    _audit(now)
    with connection.cursor() as cursor:
        cursor.execute("vacuum analyze")


def admin() -> User:
    return User.objects.get(username=ADMIN)


def _element(number: int, count: int, now: dt.datetime) -> StorageElement:
    storage_id = ELEMENTS[number]
    return StorageElement.objects.create(
        id=element_id_of(storage_id),
        name=f"Хранилище {number}" if number % 2 else f"Rack {number}",
        url=f"https://127.0.0.1:{9250 + number}",
        storage_id=storage_id,
        instance_id=str(uuid.uuid4()),
        epoch=str(uuid.uuid4()),
        mode="edit" if number % 2 else "rw",
        status="online",
        capacity_bytes=10**13,
        used_bytes=10**12 * (number % 10),
        available_bytes=10**13 - 10**12 * (number % 10),
        file_count=count // len(ELEMENTS),
        last_probe_at=now,
        last_sync_at=now,
        last_full_sync_at=now,
    )


def _runs(element: StorageElement, now: dt.datetime) -> None:
    SyncRun.objects.bulk_create(
        SyncRun(
            storage_element=element,
            trigger="periodic",
            kind="changes",
            status="succeeded",
            files_seen=number,
            started_at=now - dt.timedelta(hours=number + 1),
            finished_at=now - dt.timedelta(hours=number + 1) + dt.timedelta(seconds=9),
        )
        for number in range(RUNS_PER_ELEMENT)
    )


def _audit(now: dt.datetime) -> None:
    """Written as one statement: a call per event would take minutes."""
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into artstore_admin_auditevent"
            " (event_id, at, actor, actor_kind, action, target, details, request_id)"
            " select gen_random_uuid(), %s::timestamptz - n * interval '1 minute', 'someone', 'user',"
            " (array['file.edit', 'file.delete', 'session.login'])[1 + n %% 3],"
            " 'file:' || md5(n::text)::uuid, '{}'::jsonb, ''"
            " from generate_series(1, %s) as n",
            [now, AUDIT_EVENTS],
        )
