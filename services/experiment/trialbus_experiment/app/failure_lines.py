"""A line in the log for each trial that failed: from it one finds the trial's trace."""

from collections.abc import Mapping, Sequence

from trialbus.kernel.experiment import Experiment
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.runtime.telemetry import Logger
from trialbus_experiment.app.spans import trial_context

_FAILED = (TrialPhase.FAILED, TrialPhase.METRICS_UNAVAILABLE)
# Of one commit. Trials that take milliseconds may all fail: that is no more lines than commits.
LINES_AT_ONCE = 20


def tell_failures(log: Logger, states: Mapping[str, Experiment], closed: Sequence[Trial]) -> None:
    """closed: trials whose ends this process has just written. Each is told once, of very many at
    once only how many more there are. A failure is its owner's matter, no fault of the service: it
    is no warning."""
    failed = [trial for trial in closed if trial.phase in _FAILED]
    for trial in failed[:LINES_AT_ONCE]:
        log.info(
            "trial failed",
            namespace=trial.namespace,
            experiment=trial.experiment,
            trial=trial.name,
            attempt=trial.attempt,
            phase=trial.phase.value,
            reason=trial.reason,
            message=trial.message,
            **_ids(states[trial.uid], trial),
        )
    if untold := failed[LINES_AT_ONCE:]:
        log.info("more trials failed", count=len(untold))


def _ids(state: Experiment, trial: Trial) -> dict[str, str]:
    """Of the trial's own span, if it is kept: the current one may be that of a group."""
    span = trial_context(state, trial.index)
    return {} if span is None else {"trace_id": span.trace_id, "span_id": span.span_id}
