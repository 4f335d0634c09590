"""The registry's background work. Each task takes an id or nothing, is safe to run twice or late, and
leaves deciding to the verbs.
"""

import logging
import uuid

from celery import shared_task, signals
from django.db import transaction
from django.utils import timezone

from apps.registry import indexes, probing, rounds, sync
from apps.registry.heartbeat import Heart

logger = logging.getLogger(__name__)

_heart = Heart()


def enqueue_sync(run_id: uuid.UUID) -> None:
    """Have a worker run a claimed sync, once the transaction that claimed it is committed."""
    transaction.on_commit(lambda: run_sync.delay(str(run_id)))


@shared_task(name="registry.run_sync", ignore_result=True, acks_late=True)
def run_sync(run_id: str) -> None:
    """No time limit: a sync lives as long as it makes progress, which its lease proves."""
    sync.run(uuid.UUID(run_id))


@shared_task(name="registry.start_due_syncs", ignore_result=True, time_limit=300)
def start_due_syncs() -> None:
    """Every minute: claim what is due, close what lost its worker, enqueue what nobody took."""
    due = rounds.open_due(timezone.now())
    for run_id in due.runs:
        enqueue_sync(run_id)
    if due.abandoned:
        logger.warning("sync runs without a worker closed: %d", due.abandoned)
    if indexes.due():
        build_indexes.delay()


@shared_task(name="registry.build_indexes", ignore_result=True, acks_late=True)
def build_indexes() -> None:
    """What a first load left out, when its worker did not come to build it. No time limit: it grows with the records."""
    indexes.build_due()


@shared_task(name="registry.probe_elements", ignore_result=True, time_limit=300)
def probe_elements() -> None:
    """Every 30 seconds (a setting): ask all elements how they are."""
    report = probing.probe_all(timezone.now())
    logger.debug("probed %d elements, %d online", report.probed, report.online)


@signals.worker_ready.connect
def start_heart(**_kwargs: object) -> None:
    """A worker that takes tasks says so; the broker cannot be asked who is there."""
    _heart.start()


@signals.worker_shutting_down.connect
def stop_heart(**_kwargs: object) -> None:
    _heart.stop()
