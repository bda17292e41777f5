"""An experiment's life as spans: told when a part of it is over, under ids that follow from what
they tell of."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from trialbus.contracts.envelope import TRACEPARENT
from trialbus.contracts.requests import event_in
from trialbus.kernel.errors import Poison, Refused
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.limits import TRACED_TRIALS
from trialbus.kernel.traces import (
    TraceContext,
    experiment_span,
    kept,
    parse_traceparent,
    trial_span,
)
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.ports.bus import Request
from trialbus.ports.tracing import Attribute, SpanKind, Tracing
from trialbus.runtime.traced import told_in

_GONE = (ExperimentPhase.DELETED, ExperimentPhase.ARCHIVED)
# Commands that may begin an experiment, and with it a trace.
_BEGINNING = ("create", "apply")
_EVENT_HEADER = f"ce-{TRACEPARENT}"


@contextmanager
def commanded(tracing: Tracing, request: Request) -> Iterator[None]:
    """In the trace of whoever sent the command, also where it came together with others'."""
    verb = request.subject.rpartition(".")[2]
    own, current = _asked_in(request), tracing.current()
    with ExitStack() as stack:
        if own is None:
            stack.enter_context(tracing.outside())
        elif current is not None and current.trace_id == own.trace_id:
            own = None
        stack.enter_context(
            tracing.span(
                f"command {verb}", kind=SpanKind.SERVER, parent=own, root=verb in _BEGINNING
            )
        )
        yield


def _asked_in(request: Request) -> TraceContext | None:
    """As the message has it, else as the CloudEvent that it is."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    found = headers.get(TRACEPARENT) or headers.get(_EVENT_HEADER)
    if found is None:
        try:
            event = event_in(request)
        except (Poison, Refused):
            return None  # whoever reads it says so
        found = None if event is None else event.extensions.get(TRACEPARENT)
    return parse_traceparent(found)


def created_in(tracing: Tracing, state: Experiment) -> Experiment:
    """A new experiment, which remembers where it was asked for."""
    current = tracing.current()
    if current is None or not current.sampled:
        return state
    return with_told(tracing, replace(state, traceparent=str(current)))


def with_told(tracing: Tracing, state: Experiment) -> Experiment:
    """Its new events with their context; of one that is too long for a trace only its end's."""
    if state.traceparent is None or not state.outbox or not (_is_traced(state)):
        return state
    return replace(state, outbox=told_in(state.outbox, tracing, state.traceparent, state.id))


def _is_traced(state: Experiment) -> bool:
    return state.next_index <= TRACED_TRIALS or state.verdict is not None


def in_trace(state: Experiment, trial: Trial) -> Trial:
    """With the trial's own span as the context of its events: the same whoever writes it."""
    span = trial_context(state, trial.index)
    if span is None:
        return trial
    text = str(span)
    told = tuple(it if it.traceparent else replace(it, traceparent=text) for it in trial.outbox)
    return replace(trial, outbox=told)


def tell_experiment(tracing: Tracing, before: Experiment, after: Experiment) -> None:
    """Its span, if it has ended with this change."""
    trace = kept(after.traceparent)
    if trace is None or not tracing.on or not _has_ended(before, after):
        return
    failed = after.phase is not ExperimentPhase.SUCCEEDED
    why = "" if after.verdict is None else after.verdict.reason
    attributes: dict[str, Attribute] = {
        "trialbus.namespace": after.namespace,
        "trialbus.experiment": after.name,
        "trialbus.experiment.uid": after.id,
        "trialbus.phase": after.phase.value,
        "trialbus.reason": why,
        "trialbus.algorithm": after.spec.algorithm.name,
        "trialbus.trials": after.next_index,
    }
    tracing.record(
        "experiment",
        context=experiment_span(trace, after.id),
        parent=trace,
        started_at=after.created_at,
        ended_at=after.completed_at or after.created_at,
        attributes=attributes,
        error=(why or after.phase.value) if failed else "",
    )


def _has_ended(before: Experiment, after: Experiment) -> bool:
    """Once in its life, but for a restart: deleted later it has told its span before."""
    if after.ended:
        return not before.ended
    told = any(it.type in ("Succeeded", "Failed") and it.status for it in after.conditions)
    return after.phase in _GONE and before.phase not in _GONE and not told


def tell_trials(
    tracing: Tracing, states: Mapping[str, Experiment], closed: Iterable[Trial]
) -> None:
    """The spans of trials whose ends are written."""
    if not tracing.on:
        return
    for trial in closed:
        state = states[trial.uid]
        trace, span = kept(state.traceparent), trial_context(state, trial.index)
        if trace is None or span is None:
            continue
        attributes: dict[str, Attribute] = {
            "trialbus.trial": trial.name,
            "trialbus.trial.index": trial.index,
            "trialbus.attempt": trial.attempt,
            "trialbus.phase": trial.phase.value,
            "trialbus.reason": trial.reason,
        }
        if trial.value is not None:
            attributes["trialbus.objective"] = trial.value
        tracing.record(
            "trial",
            context=span,
            parent=experiment_span(trace, trial.uid),
            started_at=trial.created_at,
            ended_at=trial.completed_at or trial.created_at,
            attributes=attributes,
            error=trial.message if trial.phase is TrialPhase.FAILED else "",
        )


def trial_context(state: Experiment, index: int) -> TraceContext | None:
    """The span of a trial; None where it is not kept."""
    trace = kept(state.traceparent)
    if trace is None or index >= TRACED_TRIALS:
        return None
    return trial_span(trace, state.id, index)
