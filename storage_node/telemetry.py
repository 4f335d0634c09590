"""OpenTelemetry: one span per request that continues the caller's `traceparent`. Costs nothing when it is off.

On when OTEL_EXPORTER_OTLP_ENDPOINT is set; the SDK reads the other OTEL_* settings itself.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from storage_node.call import Call

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")
SERVER_FAULT_STATUS = 500


class Traces:
    """Makes spans when `provider` is given; else only passes the caller's trace id to the log line."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("storage_node") if provider else None

    @property
    def is_off(self) -> bool:
        """Whether no spans are made."""
        return self._tracer is None

    def note_caller(self, call: Call) -> None:
        """Put the caller's trace id into the log line."""
        traceparent = call.header(b"traceparent")
        if traceparent is not None and (match := _TRACEPARENT.fullmatch(traceparent)):
            call.trace_id = match[1]

    @contextmanager
    def around(self, method: str, call: Call) -> Iterator[None]:
        """A span for the request; its name and status come from what `call` has become by the end."""
        assert self._tracer is not None  # asked only when traces are on
        carrier = {
            "traceparent": call.header(b"traceparent") or "",
            "tracestate": call.header(b"tracestate") or "",
        }
        parent = propagate.extract(carrier)
        with self._tracer.start_as_current_span(
            "request", context=parent, kind=SpanKind.SERVER
        ) as span:
            call.trace_id = trace.format_trace_id(span.get_span_context().trace_id)
            try:
                yield
            finally:
                span.update_name(f"{method} {call.route}")
                span.set_attribute("http.request.method", method)
                span.set_attribute("http.route", call.route)
                span.set_attribute("http.response.status_code", call.status)
                span.set_attribute("artstore.request_id", call.request_id)
                if call.status >= SERVER_FAULT_STATUS:
                    span.set_status(Status(StatusCode.ERROR))

    def close(self) -> None:
        """Send what is left."""
        if self._provider is not None:
            self._provider.shutdown()


def start(storage_id: str, otlp_endpoint: str | None) -> Traces:
    """Traces to the endpoint, or none without one."""
    if otlp_endpoint is None:
        return Traces(None)
    resource = Resource.create(
        {"service.name": "artstore-storage-node", "service.instance.id": storage_id}
    )
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider)
