"""Experiments whose trials ended elsewhere: taken in by portions, complete with the last one.

The document of an imported trial is a function of the experiment, the index and what was told.
So whoever tells a portion again writes the same, and another content is seen.
"""

from dataclasses import replace

from trialbus.kernel.conditions import set_condition
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.experiment import (
    SCHEDULING_PHASES,
    Experiment,
    ExperimentPhase,
)
from trialbus.kernel.ids import trial_id, trial_name
from trialbus.kernel.imported import ImportedTrial, Portion
from trialbus.kernel.objective import Objective
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.trial import Trial
from trialbus_experiment.core.closing import COMPARED, COUNTED_AS, compare
from trialbus_experiment.core.draft import Decision, Draft
from trialbus_experiment.core.ending import end_if_complete

IMPORTED = "ExperimentImported"


def check_import(state: Experiment, portion: Portion) -> None:
    """Raises Refused. What was counted before may come again."""
    if state.spec.trials_by is not TrialsBy.IMPORT:
        field = "metadata.annotations[trialbus.io/trials-by]"
        raise Refused([Problem(field=field, message="only with `import` it takes trials")])
    if portion.first > state.next_index:
        message = f"is {portion.first}, but only {state.next_index} trials are there"
        raise Refused([Problem(field="first", message=message)])
    end = portion.first + len(portion.trials)
    if end > state.next_index and state.phase not in SCHEDULING_PHASES:
        message = f"the experiment takes no more trials: it is {state.phase.value}"
        raise Refused([Problem(field="trials", message=message)])
    limit = state.spec.max_trial_count
    if limit is not None and end > limit:
        message = f"{end} trials are more than spec.maxTrialCount, {limit}"
        raise Refused([Problem(field="trials", message=message)])


def imported_trials(state: Experiment, portion: Portion) -> list[Trial]:
    """Their documents."""
    return [
        _document(state, index, told) for index, told in enumerate(portion.trials, portion.first)
    ]


def count_import(state: Experiment, portion: Portion, now: float) -> Decision:
    """Their documents are written: count those that are not counted yet."""
    draft = Draft(state, now)
    for index, told in enumerate(portion.trials, portion.first):
        if index >= draft.state.next_index:
            _count(draft, index, told)
    if portion.last and draft.state.phase in SCHEDULING_PHASES:
        found = draft.state.best is not None
        phase = ExperimentPhase.SUCCEEDED if found else ExperimentPhase.FAILED
        message = f"{draft.state.next_index} trials were imported"
        draft.end_with(phase, IMPORTED, message if found else f"{message}, none with a result")
        end_if_complete(draft)
    return draft.freeze()


def _document(state: Experiment, index: int, told: ImportedTrial) -> Trial:
    began = state.created_at if told.started_at is None else told.started_at
    ended = max(began, state.created_at if told.completed_at is None else told.completed_at)
    reason, message = f"Trial{told.phase.value}", told.message or "Trial was imported"
    created = set_condition(
        (), "Created", reason="TrialCreated", message="Trial is created", now=began
    )
    value = _value(told, state.spec.objective)
    return Trial(
        id=trial_id(state.id, index),
        uid=state.id,
        version=1,
        namespace=state.namespace,
        experiment=state.name,
        index=index,
        name=trial_name(state.name, state.id, index),
        phase=told.phase,
        assignments=told.assignments,
        conditions=set_condition(
            created, told.phase.value, reason=reason, message=message, now=ended
        ),
        created_at=began,
        attempt=told.attempt,
        started_at=told.started_at,
        completed_at=ended,
        finished=index + 1,
        value=None if isinstance(value, str) else value,
        observation=told.metrics,
        reason=reason,
        message=message,
    )


def _value(told: ImportedTrial, objective: Objective) -> float | str | None:
    for metric in told.metrics:
        if metric.name == objective.metric:
            return metric.counted(objective.strategy(metric.name))
    return None


def _count(draft: Draft, index: int, told: ImportedTrial) -> None:
    state = draft.state
    counted = COUNTED_AS[told.phase]
    draft.set(
        next_index=index + 1,
        finished=index + 1,
        drawn=index + 1,
        counts=replace(state.counts, **{counted: getattr(state.counts, counted) + 1}),
    )
    value = _value(told, state.spec.objective)
    if value is not None and told.phase in COMPARED:
        compare(draft, index, value, told.metrics, lambda: told.assignments)
