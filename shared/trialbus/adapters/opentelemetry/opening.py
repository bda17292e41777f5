"""Chooses between tracing and none. The SDK loads only where spans go somewhere."""
# ruff: noqa: PLC0415

from trialbus.ports.tracing import NoTracing, Tracing


def open_tracing(service: str, *, endpoint: str, ratio: float) -> Tracing:
    """endpoint: address of an OTLP receiver over HTTP, without its path; "" for no tracing.
    ratio: share of the traces that begin here which are kept."""
    if not endpoint:
        return NoTracing()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from trialbus.adapters.opentelemetry.tracing import SdkTracing

    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    return SdkTracing(service, BatchSpanProcessor(exporter), ratio=ratio)
