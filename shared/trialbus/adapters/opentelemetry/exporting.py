"""Sending spans: of a collector that is away a line in the log tells now and then, no more."""

import logging
import time
from collections.abc import Sequence

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_TELL_EVERY_S = 60.0
# For one batch, with its repeats.
_SEND_DEADLINE_S = 5.0


class PatientExporter(SpanExporter):
    """By OTLP over HTTP. What cannot be sent is dropped, and counted."""

    def __init__(self, url: str, inner: SpanExporter | None = None) -> None:
        self._url = url
        self._inner = inner or OTLPSpanExporter(endpoint=url, timeout=_SEND_DEADLINE_S)
        self._log = structlog.get_logger()
        self._dropped = 0
        self._tell_at = 0.0
        # A line for every attempt of every batch would be all that one reads.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._drop(len(spans))
        return result

    def _drop(self, count: int) -> None:
        self._dropped += count
        now = time.monotonic()
        if now >= self._tell_at:
            self._tell_at = now + _TELL_EVERY_S
            self._log.warning("traces are not taken", url=self._url, dropped_spans=self._dropped)
            self._dropped = 0

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._inner.force_flush(timeout_millis)
