"""The Celery app and the beat table. Tasks live in each app's `tasks.py`.

Rows are the truth: a task takes an id, claims its row with a lease and may run twice, so a lost
or doubled message costs latency and nothing else.
"""

import os

from celery import Celery
from celery.signals import worker_process_init
from django.conf import settings

from artstore import telemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "artstore.settings")

app = Celery("artstore")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# Name, how often in seconds, which task. A message that waited longer than its period is void: the
# next one does its work. Tasks are named as strings, so this floor imports no app.
_PERIODIC = (
    ("probe", settings.ARTSTORE_PROBE_PERIOD_SECONDS, "registry.probe_elements"),
    ("sync", 60, "registry.start_due_syncs"),
    ("keys", 300, "admin.retire_signing_keys"),
    ("sessions", 3600, "admin.expire_sessions"),
    ("secrets", 24 * 3600, "admin.warn_of_expiring_secrets"),
)
app.conf.beat_schedule = {
    name: {"task": task, "schedule": seconds, "options": {"expires": seconds}}
    for name, seconds, task in _PERIODIC
}


@worker_process_init.connect
def start_telemetry(**_kwargs: object) -> None:
    """Exporters hold threads, which do not survive the worker's fork."""
    telemetry.start("artstore-worker")
