"""The Celery app and the beat table. Tasks live in each app's `tasks.py`.

Rows are the truth: a task takes an id, claims its row with a lease and may run twice, so a lost
or doubled message costs latency and nothing else.
"""

import os

from celery import Celery
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.signals import worker_init, worker_process_init
from celery.worker import WorkController
from django.conf import settings

from artstore import telemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "artstore.settings")

app = Celery("artstore")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.on_after_configure.connect  # type: ignore[union-attr]  # the instance has it, the stub thinks of the class
def set_beat_table(sender: Celery, **_kwargs: object) -> None:
    """Name, how often in seconds, which task; tasks as strings, so this floor imports no app.

    A message that waited longer than its period is void: the next one does its work.
    """
    table = (
        ("probe", settings.ARTSTORE_PROBE_PERIOD_SECONDS, "registry.probe_elements"),
        ("sync", 60, "registry.start_due_syncs"),
        ("uploads", settings.ARTSTORE_SETTLE_PERIOD_SECONDS, "ingester.settle_uploads"),
        ("keys", 300, "admin.retire_signing_keys"),
        ("sessions", 3600, "admin.expire_sessions"),
        ("secrets", 6 * 3600, "admin.warn_of_expiring_secrets"),
    )
    sender.conf.beat_schedule = {
        name: {"task": task, "schedule": seconds, "options": {"expires": seconds}}
        for name, seconds, task in table
    }


@worker_process_init.connect
def start_telemetry_in_child(**_kwargs: object) -> None:
    """Exporters hold threads, which do not survive the fork of a worker with processes."""
    telemetry.start("artstore-worker")


@worker_init.connect
def start_telemetry(sender: WorkController, **_kwargs: object) -> None:
    """A worker with threads has no children to start it in."""
    if issubclass(sender.pool_cls, ThreadPool):
        telemetry.start("artstore-worker")
