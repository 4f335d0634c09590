"""The registry is lost and rebuilt from its elements. The long form is a drill with 100 000 files on three nodes."""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from apps.admin import service_accounts, users
from apps.admin.models import ServiceAccount, User
from apps.registry.attributes import RECORD_COLUMNS
from apps.registry.models import FileRecord, StorageElement
from apps.registry.tests.site import Site
from bench.node_directory import Content, file_at
from storage_node.tests.drill_report import say

# The fields of `api.md`'s File, and the revision beside them.
SHOWN = ", ".join(name for name in (*RECORD_COLUMNS, "storage_element_id") if name != "file_id")


def test_three_elements_bring_back_every_record_equal(start_site: Callable[..., Site]) -> None:
    rebuilt_after_loss(start_site, (150, 100, 50))


@pytest.mark.drill
def test_drill_a_hundred_thousand_files_on_three_elements_are_rebuilt_equal(
    start_site: Callable[..., Site],
) -> None:
    said = rebuilt_after_loss(start_site, (50_000, 30_000, 20_000))
    say(f"registry lost: 100000 files on 3 elements rebuilt, all equal; {said}")


def rebuilt_after_loss(start_site: Callable[..., Site], sizes: Sequence[int]) -> str:
    """Sync, lose the records, rebuild; the command's own words about its rate."""
    sites = [start_site(f"se-lost-{number}", files) for number, files in enumerate(sizes)]
    people_made()
    for site in sites:
        site.synced()
    assert FileRecord.objects.count() == sum(sizes)
    keep_a_copy()
    before = accounts()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE registry_filerecord, registry_syncrun, registry_seenfile")
    output = io.StringIO()
    call_command("rebuild_registry", stdout=output)
    assert differing_rows() == 0
    for site, count in zip(sites, sizes, strict=True):
        agrees_with_what_was_put_there(site.element, count)
    assert accounts() == before
    rate = re.search(r"[\d,.]+ files/s", output.getvalue())
    assert rate, output.getvalue()
    return rate[0]


def people_made() -> None:
    now = timezone.now()
    users.create(users.NewUser("keeper", "a long pass phrase", "admin"), None, now)
    service_accounts.create(service_accounts.NewAccount("pipeline", ["files:read"]), None, now)


def accounts() -> list[dict[str, Any]]:
    return [*User.objects.order_by("pk").values(), *ServiceAccount.objects.order_by("pk").values()]


def keep_a_copy() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMPORARY TABLE kept AS SELECT file_id, {SHOWN} FROM registry_filerecord"
        )


def differing_rows() -> int:
    """Rows that are missing, new, or differ in any field from the copy, as PostgreSQL compares them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM (SELECT file_id,"
            f" {SHOWN} FROM kept) k FULL JOIN (SELECT file_id, {SHOWN} FROM registry_filerecord) r"
            " USING (file_id) WHERE k IS DISTINCT FROM r"
        )
        found = int(cursor.fetchone()[0])
        cursor.execute("DROP TABLE kept")
        return found


def agrees_with_what_was_put_there(element: StorageElement, count: int) -> None:
    """Held against the attributes the directory was made of, not against another sync's result."""
    content = Content(element.storage_id, count)
    for number in {0, 1, 2, 3, 4, 49, count // 2, count - 1}:
        file = file_at(content, number)[0]
        record = FileRecord.objects.get(pk=file.file_id)
        assert record.storage_element_id == element.pk
        for name in RECORD_COLUMNS:
            said = getattr(file, "revision" if name == "stored_revision" else name)
            kept = getattr(record, name)
            assert kept == (list(said) if name == "tags" else said), name
