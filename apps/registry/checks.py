"""What an operator can get wrong about elements, sync and background work, found with a hint."""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.db.models.functions import Now

from apps.registry.models import WaitingIndex, WorkerHeartbeat
from artstore import health

_SILENT = dt.timedelta(minutes=2)
_LOSSY_BROKERS = ("filesystem", "sqla", "sqlalchemy", "memory")


@checks.register(checks.Tags.security)
def check_settings(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - Django's signature
    **_kwargs: Any,
) -> list[checks.CheckMessage]:
    return [*_broker(), *_patience(), *_thresholds()]


def _broker() -> Iterator[checks.CheckMessage]:
    if str(settings.CELERY_BROKER_URL).startswith(_LOSSY_BROKERS):
        yield checks.Error(
            "This broker loses messages when a worker dies.",
            hint="Set ARTSTORE_BROKER_URL to pgmq:// or to RabbitMQ (amqp://).",
            id="artstore.E201",
        )


def _patience() -> Iterator[checks.CheckMessage]:
    names = (
        "ARTSTORE_NODE_CONNECT_SECONDS",
        "ARTSTORE_NODE_STALL_SECONDS",
        "ARTSTORE_NODE_ANSWER_SECONDS",
        "ARTSTORE_PROBE_ANSWER_SECONDS",
        "ARTSTORE_PROBE_PERIOD_SECONDS",
        "ARTSTORE_SYNC_PERIOD_SECONDS",
        "ARTSTORE_SYNC_LEASE_SECONDS",
    )
    for name in names:
        if getattr(settings, name) <= 0:
            yield checks.Error(f"{name} has to be more than 0.", id="artstore.E202")
    if settings.ARTSTORE_SYNC_LEASE_SECONDS <= 2 * settings.ARTSTORE_NODE_ANSWER_SECONDS:
        yield checks.Error(
            "A sync run would be taken for dead while it waits for one page of its element.",
            hint="Make ARTSTORE_SYNC_LEASE_SECONDS more than twice ARTSTORE_NODE_ANSWER_SECONDS.",
            id="artstore.E203",
        )


def _thresholds() -> Iterator[checks.CheckMessage]:
    if not 0 <= settings.ARTSTORE_SYNC_MISSING_PERCENT <= 100:
        yield checks.Error(
            "ARTSTORE_SYNC_MISSING_PERCENT is a percentage from 0 to 100.", id="artstore.E204"
        )


def check_workers() -> None:
    """Readiness: the web goes on without workers, but nothing is probed or synced."""
    if not WorkerHeartbeat.objects.filter(seen_at__gte=Now() - _SILENT).exists():
        raise health.Degraded("no background worker gave a sign of life lately")


def check_indexes() -> None:
    """Readiness: all is found meanwhile, but by anything except its time slowly or too slowly."""
    if WaitingIndex.objects.exists():
        raise health.Degraded(
            "search indexes are built when the first load of an element has ended"
        )


health.CHECKS.setdefault("workers", check_workers)
health.CHECKS.setdefault("indexes", check_indexes)
