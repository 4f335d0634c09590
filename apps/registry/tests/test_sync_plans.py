"""How PostgreSQL carries out a page of sync, on a table whose statistics know nothing of its rows."""

import uuid

import pytest
from django.db import connection
from django.utils import timezone

from apps.registry import applying, feed
from apps.registry.models import SyncRun
from apps.registry.tests import make

STATEMENTS = {
    "update": applying._UPDATE,
    "upsert": applying._UPSERT,
    "tombstones": applying._BURY,
    "held elsewhere": applying._ELSEWHERE,
    "written lately": applying._HELD_BACK,
}
ROWS = 2000


def page(number: int) -> feed.Page:
    said = [make.attributes(file_id=uuid.UUID(int=number * ROWS + one)) for one in range(1000)]
    return make.page(*said, has_more=True)


@pytest.mark.parametrize("told", [None, 0, 1])
@pytest.mark.parametrize("what", STATEMENTS)
def test_records_are_found_by_their_key_alone_however_old_the_statistics_are(
    db: None, what: str, told: int | None
) -> None:
    """Any other way reads all of an element's records for each thousand that it lists."""
    element = make.element()
    run = SyncRun.objects.create(storage_element=element, trigger="manual", kind="full")
    scope = applying.Scope(run.pk, element.pk, timezone.now(), True, True)
    for number in range(ROWS // 1000):
        applying.apply_page(page(number), scope)
    applying.load(page(0).files.values(), None)
    with connection.cursor() as cursor:
        if told is not None:
            # As a vacuum leaves them that found pages and hardly a row in them.
            cursor.execute(
                "SELECT pg_restore_relation_stats('schemaname', 'public', 'relname',"
                " 'registry_filerecord', 'relpages', 300, 'reltuples', %s::real)",
                [told],
            )
        applying._prepare(cursor)
        cursor.execute(f"EXPLAIN {STATEMENTS[what]}", scope.parameters)
        plan = "\n".join(row[0] for row in cursor.fetchall())
    found_by = [line for line in plan.splitlines() if "Scan" in line and "filerecord" in line]
    assert found_by, plan
    assert all("using registry_filerecord_pkey" in line for line in found_by), plan
    assert "Index Cond: (file_id = p.file_id)" in plan, plan
