"""Tokens for elements: what making one leaves behind."""

import uuid
from typing import Any

from django.db import connection
from django.utils import timezone

from apps.admin.keyring import keyring
from apps.registry import credentials

SOMEBODY = credentials.Caller("somebody", "ingester", ("files:write",))


def test_a_call_to_an_element_holds_no_connection_that_its_token_needed(site: Any) -> None:
    client = credentials.client(site.element, SOMEBODY)
    keyring.forget()
    connection.close()
    assert client.abandon(uuid.uuid4()) is None
    assert connection.connection is None


def test_a_connection_in_use_before_a_token_is_made_stays(site: Any) -> None:
    connection.ensure_connection()
    keyring.forget()
    assert credentials.token(site.element, SOMEBODY, timezone.now)
    assert connection.connection is not None
