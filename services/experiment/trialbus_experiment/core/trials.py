"""The documents of trials: as they open, and as they close."""

from collections.abc import Mapping
from dataclasses import replace

from trialbus.kernel.conditions import Conditions, set_condition
from trialbus.kernel.errors import InvariantBroken
from trialbus.kernel.events import Event
from trialbus.kernel.experiment import ClosingTrial, Experiment, OpenTrial
from trialbus.kernel.ids import trial_id, trial_name
from trialbus.kernel.run import Run
from trialbus.kernel.spec import ExperimentSpec
from trialbus.kernel.suggestion import Answer
from trialbus.kernel.trial import Assignment, Trial, TrialPhase
from trialbus_experiment.core.observed import SeenObservation

_EVENT_OF = {
    TrialPhase.SUCCEEDED: "trial.succeeded",
    TrialPhase.FAILED: "trial.failed",
    TrialPhase.KILLED: "trial.killed",
    TrialPhase.EARLY_STOPPED: "trial.early_stopped",
    TrialPhase.METRICS_UNAVAILABLE: "trial.metrics_unavailable",
}


def assignments_of(
    spec: ExperimentSpec, answer: Answer | None, index: int
) -> tuple[Assignment, ...]:
    """The parameters of trial `index`, out of the answer that holds its point."""
    if answer is None or not 0 <= index - answer.first < len(answer.points):
        raise InvariantBroken(f"no point for trial {index}")
    values = answer.points[index - answer.first]
    return tuple(
        Assignment(name=name, value=value)
        for name, value in zip(spec.assignment_names, values, strict=True)
    )


def opened_trial(
    state: Experiment, index: int, open_: OpenTrial | ClosingTrial, answer: Answer
) -> Trial:
    """The document that a trial starts with: the same whoever makes it, however often."""
    name = trial_name(state.name, state.id, index)
    assignments = assignments_of(state.spec, answer, index)
    at = _opened_at(open_)
    trial = Trial(
        id=trial_id(state.id, index),
        uid=state.id,
        version=1,
        namespace=state.namespace,
        experiment=state.name,
        index=index,
        name=name,
        phase=TrialPhase.CREATED,
        assignments=assignments,
        conditions=set_condition(
            (), "Created", reason="TrialCreated", message="Trial is created", now=at
        ),
        created_at=at,
        labels=answer.mark(index).labels,
        parent=answer.mark(index).parent,
    )
    data = {"parameters": {item.name: item.value for item in assignments}}
    return _with_event(trial, "trial.created", at, message="Trial is created", data=data)


def _opened_at(open_: OpenTrial | ClosingTrial) -> float:
    if isinstance(open_, ClosingTrial) and open_.opened_at is None:
        return open_.closed_at
    return open_.opened_at or 0.0


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
