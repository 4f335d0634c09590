"""What Prometheus may ask of the doors: counters they feed. Gauges of the engine are in `readings.py`.

Names and meanings are listed in docs/metrics.md. No decisions here.
"""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

SECONDS_BUCKETS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    300,
)
FSYNC_BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)


class Metrics:
    """The node's own registry, so that nothing of another library is shown by accident."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        GCCollector(self.registry)
        PlatformCollector(self.registry)
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "artstore_node_requests_total",
            "Answers by route, method and status.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "artstore_node_request_seconds",
            "Time from request to end of answer.",
            ["route"],
            buckets=SECONDS_BUCKETS,
            registry=self.registry,
        )
        self._received = Counter(
            "artstore_node_received_bytes_total", "Body bytes received.", registry=self.registry
        )
        self._sent = Counter(
            "artstore_node_sent_bytes_total", "Body bytes sent.", registry=self.registry
        )
        self._cut = Counter(
            "artstore_node_cut_transfers_total",
            "Answers that broke off before their end.",
            registry=self.registry,
        )
        self._answers: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer. Children are remembered: looking them up by label costs more than counting."""
        key = (route, method, status)
        pair = self._answers.get(key)
        if pair is None:
            pair = self._answers[key] = (
                self._requests.labels(route, method, str(status)),
                self._seconds.labels(route),
            )
        pair[0].inc()
        pair[1].observe(seconds)

    def moved(self, received_bytes: int, sent_bytes: int) -> None:
        """Count body bytes of one request."""
        if received_bytes:
            self._received.inc(received_bytes)
        if sent_bytes:
            self._sent.inc(sent_bytes)

    def cut(self) -> None:
        """Count an answer that broke off."""
        self._cut.inc()

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
