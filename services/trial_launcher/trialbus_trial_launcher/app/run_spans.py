"""Runs in the traces of their experiments. A run's document keeps the context, so that whoever
sees its end tells its span, and a run without one is in no trace."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from trialbus.kernel.events import Event
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.limits import MAX_SPAN_LINKS, TRACED_TRIALS
from trialbus.kernel.run import Run, RunPhase, RunVerdict
from trialbus.kernel.traces import TraceContext, kept, run_span, trial_span
from trialbus.ports.tracing import Attribute, Tracing
from trialbus.runtime.traced import told_in

# What a process of ours and a trial find their span by: W3C's Trace Context in an environment.
VARIABLE = "TRACEPARENT"


def span_of(run: Run) -> TraceContext | None:
    trace = kept(run.traceparent)
    return None if trace is None else run_span(trace, run.uid, run.index, run.attempt)


def trace_variables(state: Experiment, index: int, attempt: int) -> dict[str, str]:
    """Of an attempt's process: its run's span, which what it does is beneath."""
    trace = kept(state.traceparent)
    if trace is None or index >= TRACED_TRIALS:
        return {}
    return {VARIABLE: str(run_span(trace, state.id, index, attempt))}


@contextmanager
def within_run(tracing: Tracing, run: Run, name: str) -> Iterator[None]:
    """Work for this run alone, whoever began the task that does it."""
    span = span_of(run)
    if span is None:
        with tracing.outside():
            yield
        return
    with tracing.span(name, parent=span):
        yield


@contextmanager
def within_runs(tracing: Tracing, runs: Iterable[Run], name: str) -> Iterator[None]:
    """Work for these runs together: beneath the first that is traced, linked to the others."""
    spans = [span for run in runs if (span := span_of(run)) is not None] if tracing.on else []
    if not spans:
        yield
        return
    with tracing.span(name, parent=spans[0], links=spans[1:MAX_SPAN_LINKS]):
        yield


def in_traces(notices: Sequence[Event], tracing: Tracing, runs: Iterable[Run]) -> list[Event]:
    """Notices of these runs with the contexts that they are told in."""
    known = {run.uid: run.traceparent for run in runs if run.traceparent is not None}
    if not known:
        return list(notices)
    return [told for it in notices for told in told_in([it], tracing, known.get(it.uid), it.uid)]


def tell_runs(tracing: Tracing, runs: Iterable[Run]) -> None:
    """The spans of those that have ended."""
    if not tracing.on:
        return
    for run in runs:
        trace, span = kept(run.traceparent), span_of(run)
        if trace is None or span is None or not run.ended:
            continue
        tracing.record(
            "run",
            context=span,
            parent=trial_span(trace, run.uid, run.index),
            started_at=run.created_at,
            ended_at=run.finished_at or run.created_at,
            attributes=_attributes(run),
            error=_failure(run),
        )


def _attributes(run: Run) -> dict[str, Attribute]:
    told: dict[str, Attribute] = {
        "trialbus.trial": run.trial,
        "trialbus.attempt": run.attempt,
        "trialbus.phase": run.phase.value,
        "host.name": run.host,
    }
    if run.exit_code is not None:
        told["process.exit.code"] = run.exit_code
    if run.signal is not None:
        told["trialbus.signal"] = run.signal
    if run.stop_reason:
        told["trialbus.stop_reason"] = run.stop_reason
    if run.worker:
        told["trialbus.worker"] = run.worker
    return told


def _failure(run: Run) -> str:
    """ "" if it ended well, or because we stopped it."""
    if run.stop_reason:
        return ""
    if run.phase is RunPhase.LOST or run.verdict is RunVerdict.FAILED or run.exit_code:
        return run.message or run.phase.value
    return ""
