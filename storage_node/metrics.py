"""What Prometheus may ask of the doors: requests, bytes, broken transfers. Gauges of the engine are in `readings.py`.

Counted in plain numbers on the event loop, which is the only writer, and turned into families when asked for: the
library's own counters lock for every step, and at some thousand requests a second that shows. Names and meanings are
listed in docs/metrics.md.
"""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300)


class _Times:
    """How long the answers of one route took."""

    def __init__(self) -> None:
        self.buckets = [0] * (len(SECONDS_BUCKETS) + 1)
        self.total_seconds = 0.0


class Metrics(Collector):
    """The doors' counters, and the registry the node shows: its own, so that nothing else comes along by accident."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, int], int] = {}
        self._times: dict[str, _Times] = {}
        self._received_bytes = 0
        self._sent_bytes = 0
        self._cut = 0
        self.registry = CollectorRegistry()
        GCCollector(self.registry)
        PlatformCollector(self.registry)
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        key = (route, method, status)
        self._answers[key] = self._answers.get(key, 0) + 1
        times = self._times.get(route)
        if times is None:
            times = self._times[route] = _Times()
        times.buckets[bisect_left(SECONDS_BUCKETS, seconds)] += 1
        times.total_seconds += seconds

    def moved(self, received_bytes: int, sent_bytes: int, cut: bool) -> None:
        """Count the body bytes of one request, and whether its answer broke off."""
        self._received_bytes += received_bytes
        self._sent_bytes += sent_bytes
        self._cut += cut

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry for each exposition."""
        answers = CounterMetricFamily(
            "artstore_node_requests_total",
            "Answers by route, method and status.",
            labels=["route", "method", "status"],
        )
        for (route, method, status), count in self._answers.items():
            answers.add_metric([route, method, str(status)], count)
        yield answers
        times = HistogramMetricFamily(
            "artstore_node_request_seconds",
            "Time from request to end of answer.",
            labels=["route"],
        )
        bounds = [*(str(float(bound)) for bound in SECONDS_BUCKETS), "+Inf"]
        for route, taken in self._times.items():
            counts = accumulate(taken.buckets)
            times.add_metric([route], list(zip(bounds, counts, strict=True)), taken.total_seconds)
        yield times
        yield CounterMetricFamily(
            "artstore_node_received_bytes_total", "Body bytes received.", self._received_bytes
        )
        yield CounterMetricFamily(
            "artstore_node_sent_bytes_total", "Body bytes sent.", self._sent_bytes
        )
        yield CounterMetricFamily(
            "artstore_node_cut_transfers_total",
            "Answers that broke off before their end.",
            self._cut,
        )
