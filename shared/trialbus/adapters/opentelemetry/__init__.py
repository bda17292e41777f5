"""Traces by OpenTelemetry's SDK, sent by OTLP."""

from trialbus.adapters.opentelemetry.opening import open_tracing

__all__ = ["open_tracing"]
