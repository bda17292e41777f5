"""What people and pipelines may ask of an experiment, decided without touching the world."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trialbus.kernel.conditions import drop_conditions
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.ids import seed_of
from trialbus.kernel.spec import ExperimentSpec, ResumePolicy
from trialbus_experiment.core.draft import Decision, Draft
from trialbus_experiment.core.states import Happening

# What may change while an experiment lives; everything else is what was tuned.
_EDITABLE = (
    "parallel_trial_count",
    "max_trial_count",
    "max_failed_trial_count",
    "suspend",
    "at_goal",
)
_EDITABLE_NAMES = (
    "spec.parallelTrialCount, spec.maxTrialCount, spec.maxFailedTrialCount, spec.objective.goal "
    "and spec.suspend"
)
# All the others, as a user writes them.
_FIXED: Mapping[str, Callable[[ExperimentSpec], object]] = {
    "spec.parameters": lambda spec: spec.parameters,
    "spec.objective.type": lambda spec: spec.objective.type,
    "spec.objective.objectiveMetricName": lambda spec: spec.objective.metric,
    "spec.objective.additionalMetricNames": lambda spec: spec.objective.additional,
    "spec.objective.metricStrategies": lambda spec: spec.objective.strategies,
    "spec.algorithm": lambda spec: spec.algorithm,
    "spec.earlyStopping": lambda spec: spec.early_stopping,
    "spec.trialTemplate": lambda spec: spec.template,
    "spec.metricsCollectorSpec": lambda spec: spec.metrics_collector,
    "spec.resumePolicy": lambda spec: spec.resume_policy,
    "workingDir": lambda spec: spec.working_dir,
}
_KATIBS_RULE = (
    "Experiment can be restarted if it is in succeeded state by reaching max trials and "
    "spec.resumePolicy = LongRunning or spec.resumePolicy = FromVolume, when experiment is "
    "completed"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The object that a user wants to be there. uid: of the experiment if it is new."""

    uid: str
    namespace: str
    name: str
    spec: ExperimentSpec
    source: Mapping[str, Any]


def create(command: Applied, now: float) -> Experiment:
    """A new experiment, asking for its first points at once when it is decided on."""
    random_state = command.spec.algorithm.setting("random_state")
    state = Experiment(
        id=command.uid,
        version=0,
        namespace=command.namespace,
        name=command.name,
        alive_name=f"{command.namespace}/{command.name}",
        spec=command.spec,
        source=command.source,
        # `random_state` makes a search repeatable; without it every experiment is its own.
        seed=seed_of(f"random_state={random_state}" if random_state else command.uid),
        phase=ExperimentPhase.CREATED,
        created_at=now,
        started_at=now,
    )
    draft = Draft(state, now)
    draft.condition("Created", reason="ExperimentCreated", message="Experiment is created")
    draft.emit("experiment.created", reason="ExperimentCreated", message="Experiment is created")
    if command.spec.suspend:
        _suspend(draft)
    return draft.freeze().state


def edit(state: Experiment, command: Applied, now: float) -> Decision:
    """Apply a changed object to a living experiment: budgets, goal, suspend. Raises Refused."""
    wanted = command.spec
    if state.phase in (ExperimentPhase.DELETING, ExperimentPhase.DELETED):
        raise Refused([Problem(field="metadata.name", message="the experiment is being deleted")])
    _refuse_other_changes(state.spec, wanted)
    draft = Draft(state, now)
    if wanted != state.spec:
        if state.ended and not _only_suspend(state.spec, wanted):
            _restart(draft, wanted)
        draft.set(spec=wanted, source=command.source, generation=state.generation + 1)
        if not draft.state.ended:
            draft.set(active=True)
        draft.emit("experiment.edited", message="the specification was changed")
        draft.note("edited")
    if wanted.suspend and draft.state.phase in (ExperimentPhase.CREATED, ExperimentPhase.RUNNING):
        _suspend(draft)
    elif not wanted.suspend and draft.state.phase is ExperimentPhase.SUSPENDED:
        _resume(draft)
    return draft.freeze()


def suspend(state: Experiment, now: float, *, suspended: bool) -> Decision:
    """Suspend or resume without another change."""
    spec = replace(state.spec, suspend=suspended)
    command = Applied(
        uid=state.id,
        namespace=state.namespace,
        name=state.name,
        spec=spec,
        source=state.source,
    )
    return edit(state, command, now)


