"""System checks, readiness, metrics, and the beat that leads alone."""

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone
from prometheus_client import generate_latest

from apps.registry import checks
from apps.registry.models import WorkerHeartbeat
from apps.registry.tests import make
from artstore import health
from artstore.beat import SingleScheduler
from artstore.celery import app


def test_the_settings_as_they_are_have_nothing_to_complain_about() -> None:
    assert checks.check_settings(None) == []


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("CELERY_BROKER_URL", "filesystem://", "artstore.E201"),
        ("CELERY_BROKER_URL", "sqla+postgresql://x", "artstore.E201"),
        ("CELERY_BROKER_URL", "memory://", "artstore.E201"),
        ("ARTSTORE_NODE_CONNECT_SECONDS", 0, "artstore.E202"),
        ("ARTSTORE_SYNC_LEASE_SECONDS", 30, "artstore.E203"),
        ("ARTSTORE_SYNC_MISSING_PERCENT", 101, "artstore.E204"),
    ],
)
def test_what_an_operator_can_get_wrong_is_found(
    settings: Any, name: str, value: Any, code: str
) -> None:
    setattr(settings, name, value)
    assert code in [found.id for found in checks.check_settings(None)]


@pytest.mark.django_db
def test_readiness_says_when_no_worker_is_alive() -> None:
    with pytest.raises(health.Degraded):
        checks.check_workers()
    WorkerHeartbeat.beat(["w"])
    checks.check_workers()
    WorkerHeartbeat.objects.update(seen_at=timezone.now() - dt.timedelta(minutes=5))
    with pytest.raises(health.Degraded):
        checks.check_workers()


@pytest.mark.django_db
def test_metrics_show_elements_and_workers() -> None:
    make.element("se-shown", capacity_bytes=100, used_bytes=40, last_file_sync_at=timezone.now())
    WorkerHeartbeat.beat(["w1"])
    text = generate_latest().decode()
    assert 'artstore_element_bytes{element="se-shown",kind="used"} 40.0' in text
    assert 'artstore_element_status{element="se-shown",status="online"} 1.0' in text
    assert 'artstore_element_last_sync_timestamp_seconds{element="se-shown"}' in text
    assert 'artstore_worker_last_seen_timestamp_seconds{worker="w1"}' in text


@pytest.mark.django_db(transaction=True)
def test_of_two_beats_one_leads_and_the_other_follows_when_it_ends() -> None:
    first, second = (SingleScheduler(app, lazy=True) for _ in range(2))
    assert first._leads()
    assert not second._leads()
    assert second.tick() > 0
    assert first._leads(), "it still does"
    first._give_up()
    assert second._leads()
    second._connection.connection.close()
    assert not second._leads(), "its session is gone, and so is the lock"
    assert first._leads()
    first._give_up()
