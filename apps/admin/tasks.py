"""Identity's background work: each task is one verb, safe to run twice or late."""

import logging

from celery import shared_task
from django.utils import timezone

from apps.admin import keys, lockout, session_store, sessions, throttling
from apps.admin.models import ServiceAccount

logger = logging.getLogger(__name__)


@shared_task(name="admin.retire_signing_keys", ignore_result=True, time_limit=60)
def retire_signing_keys() -> None:
    """Every few minutes: close keys whose last token has expired."""
    retired = keys.retire_expired(timezone.now())
    if retired:
        logger.info("signing keys retired: %d", retired)


@shared_task(name="admin.expire_sessions", ignore_result=True, time_limit=600)
def expire_sessions() -> None:
    """Hourly: forget logins and console sessions that ended, idle failure counts and throttle rows."""
    now = timezone.now()
    ended, names = sessions.forget_ended(now), lockout.forget_idle(now)
    rates = throttling.forget_idle(now)
    session_store.forget_expired()
    logger.info("forgotten: %d session rows, %d names, %d rates", ended, names, rates)


@shared_task(name="admin.warn_of_expiring_secrets", ignore_result=True, time_limit=60)
def warn_of_expiring_secrets() -> None:
    """A few times a day: one warning per account whose secret ends soon or has ended."""
    for account in ServiceAccount.with_secret_ending(timezone.now()):
        logger.warning(
            "the secret of service account %s ends at %s: rotate it",
            account.client_id,
            account.secret_expires_at,
        )
