"""What the stopping service adds to the traces of experiments."""

from trialbus.kernel.ids import parse_run_id
from trialbus.kernel.limits import TRACED_TRIALS
from trialbus.kernel.traces import kept, run_span, verdict_span
from trialbus.ports.tracing import Attribute, Tracing
from trialbus_early_stopping.app.evidence_documents import RunEvidence
from trialbus_early_stopping.app.views import WatchedExperiment


def tell_verdict(
    tracing: Tracing, experiment: WatchedExperiment, run: RunEvidence, now: float
) -> None:
    """The span of a verdict that has just been stored, from the look at the reports to here."""
    trace, verdict = kept(experiment.traceparent), run.verdict
    key = parse_run_id(run.id)
    if trace is None or verdict is None or key.index >= TRACED_TRIALS:
        return
    attributes: dict[str, Attribute] = {
        "trialbus.trial": run.trial,
        "trialbus.attempt": run.attempt,
        "trialbus.rule": verdict.rule,
        "trialbus.step": verdict.step,
        "trialbus.reason": verdict.reason,
        "trialbus.completed": verdict.completed,
    }
    tracing.record(
        "stopping verdict",
        context=verdict_span(trace, key.uid, key.index, key.attempt),
        parent=run_span(trace, key.uid, key.index, key.attempt),
        started_at=verdict.decided_at,
        ended_at=now,
        attributes=attributes,
    )
