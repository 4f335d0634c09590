"""The Celery app and the beat table. Tasks live in each app's `tasks.py`.

Rows are the truth: a task takes an id, claims its row with a lease and may run twice, so a lost
or doubled message costs latency and nothing else.
"""

import os

from celery import Celery
from celery.signals import worker_process_init

from artstore import telemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "artstore.settings")

app = Celery("artstore")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_process_init.connect
def start_telemetry(**_kwargs: object) -> None:
    """Exporters hold threads, which do not survive the worker's fork."""
    telemetry.start("artstore-worker")
