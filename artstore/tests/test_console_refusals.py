"""What a reader gets for pressing what no page offers: 403 on every mutating address, and a row in the log."""

import uuid

import pytest
from django.test import Client

from apps.admin.models import AuditEvent
from apps.admin.tests import make as people
from artstore.tests import access_table

PRESSED = sorted(
    (method, route)
    for route, who in access_table.PAGES.items()
    for method, roles in who.items()
    if "admin" in roles and "readonly" not in roles
)


@pytest.mark.django_db
def test_a_reader_pressing_every_mutating_address_gets_403_and_an_audit_row_each() -> None:
    reader = people.user("readonly")
    browser = Client()
    browser.force_login(reader)
    assert len(PRESSED) > 40
    wrong = []
    for method, route in PRESSED:
        before = AuditEvent.objects.count()
        address = "/console/" + filled(route)
        response = browser.generic(method, address)
        rows = AuditEvent.objects.order_by("-sequence")[: AuditEvent.objects.count() - before]
        told = [(row.actor, row.action.endswith("refused")) for row in rows]
        if response.status_code != 403 or told != [(reader.username, True)]:
            wrong.append((method, address, response.status_code, told))
    assert wrong == []


@pytest.mark.django_db
def test_what_was_pressed_can_be_read_from_the_row() -> None:
    reader = people.user("readonly")
    browser = Client()
    browser.force_login(reader)
    browser.post("/console/files/bulk/delete", {"file_ids": [str(uuid.uuid4())]})
    row = AuditEvent.objects.latest("sequence")
    assert "/console/files/bulk/delete" in f"{row.target} {row.details}"


def filled(route: str) -> str:
    """A concrete address: of things that do not exist, which a reader must not learn."""
    parts = [str(uuid.uuid4()) if part.startswith("<") else part for part in route.split("/")]
    return "/".join(parts)