def delete(state: Experiment, now: float) -> Decision:
    """Stop everything, free the name at once, leave a tombstone."""
    draft = Draft(state, now)
    if state.phase not in (ExperimentPhase.DELETING, ExperimentPhase.DELETED):
        draft.move(Happening.DELETE_ASKED)
        draft.set(alive_name=None, active=True)
        draft.note("delete asked")
    return draft.freeze()


def _suspend(draft: Draft) -> None:
    draft.move(Happening.SUSPEND_ASKED)
    draft.set(active=True)
    draft.condition("Suspended", reason="ExperimentSuspended", message="Experiment is suspended")
    draft.emit("experiment.suspended", reason="ExperimentSuspended")
    draft.note("suspended")


def _resume(draft: Draft) -> None:
    draft.move(Happening.RESUME_ASKED)
    draft.set(active=True, conditions=drop_conditions(draft.state.conditions, "Suspended"))
    for index, trial in list(draft.open.items()):
        if trial.stop:
            draft.open[index] = replace(trial, stop="")
    draft.condition("Running", reason="ExperimentResumed", message="Experiment is running")
    draft.emit("experiment.resumed", reason="ExperimentResumed")
    draft.note("resumed")


def _restart(draft: Draft, wanted: ExperimentSpec) -> None:
    """Katib: only after reaching the number of trials, only where the policy keeps it alive."""
    state = draft.state
    reached = any(
        condition.type == "Succeeded" and condition.reason == "ExperimentMaxTrialsReached"
        for condition in state.conditions
    )
    larger = wanted.max_trial_count is None or wanted.max_trial_count > state.next_index
    if reached and wanted.resume_policy is not ResumePolicy.NEVER and not larger:
        message = f"must be greater than status.trials count ({state.next_index})"
        raise Refused([Problem(field="spec.maxTrialCount", message=message)])
    if not reached or wanted.resume_policy is ResumePolicy.NEVER:
        raise Refused([Problem(field="spec.resumePolicy", message=_final(state, reached))])
    draft.move(Happening.RESTARTED)
    draft.set(
        verdict=None,
        completed_at=None,
        active=True,
        conditions=drop_conditions(state.conditions, "Succeeded", "Failed", "Running"),
    )
    draft.condition("Restarting", reason="ExperimentRestarting", message="Experiment is restarted")
    draft.emit("experiment.restarted", reason="ExperimentRestarting")


def _final(state: Experiment, reached: bool) -> str:
    """Why it cannot go on, then the rule in Katib's words."""
    if reached:
        why = (
            "the experiment has finished, and its resumePolicy is Never; resumePolicy: "
            "LongRunning, set when it is created, would allow a larger maxTrialCount"
        )
    else:
        last = state.verdict.reason if state.verdict is not None else state.phase.value
        why = f"the experiment has finished ({last}), not by reaching max trials"
    return (
        f"{why}. {_KATIBS_RULE}. To run it again, give it another name, or delete it "
        "(`trialbus run --anew` deletes it and starts anew)"
    )


def _only_suspend(old: ExperimentSpec, new: ExperimentSpec) -> bool:
    return replace(old, suspend=new.suspend) == new


def _refuse_other_changes(old: ExperimentSpec, new: ExperimentSpec) -> None:
    same = {name: getattr(new, name) for name in _EDITABLE}
    goal = replace(old.objective, goal=new.objective.goal)
    if replace(old, **same, objective=goal) == new:
        return
    changed = [field for field, read in _FIXED.items() if read(old) != read(new)]
    problems = [Problem(field=field, message=_changed(field, old, new)) for field in changed]
    problems.append(
        Problem(
            field="spec",
            message=f"only {_EDITABLE_NAMES} are editable; "
            "give the new experiment another name, or delete the one that is there "
            "(`trialbus run --anew` deletes it and starts anew)",
        )
    )
    raise Refused(problems)


def _changed(field: str, old: ExperimentSpec, new: ExperimentSpec) -> str:
    if field == "workingDir":
        return f"is {new.working_dir}, but the experiment was created in {old.working_dir}"
    return "differs from that of the experiment that is there, and is not editable"
