"""What people and pipelines may ask of an experiment, decided without touching the world."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trialbus.kernel.conditions import drop_conditions
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.experiment import GONE_PHASES, Experiment, ExperimentPhase
from trialbus.kernel.ids import seed_of
from trialbus.kernel.spec import ExperimentSpec
from trialbus_experiment.core.draft import Decision, Draft
from trialbus_experiment.core.edit_rules import (
    budget_differs,
    check_edit,
    is_over,
    restarts,
    with_orders_of,
)
from trialbus_experiment.core.ending import STOPPED
from trialbus_experiment.core.metadata import same_metadata, same_spec, with_suspend
from trialbus_experiment.core.states import Happening


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
        runs_since=now,
    )
    draft = Draft(state, now)
    draft.condition("Created", reason="ExperimentCreated", message="Experiment is created")
    draft.emit("experiment.created", reason="ExperimentCreated", message="Experiment is created")
    if command.spec.suspend:
        _suspend(draft)
    return draft.freeze().state


def edit(state: Experiment, command: Applied, now: float) -> Decision:
    """Apply a changed object to a living experiment: budgets, goal, suspend, labels and
    annotations. `generation` grows with the spec, `revision` with both. Raises Refused."""
    if state.phase in GONE_PHASES:
        raise Refused([Problem(field="metadata.name", message="the experiment is being deleted")])
    check_edit(state, command.spec)
    wanted, source = command.spec, command.source
    restarting = restarts(state, wanted)
    if is_over(state) and not restarting:
        # There is nothing left to suspend.
        wanted = replace(wanted, suspend=state.spec.suspend)
        source = _with_suspend_of(source, state)
    draft = Draft(state, now)
    if restarting:
        _restart(draft)
    _take_object(draft, wanted, source)
    if wanted.suspend and draft.state.phase in (ExperimentPhase.CREATED, ExperimentPhase.RUNNING):
        _suspend(draft)
    elif not wanted.suspend and draft.state.phase is ExperimentPhase.SUSPENDED:
        _resume(draft)
    return draft.freeze()


def suspend(state: Experiment, now: float, *, suspended: bool) -> Decision:
    """Suspend or resume without another change; what is over stays as it is."""
    command = Applied(
        uid=state.id,
        namespace=state.namespace,
        name=state.name,
        spec=replace(state.spec, suspend=suspended),
        source=with_suspend(state.source, suspended),
    )
    return edit(state, command, now)


def stop(state: Experiment, now: float) -> Decision:
    """End it with what it has found: its trials are stopped and count as killed. Without any
    result it has failed. What is over stays as it is. Raises Refused."""
    if state.phase in GONE_PHASES:
        raise Refused([Problem(field="metadata.name", message="the experiment is being deleted")])
    draft = Draft(state, now)
    if not is_over(state):
        found = state.best is not None
        phase = ExperimentPhase.SUCCEEDED if found else ExperimentPhase.FAILED
        message = "Experiment was stopped by a user" + ("" if found else " before any result")
        draft.end_with(phase, STOPPED, message)
        draft.set(active=True)
    return draft.freeze()


def delete(state: Experiment, now: float, *, keep_history: bool = False) -> Decision:
    """Stop everything, free the name at once, leave a tombstone or an archive."""
    draft = Draft(state, now)
    if state.phase not in GONE_PHASES:
        draft.move(Happening.DELETE_ASKED)
        draft.set(alive_name=None, active=True, keep_history=keep_history)
        draft.note("delete asked")
    return draft.freeze()


def expire(state: Experiment, now: float) -> Decision:
    """What has been kept long enough becomes a tombstone."""
    if state.phase is not ExperimentPhase.ARCHIVED:
        return delete(state, now)
    draft = Draft(state, now)
    draft.move(Happening.HISTORY_EXPIRED)
    draft.set(completed_at=now)
    draft.note("history expired")
    return draft.freeze()


def _take_object(draft: Draft, wanted: ExperimentSpec, source: Mapping[str, Any]) -> None:
    """Keep what the user wrote, and go by it."""
    state = draft.state
    other_suspend = wanted.suspend != state.spec.suspend
    plain = with_orders_of(state.spec, wanted)
    other_order = plain != wanted
    other_spec = (
        budget_differs(state.spec, plain) or other_suspend or not same_spec(state.source, source)
    )
    if not (other_spec or other_order or not same_metadata(state.source, source)):
        return
    draft.set(spec=wanted, source=source, revision=state.revision + 1)
    if other_spec:
        draft.set(generation=state.generation + 1)
    if (other_spec or other_order) and not state.ended:
        draft.set(active=True)
    changed = "the specification was changed" if other_spec else "the metadata was changed"
    draft.emit("experiment.edited", message=changed)
    draft.note("edited")


def _with_suspend_of(source: Mapping[str, Any], state: Experiment) -> Mapping[str, Any]:
    if "suspend" not in source.get("spec", {}) and not state.spec.suspend:
        return source
    return with_suspend(source, state.spec.suspend)


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


def _restart(draft: Draft) -> None:
    """In Katib's order: what was said of the end goes, `Running` stays False until a trial opens,
    `Restarting` is the last to change."""
    reason, message = "ExperimentRestarting", "Experiment is restarted"
    draft.move(Happening.RESTARTED)
    draft.set(
        verdict=None,
        completed_at=None,
        active=True,
        conditions=drop_conditions(draft.state.conditions, "Succeeded", "Failed"),
    )
    if any(it.type == "Running" and it.status for it in draft.state.conditions):
        draft.condition("Running", status=False, reason=reason, message=message)
    draft.condition("Restarting", reason=reason, message=message)
    draft.emit("experiment.restarted", reason=reason)
    draft.note("restarted")
