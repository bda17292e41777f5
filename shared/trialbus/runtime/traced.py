"""Where work and events belong in the traces of experiments: beneath the experiment, with links to
all that asked for it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from trialbus.contracts.envelope import TRACEPARENT
from trialbus.kernel.events import Event
from trialbus.kernel.limits import MAX_SPAN_LINKS
from trialbus.kernel.traces import TraceContext, experiment_span, kept, parse_traceparent
from trialbus.ports.bus import Delivery
from trialbus.ports.tracing import Attribute, Span, SpanKind, Tracing


def told_in(
    events: Sequence[Event], tracing: Tracing, traceparent: str | None, uid: str
) -> tuple[Event, ...]:
    """Events of one experiment with the context that they are told in, unless they have one: the
    current span where it is of the experiment's trace, else the experiment's own. traceparent: as
    its document has it."""
    trace = kept(traceparent)
    if trace is None:
        return tuple(events)
    current = tracing.current()
    if current is None or current.trace_id != trace.trace_id:
        current = experiment_span(trace, uid)
    text = str(current)
    return tuple(it if it.traceparent else replace(it, traceparent=text) for it in events)


def handling(
    tracing: Tracing,
    service: str,
    group: Mapping[str, Sequence[Delivery]],
    nudged: Mapping[str, TraceContext],
) -> AbstractContextManager[Span]:
    """The span of handling these experiments together: of the trace of the first that has one,
    linked to all that asked for it. nudged: contexts of those asked for without a message."""
    found = _askers(group, nudged)
    if not found:
        return tracing.span(f"handle {service}")
    uid, first = found[0]
    attributes: dict[str, Attribute] = {
        "messaging.system": "nats",
        "messaging.operation.name": "process",
        "messaging.batch.message_count": sum(map(len, group.values())),
        "trialbus.experiments": len(group),
        "trialbus.experiment.uid": uid,
    }
    return tracing.span(
        f"handle {service}",
        kind=SpanKind.CONSUMER,
        parent=experiment_span(first, uid),
        links=list(dict.fromkeys(context for _, context in found))[:MAX_SPAN_LINKS],
        attributes=attributes,
    )


def _askers(
    group: Mapping[str, Sequence[Delivery]], nudged: Mapping[str, TraceContext]
) -> list[tuple[str, TraceContext]]:
    found = []
    for uid, deliveries in group.items():
        contexts = [parse_traceparent(it.message.headers.get(TRACEPARENT)) for it in deliveries]
        contexts.append(nudged.get(uid))
        found += [(uid, it) for it in contexts if it is not None and it.sampled]
    return found
