"""The documents of trials: as they open, and as they close."""

from collections.abc import Mapping
from dataclasses import replace

from trialbus.kernel.conditions import Conditions, set_condition
from trialbus.kernel.events import Event
from trialbus.kernel.experiment import ClosingTrial, Experiment, OpenTrial
from trialbus.kernel.opened_trials import opened
from trialbus.kernel.run import Run
from trialbus.kernel.spec import ExperimentSpec
from trialbus.kernel.suggestion import Answer
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus_experiment.core.observed import SeenObservation

_EVENT_OF = {
    TrialPhase.SUCCEEDED: "trial.succeeded",
    TrialPhase.FAILED: "trial.failed",
    TrialPhase.KILLED: "trial.killed",
    TrialPhase.EARLY_STOPPED: "trial.early_stopped",
    TrialPhase.METRICS_UNAVAILABLE: "trial.metrics_unavailable",
}


def opened_trial(
    state: Experiment, index: int, open_: OpenTrial | ClosingTrial, answer: Answer
) -> Trial:
    """The document that a trial starts with."""
    trial = opened(state, index, open_, answer)
    data = {"parameters": {item.name: item.value for item in trial.assignments}}
    at = trial.created_at
    return _with_event(trial, "trial.created", at, message="Trial is created", data=data)


def closed_trial(
    trial: Trial,
    unsent: tuple[Event, ...],
    closing: ClosingTrial,
    run: Run | None,
    observation: SeenObservation | None,
    spec: ExperimentSpec,
) -> Trial:
    """The document that a trial ends with. unsent: its events that are not known to be out.
    run, observation: of the attempt that ended it."""
    at = closing.closed_at
    counted = observation.counted(spec.objective) if observation is not None else None
    closed = replace(
        trial,
        version=trial.version + 1,
        phase=closing.phase,
        attempt=closing.attempt,
        conditions=_conditions_at_the_end(trial, closing, run),
        started_at=run.started_at if run is not None else None,
        completed_at=at,
        finished=closing.finished,
        value=None if isinstance(counted, str) else counted,
        observation=observation.metrics if observation is not None else (),
        reason=closing.reason,
        message=closing.message,
        exit_code=run.exit_code if run is not None else None,
        signal=run.signal if run is not None else None,
        log_tail=run.log_tail if run is not None else "",
        outbox=unsent,
        outbox_at=trial.outbox_at if unsent else None,
    )
    return _with_event(
        closed,
        _EVENT_OF[closing.phase],
        at,
        reason=closing.reason,
        message=closing.message,
        data={
            "attempt": closing.attempt,
            "objective": counted,
            "metrics": {m.name: m.text or m.latest for m in closed.observation},
            "exitCode": closed.exit_code,
        },
    )


def _conditions_at_the_end(trial: Trial, closing: ClosingTrial, run: Run | None) -> Conditions:
    """In Katib's order: what it was, that it runs no more, how it ended. (Of an early-stopped
    trial Katib leaves `Running` as it is.)"""
    conditions = trial.conditions
    at, reason, message = closing.closed_at, closing.reason, closing.message
    if run is not None and run.started_at is not None:
        conditions = set_condition(
            conditions,
            "Running",
            reason="TrialRunning",
            message="Trial is running",
            now=run.started_at,
        )
    if closing.phase is not TrialPhase.EARLY_STOPPED and run is not None:
        conditions = set_condition(
            conditions, "Running", status=False, reason=reason, message=message, now=at
        )
    return set_condition(conditions, closing.phase.value, reason=reason, message=message, now=at)


def _with_event(
    trial: Trial,
    type_: str,
    at: float,
    *,
    reason: str = "",
    message: str = "",
    data: Mapping[str, object] | None = None,
) -> Trial:
    event = Event(
        id=f"{trial.id}@{trial.version}.{type_}",
        type=type_,
        uid=trial.uid,
        namespace=trial.namespace,
        experiment=trial.experiment,
        trial=trial.name,
        at=at,
        reason=reason,
        message=message,
        data=data or {},
    )
    return replace(trial, outbox=(*trial.outbox, event), outbox_at=trial.outbox_at or at)
