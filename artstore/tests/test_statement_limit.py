"""What a web process's limit on statements is, answers, and leaves alone."""

import runpy
import uuid
from pathlib import Path

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from apps.registry import elements
from apps.registry.tests import make
from artstore import api, database

pytestmark = pytest.mark.django_db

CONF = Path(__file__).resolve().parents[2] / "deploy" / "gunicorn.conf.py"


@pytest.mark.parametrize(
    ("given", "shown"),
    [(None, "30s"), ("2.5", "2500ms"), ("0", "0")],
    ids=["default", "set", "off"],
)
def test_a_web_process_has_the_limit(
    monkeypatch: pytest.MonkeyPatch, given: str | None, shown: str
) -> None:
    monkeypatch.setenv("PGOPTIONS", "")
    if given is not None:
        monkeypatch.setenv("ARTSTORE_STATEMENT_TIMEOUT_SECONDS", given)
    runpy.run_path(str(CONF))
    given_on = connection.get_connection_params()
    wanted = {
        name: given_on[name] for name in ("host", "port", "user", "password") if name in given_on
    }
    with psycopg.connect(dbname=given_on["dbname"], **wanted) as other:
        [found] = other.execute("show statement_timeout").fetchone() or [""]
    assert found == shown


def _limited() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 20")


def _sleep() -> None:
    with connection.cursor() as cursor:
        cursor.execute("select pg_sleep(0.1)")


def _sleep_limited() -> None:
    with transaction.atomic():
        _limited()
        _sleep()


def test_a_stopped_statement_is_answered_as_unavailable() -> None:
    with pytest.raises(OperationalError) as stopped:
        _sleep_limited()
    answer = api.exception_handler(stopped.value, {})
    assert (answer.status_code, answer.data["error"]["code"]) == (503, "UNAVAILABLE")


def test_whoever_takes_time_is_not_stopped() -> None:
    with transaction.atomic():
        _limited()
        database.take_time()
        _sleep()


def test_removing_an_element_takes_its_time() -> None:
    element = make.element(f"slow-{uuid.uuid4()}")
    _limited()
    elements.remove(element.pk, None, timezone.now(), force=False)
    with connection.cursor() as cursor:
        cursor.execute("show statement_timeout")
        assert cursor.fetchone() == ("0",)
