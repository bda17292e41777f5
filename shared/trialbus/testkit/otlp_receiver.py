"""A receiver of traces (OTLP over HTTP, protobuf), in a thread of the test's own process."""

import gzip
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

PATH = "/v1/traces"
_NANOSECONDS = 1_000_000_000
Value = str | bool | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedSpan:
    """service: as `service.name` has it. kind: in lower case. ids: hexadecimal; parent_id: "" for a
    root. Times are seconds since the epoch. links: (trace, span). error: None where it did not
    fail."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    started_at: float
    ended_at: float
    attributes: Mapping[str, Value]
    links: tuple[tuple[str, str], ...]
    error: str | None


class OtlpReceiver:
    """endpoint: what a service's setting `trace_endpoint` is to say. The same span told twice is
    kept once, as a store of traces does."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._lock = threading.Lock()
        self._spans: dict[tuple[str, str], ReceivedSpan] = {}
        self._requests = 0

    @property
    def spans(self) -> list[ReceivedSpan]:
        with self._lock:
            return list(self._spans.values())

    @property
    def requests(self) -> int:
        """How many were made, with any number of spans each."""
        with self._lock:
            return self._requests

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of one trace, in the order of their starts."""
        own = [span for span in self.spans if span.trace_id == trace_id]
        return sorted(own, key=lambda span: span.started_at)

    def named(self, name: str, trace_id: str | None = None) -> list[ReceivedSpan]:
        """Spans of this name, in the order of their starts."""
        spans = self.spans if trace_id is None else self.trace(trace_id)
        return sorted(
            (span for span in spans if span.name == name), key=lambda span: span.started_at
        )

    def take(self, body: bytes) -> None:
        """Keep what one request tells."""
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        with self._lock:
            self._requests += 1
            for resource in request.resource_spans:
                service = str(_values(resource.resource.attributes).get("service.name", ""))
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        received = _received(service, span)
                        self._spans[received.trace_id, received.span_id] = received


@contextmanager
def receiving_traces(port: int = 0) -> Iterator[OtlpReceiver]:
    """port: 0 for any that is free."""
    with ThreadingHTTPServer(("127.0.0.1", port), _Handler) as server:
        receiver = OtlpReceiver(f"http://127.0.0.1:{server.server_address[1]}")
        server.receiver = receiver  # type: ignore[attr-defined] # what its handlers write to
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        known = self.path == PATH
        if known:
            self.server.receiver.take(body)  # type: ignore[attr-defined]
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test's output is its own."""


def _received(service: str, span: Span) -> ReceivedSpan:
    failed = span.status.code == Status.STATUS_CODE_ERROR
    return ReceivedSpan(
        service=service,
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        started_at=span.start_time_unix_nano / _NANOSECONDS,
        ended_at=span.end_time_unix_nano / _NANOSECONDS,
        attributes=_values(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        error=span.status.message if failed else None,
    )


def _values(attributes: Sequence[KeyValue]) -> dict[str, Value]:
    return {it.key: _value(it.value) for it in attributes}


def _value(value: AnyValue) -> Value:
    found: Value = getattr(value, value.WhichOneof("value") or "string_value")
    return found
