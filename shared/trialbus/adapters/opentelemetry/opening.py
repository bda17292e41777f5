"""Chooses between tracing and none. The SDK loads only where spans go somewhere."""
# ruff: noqa: PLC0415

from trialbus.ports.tracing import NoTracing, Tracing

# Spans wait here for the collector, about 2 kB each; more are dropped.
_QUEUE_SPANS = 8192
_BATCH_SPANS = 1024
_SEND_EVERY_MS = 1000


def open_tracing(service: str, *, endpoint: str, ratio: float) -> Tracing:
    """endpoint: address of an OTLP receiver over HTTP, without its path; "" for no tracing.
    ratio: share of the traces that begin here which are kept."""
    if not endpoint:
        return NoTracing()
    from trialbus.adapters.opentelemetry.exporting import BoundedQueue, PatientExporter
    from trialbus.adapters.opentelemetry.tracing import SdkTracing

    exporter = PatientExporter(f"{endpoint.rstrip('/')}/v1/traces")
    queue = BoundedQueue(exporter, spans=_QUEUE_SPANS, batch=_BATCH_SPANS, every_ms=_SEND_EVERY_MS)
    return SdkTracing(service, queue, ratio=ratio)
