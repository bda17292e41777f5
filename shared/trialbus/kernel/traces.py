"""Where a span belongs: W3C trace contexts, and the span ids that follow from what they tell of.

The spans of an experiment's life have derived ids, so that nobody needs to hand them on: whoever
knows the trace and what is told of knows its span. A process that ends a run which another one
began, or that ends it twice, tells the same span.

    the span that the experiment was asked for in
      experiment                         from `create` to its end
        suggestion request               asked to proposed
        trial                            opened to closed
          run (attempt)                  launched to ended; what the trial's process sees as parent
            stopping verdict             where a rule wants it stopped

An experiment's document keeps the context that it was asked for in as `traceparent`, if its trace
is kept, and a run's document the same; `kept` reads it from there.
"""

import hashlib
import re
from dataclasses import dataclass, replace

# W3C Trace Context, level 1, 3.2.2; later versions may have more fields behind these.
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_SAMPLED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """A span's place. trace_id: 32, span_id: 16 lower-case hexadecimal digits, not all zero.
    sampled: whether anybody keeps its spans."""

    trace_id: str
    span_id: str
    sampled: bool = True

    def __str__(self) -> str:
        """As the header `traceparent` has it."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def parse_traceparent(text: str | None) -> TraceContext | None:
    """None for what is no trace context: it is to be ignored (W3C, 4.3)."""
    match = _TRACEPARENT.fullmatch(text or "")
    if match is None or (match["version"] == "00" and match["more"]):
        return None
    if not (match["trace"].strip("0") and match["span"].strip("0")):
        return None
    sampled = bool(int(match["flags"], 16) & _SAMPLED)
    return TraceContext(trace_id=match["trace"], span_id=match["span"], sampled=sampled)


def kept(traceparent: str | None) -> TraceContext | None:
    """The context that a document keeps; None where nobody keeps a trace."""
    if not traceparent:
        return None
    context = parse_traceparent(traceparent)
    return context if context is not None and context.sampled else None


def experiment_span(trace: TraceContext, uid: str) -> TraceContext:
    return _derived(trace, f"experiment {uid}")


def request_span(trace: TraceContext, uid: str, request: int) -> TraceContext:
    """Of the suggestion request with this 1-based number."""
    return _derived(trace, f"request {uid}:{request}")


def trial_span(trace: TraceContext, uid: str, index: int) -> TraceContext:
    return _derived(trace, f"trial {uid}.{index}")


def run_span(trace: TraceContext, uid: str, index: int, attempt: int) -> TraceContext:
    return _derived(trace, f"run {uid}.{index}.{attempt}")


def verdict_span(trace: TraceContext, uid: str, index: int, attempt: int) -> TraceContext:
    """Of the stopping rule's word on this attempt."""
    return _derived(trace, f"verdict {uid}.{index}.{attempt}")


def _derived(trace: TraceContext, what: str) -> TraceContext:
    """Eight bytes of a hash over the trace and what the span tells of: never all zero but once in
    2^64."""
    digest = hashlib.sha256(f"{trace.trace_id} {what}".encode()).hexdigest()
    return replace(trace, span_id=digest[:16])
