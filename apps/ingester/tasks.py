"""The ingester's background work. The beat table is in artstore/celery.py."""

from celery import shared_task

from apps.ingester import settling


@shared_task(name="ingester.settle_uploads", acks_late=True, time_limit=300, ignore_result=True)
def settle_uploads() -> None:
    """Rows claimed by a round that dies are claimed again when its lease has run out."""
    settling.settle_expired()
