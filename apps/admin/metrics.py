"""What identity counts for Prometheus. Rows of docs/metrics.md."""

import datetime as dt
from collections.abc import Iterator

from django.db import DatabaseError
from prometheus_client import REGISTRY, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from apps.admin.models import KeyState, LoginThrottle, ServiceAccount, SigningKey

LOGINS = Counter("artstore_logins_total", "Password logins by outcome.", ["outcome"])
TOKENS_ISSUED = Counter("artstore_tokens_issued_total", "Tokens signed, by kind.", ["kind"])
TOKEN_REFUSALS = Counter(
    "artstore_token_refusals_total", "Refusals of the token endpoint, by RFC 6749 error.", ["error"]
)
THROTTLED = Counter("artstore_throttled_total", "Requests answered 429, by door.", ["door"])
REFRESH_REUSE = Counter(
    "artstore_refresh_reuse_total", "Dead refresh tokens presented again; each ended a session."
)
KEY_ROTATIONS = Counter("artstore_key_rotations_total", "Signing key rotations.", ["kind"])
REFUSALS = Counter("artstore_refusals_total", "Authenticated requests answered 403.")


class IdentityCollector(Collector):
    """What the rows say at scrape time, whichever process is scraped."""

    def describe(self) -> Iterator[Metric]:
        """Nothing: asking the database while the process starts would be too early."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        now = dt.datetime.now(dt.UTC)
        expiring = GaugeMetricFamily(
            "artstore_service_account_secrets_expiring",
            "Active service accounts whose secret ends soon or has ended",
        )
        locked = GaugeMetricFamily("artstore_locked_names", "Names locked after wrong passwords")
        age = GaugeMetricFamily(
            "artstore_signing_key_age_seconds", "How long the active key has been signing"
        )
        try:
            expiring.add_metric([], ServiceAccount.with_secret_ending(now).count())
            locked.add_metric([], LoginThrottle.objects.filter(locked_until__gt=now).count())
            active = SigningKey.objects.filter(state=KeyState.ACTIVE).first()
        except DatabaseError:
            return  # the other metrics are still worth having
        if active is not None and active.activated_at is not None:
            age.add_metric([], (now - active.activated_at).total_seconds())
        yield from (expiring, locked, age)


REGISTRY.register(IdentityCollector())
