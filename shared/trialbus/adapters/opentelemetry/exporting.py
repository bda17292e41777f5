"""Sending spans: of a collector that is away a line in the log tells now and then, no more."""

import logging
import threading
import time
from collections.abc import Sequence

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

_TELL_EVERY_S = 60.0
# For one batch, with its repeats.
_SEND_DEADLINE_S = 5.0


class PatientExporter(SpanExporter):
    """By OTLP over HTTP. What cannot be sent is dropped, and counted. taken: how many spans came
    to be sent so far."""

    def __init__(self, url: str, inner: SpanExporter | None = None) -> None:
        self._url = url
        self._inner = inner or OTLPSpanExporter(endpoint=url, timeout=_SEND_DEADLINE_S)
        self._log = structlog.get_logger()
        self.taken = 0
        self._lock = threading.Lock()
        self._dropped = 0
        self._tell_at = 0.0
        # A line for every attempt of every batch would be all that one reads.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self.drop(len(spans))
        return result

    def drop(self, count: int) -> None:
        """So many are given up. From any thread."""
        now = time.monotonic()
        with self._lock:
            self._dropped += count
            if now < self._tell_at:
                return
            self._tell_at = now + _TELL_EVERY_S
            told, self._dropped = self._dropped, 0
        self._log.warning("traces are not taken", url=self._url, dropped_spans=told)

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._inner.force_flush(timeout_millis)


class BoundedQueue(BatchSpanProcessor):
    """Spans on their way to the exporter. Of a full queue the SDK tells in its own log only, which
    is switched off, so the new ones are given up here, before it is full."""

    def __init__(
        self, exporter: PatientExporter, *, spans: int, batch: int, every_ms: float
    ) -> None:
        # One batch more than may wait: what is taken out is counted a moment later.
        super().__init__(
            exporter,
            max_queue_size=spans + batch,
            max_export_batch_size=batch,
            schedule_delay_millis=every_ms,
        )
        self._exporter = exporter
        self._room = spans
        self._accepting = threading.Lock()
        self._accepted = 0

    def on_end(self, span: ReadableSpan) -> None:
        with self._accepting:
            is_full = self._accepted - self._exporter.taken >= self._room
            self._accepted += not is_full
        if is_full:
            self._exporter.drop(1)
        else:
            super().on_end(span)
