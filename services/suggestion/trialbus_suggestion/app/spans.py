"""What the suggestion service adds to the traces of experiments."""

from collections.abc import Iterator
from contextlib import contextmanager

from trialbus.kernel.experiment import Experiment
from trialbus.kernel.limits import TRACED_TRIALS
from trialbus.kernel.suggestion import Answer, PointsRequest
from trialbus.kernel.traces import TraceContext, experiment_span, kept, request_span
from trialbus.ports.tracing import Attribute, Tracing


@contextmanager
def computing(tracing: Tracing, state: Experiment, request: PointsRequest) -> Iterator[None]:
    """An algorithm at work on a request, the wait for its process included."""
    trace = _trace(state, request.first)
    if trace is None:
        # The group that it is in may be of another experiment's trace.
        with tracing.outside():
            yield
        return
    with tracing.span(
        f"propose {state.spec.algorithm.name}",
        parent=request_span(trace, state.id, request.number),
        attributes={"trialbus.request": request.number, "trialbus.points": request.count},
    ):
        yield


def tell_answered(tracing: Tracing, state: Experiment, answer: Answer) -> None:
    """The span of a request, from its asking to its stored answer."""
    trace = _trace(state, answer.first)
    asked_at = next((it.asked_at for it in state.requests if it.number == answer.number), None)
    if trace is None or asked_at is None:
        return
    attributes: dict[str, Attribute] = {
        "trialbus.request": answer.number,
        "trialbus.algorithm": state.spec.algorithm.name,
        "trialbus.points": len(answer.points),
        "trialbus.watermark": answer.watermark,
        "trialbus.exhausted": answer.exhausted,
    }
    tracing.record(
        "suggestion",
        context=request_span(trace, state.id, answer.number),
        parent=experiment_span(trace, state.id),
        started_at=asked_at,
        ended_at=answer.answered_at,
        attributes=attributes,
        error=answer.refused or "",
    )


def _trace(state: Experiment, first: int) -> TraceContext | None:
    return kept(state.traceparent) if first < TRACED_TRIALS else None
