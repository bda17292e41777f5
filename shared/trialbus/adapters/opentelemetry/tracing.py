"""The tracing port on OpenTelemetry's SDK."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from random import Random

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, StatusCode, TraceFlags

from trialbus.kernel.limits import MAX_MESSAGE_CHARS
from trialbus.kernel.told_secrets import clean_text
from trialbus.kernel.traces import TraceContext
from trialbus.ports.tracing import Attribute, NoTracing, Span, SpanKind

_NANOSECONDS = 1_000_000_000
_KINDS = {kind: trace.SpanKind[kind.name] for kind in SpanKind}
# A collector that does not answer may keep a service from its end so long.
_CLOSE_DEADLINE_S = 1.5

# Trace id of the current span, where it is kept. The SDK would say so as well, in microseconds, and
# the question is asked with every observation.
_KEPT: ContextVar[str | None] = ContextVar("kept_trace", default=None)


class SdkTracing:
    """Spans of one service process. ratio: share of the traces that begin here which are kept."""

    def __init__(self, service: str, processor: SpanProcessor, *, ratio: float) -> None:
        self._ids = _KnownIds()
        self._nothing = NoTracing()
        self._ratio = ratio
        self._rng = Random()
        self._provider = TracerProvider(
            resource=Resource.create(
                {
                    "service.name": f"trialbus-{service.replace('_', '-')}",
                    "service.namespace": "trialbus",
                    "service.version": version("trialbus"),
                }
            ),
            # What is not kept never comes to it.
            sampler=ALWAYS_ON,
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("trialbus")

    @property
    def on(self) -> bool:
        return True

    def current(self) -> TraceContext | None:
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return TraceContext(
            trace_id=f"{context.trace_id:032x}",
            span_id=f"{context.span_id:016x}",
            sampled=context.trace_flags.sampled,
        )

    def kept_trace(self) -> str | None:
        return _KEPT.get()

    def outside(self) -> AbstractContextManager[object]:
        return _within_span(trace.INVALID_SPAN)

    def span(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: TraceContext | None = None,
        root: bool = False,
        links: Sequence[TraceContext] = (),
        attributes: Mapping[str, Attribute] | None = None,
    ) -> AbstractContextManager[Span]:
        if parent is not None:
            if parent.sampled:
                return self._kept(name, kind, parent, links, attributes)
            return self._unkept(_context(parent))
        if not root and _KEPT.get() is None:
            return self._nothing.span(name)
        current = trace.get_current_span().get_span_context()
        if current.is_valid:
            if current.trace_flags.sampled:
                return self._kept(name, kind, None, links, attributes)
        elif root:
            if self._rng.random() < self._ratio:
                return self._kept(name, kind, None, links, attributes)
            return self._unkept(self._fresh())
        return self._nothing.span(name)

    @contextmanager
    def _kept(
        self,
        name: str,
        kind: SpanKind,
        parent: TraceContext | None,
        links: Sequence[TraceContext],
        attributes: Mapping[str, Attribute] | None,
    ) -> Iterator[Span]:
        with (
            self._tracer.start_as_current_span(
                name,
                context=None if parent is None else _within(parent),
                kind=_KINDS[kind],
                attributes=attributes,
                links=[Link(_context(link)) for link in links],
                # The SDK would export message and traceback as they are.
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
            _keeping(f"{span.get_span_context().trace_id:032x}"),
        ):
            try:
                yield _SdkSpan(span)
            except Exception as error:
                _fail(span, f"{type(error).__name__}: {error}")
                raise

    @contextmanager
    def _unkept(self, context: SpanContext) -> Iterator[Span]:
        """Current all the same, so that nothing in it begins a trace of its own."""
        with _within_span(NonRecordingSpan(context)), self._nothing.span("") as span:
            yield span

    def _fresh(self) -> SpanContext:
        return SpanContext(
            trace_id=self._ids.generate_trace_id(),
            span_id=self._ids.generate_span_id(),
            is_remote=False,
            trace_flags=TraceFlags(TraceFlags.DEFAULT),
        )

    def record(
        self,
        name: str,
        *,
        context: TraceContext,
        parent: TraceContext,
        started_at: float,
        ended_at: float,
        attributes: Mapping[str, Attribute] | None = None,
        links: Sequence[TraceContext] = (),
        error: str = "",
    ) -> None:
        if not parent.sampled:
            return
        with self._ids.known(int(context.span_id, 16)):
            span = self._tracer.start_span(
                name,
                context=_within(parent),
                attributes=attributes,
                links=[Link(_context(link)) for link in links],
                start_time=int(started_at * _NANOSECONDS),
            )
        if error:
            _fail(span, error)
        span.end(int(max(started_at, ended_at) * _NANOSECONDS))

    def close(self) -> None:
        # The SDK waits up to half a minute for a collector that is away; the thread is a daemon.
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_DEADLINE_S)


class _SdkSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, attributes: Mapping[str, Attribute]) -> None:
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, why: str) -> None:
        _fail(self._span, why)


def _fail(span: trace.Span, why: str) -> None:
    """In words that may leave the system."""
    span.set_status(StatusCode.ERROR, clean_text(why)[:MAX_MESSAGE_CHARS])


class _KnownIds(RandomIdGenerator):
    """Random ids, but for the one span at a time whose id is known."""

    def __init__(self) -> None:
        self._next = threading.local()

    @contextmanager
    def known(self, span_id: int) -> Iterator[None]:
        self._next.span_id = span_id
        try:
            yield
        finally:
            self._next.span_id = None

    def generate_span_id(self) -> int:
        return getattr(self._next, "span_id", None) or super().generate_span_id()


@contextmanager
def _within_span(span: trace.Span) -> Iterator[None]:
    """One that nobody keeps."""
    token = attach(trace.set_span_in_context(span))
    try:
        with _keeping(None):
            yield
    finally:
        detach(token)


@contextmanager
def _keeping(trace_id: str | None) -> Iterator[None]:
    before = _KEPT.get()
    _KEPT.set(trace_id)
    try:
        yield
    finally:
        # Not by its token, which is of no use where a generator is closed by another task.
        _KEPT.set(before)


def _within(parent: TraceContext) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(_context(parent)))


def _context(context: TraceContext) -> SpanContext:
    return SpanContext(
        trace_id=int(context.trace_id, 16),
        span_id=int(context.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT),
    )
