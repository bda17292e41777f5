"""Timelines of experiments and of their ended trials, made of what is recorded of them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import trial_name
from trialbus.kernel.space import Parameter
from trialbus.kernel.space_rules import is_number
from trialbus.kernel.trial import Assignment
from trialbus_gateway.core.timelines import Timeline, constant
from trialbus_gateway.core.trial_histories import ENDED_PHASES, EndedTrial, Steps, TrialHistory

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """open_since: when the trials were opened that have not ended."""

    state: Experiment
    history: TrialHistory
    open_since: Sequence[float] = ()

    @property
    def labels(self) -> Labels:
        return {"namespace": self.state.namespace, "experiment": self.state.name}

    @property
    def objective_labels(self) -> Labels:
        return {**self.labels, "metric": self.state.spec.objective.metric}


def experiment_timelines(kind: str, recorded: Recorded) -> Iterator[Timeline]:
    """kind: the name of a series of experiments."""
    yield from _MAKERS[kind](recorded)


def labels_of_trial(state: Experiment, index: int) -> dict[str, str]:
    return {
        "namespace": state.namespace,
        "experiment": state.name,
        "trial": trial_name(state.name, state.id, index),
    }


def ended_trial_timeline(kind: str, state: Experiment, trial: EndedTrial) -> Timeline | None:
    """kind: `trial_objective` or `trial_duration_seconds`; None: the trial has none."""
    labels = {**labels_of_trial(state, trial.index), "phase": trial.phase.value}
    if kind == "trial_objective":
        labels["metric"] = state.spec.objective.metric
        return None if trial.value is None else constant(labels, trial.value, trial.ended_at)
    seconds = trial.duration_s
    return None if seconds is None else constant(labels, seconds, trial.ended_at)


def parameter_timelines(
    state: Experiment, index: int, opened_at: float, assignments: Sequence[Assignment]
) -> Iterator[Timeline]:
    """Of one trial; a value that is neither a number nor one of a list has none."""
    parameters = {it.name: it for it in state.spec.parameters}
    of_trial = labels_of_trial(state, index)
    for given in assignments:
        value, text = _place(parameters.get(given.name), given.value)
        if value is not None:
            labels = {**of_trial, "parameter": given.name}
            if text:
                labels["text"] = text
            yield constant(labels, value, opened_at)


def _place(parameter: Parameter | None, text: str) -> tuple[float | None, str]:
    """Its number, and the text that is no number."""
    listed = () if parameter is None else parameter.list
    if text in listed and not all(map(is_number, listed)):
        return float(listed.index(text)), text
    return (float(text), "") if is_number(text) else (None, "")


def _info(recorded: Recorded) -> Iterator[Timeline]:
    state = recorded.state
    spec = state.spec
    labels = {
        **recorded.objective_labels,
        "uid": state.id,
        "algorithm": spec.algorithm.name,
        "direction": spec.objective.type.value,
        "phase": state.phase.value,
    }
    if spec.early_stopping is not None:
        labels["stopping_rule"] = spec.early_stopping.name
    yield constant(labels, 1.0, state.created_at)


def _best(recorded: Recorded) -> Iterator[Timeline]:
    yield from _stepped(recorded.objective_labels, recorded.history.best())


def _last(recorded: Recorded) -> Iterator[Timeline]:
    yield from _stepped(recorded.objective_labels, recorded.history.last())


def _goal(recorded: Recorded) -> Iterator[Timeline]:
    goal = recorded.state.spec.objective.goal
    if goal is not None:
        yield constant(recorded.objective_labels, goal, recorded.state.created_at)


def _trials(recorded: Recorded) -> Iterator[Timeline]:
    for phase in ENDED_PHASES:
        labels = {**recorded.labels, "state": phase.value}
        yield _from_zero(labels, recorded, recorded.history.ended(phase))


def _opened(recorded: Recorded) -> Iterator[Timeline]:
    steps = recorded.history.opened(recorded.open_since)
    yield _from_zero(recorded.labels, recorded, steps)


def _open(recorded: Recorded) -> Iterator[Timeline]:
    yield _from_zero(recorded.labels, recorded, recorded.history.open(recorded.open_since))


def _parallel(recorded: Recorded) -> Iterator[Timeline]:
    count = recorded.state.spec.parallel_trial_count
    yield constant(recorded.labels, float(count), recorded.state.created_at)


def _budget(recorded: Recorded) -> Iterator[Timeline]:
    count = recorded.state.spec.max_trial_count
    if count is not None:
        yield constant(recorded.labels, float(count), recorded.state.created_at)


def _seconds(recorded: Recorded) -> Iterator[Timeline]:
    yield _from_zero(recorded.labels, recorded, recorded.history.seconds())


def _stepped(labels: Labels, steps: Steps) -> Iterator[Timeline]:
    if len(steps.times):
        yield Timeline(labels=labels, times=steps.times, values=steps.values)


def _from_zero(labels: Labels, recorded: Recorded, steps: Steps) -> Timeline:
    """Nothing, from the creation on. Where clocks disagree a trial may seem to be older."""
    first = min(recorded.state.created_at, steps.times[0] if len(steps.times) else math.inf)
    return Timeline(labels=labels, times=(first, *steps.times), values=(0.0, *steps.values))


_MAKERS: Mapping[str, Callable[[Recorded], Iterator[Timeline]]] = {
    "experiment_info": _info,
    "experiment_best_value": _best,
    "experiment_last_value": _last,
    "experiment_goal": _goal,
    "experiment_trials": _trials,
    "experiment_opened_trials": _opened,
    "experiment_open_trials": _open,
    "experiment_parallel_trials": _parallel,
    "experiment_budget_trials": _budget,
    "experiment_trial_seconds": _seconds,
}
