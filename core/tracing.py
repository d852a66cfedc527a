"""Traces by OpenTelemetry, where a collector is set; elsewhere spans cost nothing and the SDK is not even loaded.

FastAPI makes the spans of requests by itself; a worker makes one for every attempt, with its phases as events.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace

from core.settings import Settings, variable

_TRACER: Final = trace.get_tracer("wecolora")


def start_tracing(settings: Settings, process: str) -> Callable[[], None]:
    """Send this process's spans to the collector.

    Args:
        settings: `otlp_endpoint` names the collector, or nothing.
        process: what this is, for `service.name`: `wecolora-api`, `wecolora-worker`.

    Returns:
        What sends the last spans and stops.

    Raises:
        SystemExit: when a collector is set and the SDK is not installed.
    """
    if settings.otlp_endpoint is None:
        return _nothing_to_stop
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SystemExit(
            f"{variable('otlp_endpoint')} is set, but OpenTelemetry's SDK is not installed; "
            "install the extra: pip install 'wecolora[service,tracing]'."
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": f"wecolora-{process}"}))
    exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider.shutdown


@contextmanager
def attempt_span(kind: str, identifier: str, attempt: int) -> Iterator[None]:
    """A span around one attempt at a job or a dataset; an error that ends it is recorded."""
    attributes: dict[str, str | int] = {f"{kind}.id": identifier, f"{kind}.attempt": attempt}
    with _TRACER.start_as_current_span(f"{kind} attempt", attributes=attributes):
        yield


def note(name: str, **attributes: str | int) -> None:
    """An event of the span that this thread is in."""
    trace.get_current_span().add_event(name, attributes)


def _nothing_to_stop() -> None:
    """No collector, nothing to send."""
