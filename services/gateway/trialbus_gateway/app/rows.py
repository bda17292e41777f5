"""Trials as rows of a table: what a person or a data frame wants of each, and no more."""

from collections.abc import Mapping, Sequence
from typing import Any

from trialbus.contracts.katib.view_parts import algorithms_labels
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.run import Run
from trialbus.kernel.trial import Trial
from trialbus.ports.store import Store
from trialbus_gateway.app.answers import moment_or_none
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.core.trial_story import TrialFacts
from trialbus_gateway.core.waits import state_text

Json = dict[str, Any]


class Rows:
    """Two grouped reads, however many rows there are."""

    def __init__(self, store: Store) -> None:
        self._documents = Documents(store)

    async def of(self, trials: Sequence[Trial], *, history: bool = False) -> list[Json]:
        """Of those whose experiments still live; history: or are archived."""
        states = await self._documents.experiments([it.uid for it in trials], history=history)
        runs = await self._documents.newest_runs(states, trials)
        return [
            row_of(trial, states[trial.uid], runs.get(trial.id))
            for trial in trials
            if trial.uid in states
        ]


def row_of(trial: Trial, state: Experiment, run: Run | None) -> Json:
    """run: of its newest attempt while it is open."""
    facts = TrialFacts(trial=trial, experiment=state)
    metrics = counted_metrics(trial, state)
    start = trial.started_at if run is None or trial.ended else run.started_at
    end = trial.completed_at
    return {
        "trial": trial.name,
        "namespace": trial.namespace,
        "experiment": trial.experiment,
        "index": trial.index,
        "attempt": facts.attempt,
        "state": state_text(trial, facts.at_hand, run),
        "value": metrics.get(state.spec.objective.metric, trial.value),
        "metrics": metrics,
        "parameters": {item.name: item.value for item in trial.assignments},
        "labels": algorithms_labels(trial),
        "finished": trial.finished,
        "startTime": moment_or_none(start),
        "completionTime": moment_or_none(end),
        "durationSeconds": None if start is None or end is None else round(end - start, 3),
    }


def counted_metrics(trial: Trial, state: Experiment) -> Mapping[str, float | str]:
    """Of each metric the value that counts, by its strategy."""
    strategy = state.spec.objective.strategy
    return {values.name: values.counted(strategy(values.name)) for values in trial.observation}
