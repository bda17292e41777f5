"""Traces by OpenTelemetry's SDK, sent by OTLP."""

from trialbus.adapters.opentelemetry.current import current_ids
from trialbus.adapters.opentelemetry.opening import open_tracing

__all__ = ["current_ids", "open_tracing"]
