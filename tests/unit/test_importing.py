"""Imports as the experiment service takes them: exact, repeatable, refused with every problem."""

import json
import math
from typing import Any

import pytest

from trialbus.contracts.imports import read_portion
from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import Counts, Experiment
from trialbus.kernel.experiment import ExperimentPhase as Phase
from trialbus.kernel.imported import Portion
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.experiment_states import NOW, applied, experiment, objective, spec
from trialbus_experiment.core.commands import create
from trialbus_experiment.core.decide import decide
from trialbus_experiment.core.importing import check_import, count_import, imported_trials
from trialbus_experiment.core.observed import Observed

SPEC = spec(trials_by=TrialsBy.IMPORT, max_trial_count=None, objective=objective(goal=0.9))


def begun() -> Experiment:
    return create(applied(SPEC), NOW)


def portion(first: int, *values: Any, last: bool = False) -> Portion:
    trials = [{"parameters": {"x": 0.1 * i}, "value": it} for i, it in enumerate(values, first)]
    return read_portion({"first": first, "trials": trials, "last": last}, SPEC)


def test_portions_are_counted_in_order_and_the_last_completes_it() -> None:
    one = count_import(begun(), portion(0, 0.5, None), NOW).state
    assert (one.phase, one.next_index, one.finished) == (Phase.CREATED, 2, 2)
    done = count_import(one, portion(2, 0.2, last=True), NOW + 1).state
    assert (done.phase, done.active, done.completed_at) == (Phase.SUCCEEDED, False, NOW + 1)
    assert done.counts == Counts(succeeded=2, metrics_unavailable=1)
    assert done.best is not None
    assert (done.best.index, done.best.value) == (2, 0.2)
    assert [it.type for it in done.outbox][-1] == "experiment.succeeded"


def test_neither_goal_nor_points_are_its_business_meanwhile() -> None:
    half = count_import(begun(), portion(0, 0.5), NOW).state
    assert decide(half, Observed(), NOW + 1).state is half


def test_a_portion_that_was_counted_changes_nothing() -> None:
    done = count_import(begun(), portion(0, 0.5, 0.4, last=True), NOW).state
    again = portion(0, 0.5, 0.4, last=True)
    check_import(done, again)
    assert count_import(done, again, NOW + 9).state is done


def test_a_portion_that_overlaps_is_counted_from_where_it_is_new() -> None:
    half = count_import(begun(), portion(0, 0.5, 0.4), NOW).state
    more = count_import(half, portion(1, 0.4, 0.3), NOW).state
    assert (more.next_index, more.counts.succeeded) == (3, 3)


def test_the_documents_are_a_function_of_experiment_and_portion() -> None:
    state = begun()
    one, other = (imported_trials(state, portion(3, 0.5)) for _ in range(2))
    assert one == other
    [trial] = one
    assert (trial.index, trial.finished, trial.value, trial.phase) == (
        3,
        4,
        0.5,
        TrialPhase.SUCCEEDED,
    )
    assert trial.completed_at == state.created_at


@pytest.mark.parametrize(
    ("state", "told", "words"),
    [
        (begun(), portion(1, 0.5), "is 1, but only 0 trials are there"),
        (experiment(), portion(0, 0.5), "only with `import`"),
        (
            count_import(begun(), portion(0, 0.5, last=True), NOW).state,
            portion(1, 0.5),
            "takes no more trials: it is Succeeded",
        ),
    ],
)
def test_what_does_not_fit_is_refused(state: Experiment, told: Portion, words: str) -> None:
    with pytest.raises(Refused, match=words):
        check_import(state, told)


def test_every_problem_of_a_portion_is_said_at_once() -> None:
    trials = [
        {"parameters": {"y": 1}},
        {"parameters": {"x": 1}, "state": "Running"},
        {"parameters": {"x": 1}, "state": "Succeeded"},
        {"parameters": {"x": 1}, "value": 1, "startTime": "yesterday"},
    ]
    with pytest.raises(Refused) as refused:
        read_portion({"first": 0, "trials": trials}, SPEC)
    assert [it.field for it in refused.value.problems] == [
        "trials[0].parameters",
        "trials[1].state",
        "trials[2].state",
        "trials[3].startTime",
    ]
    with pytest.raises(Refused) as shape:
        read_portion({"first": -1, "trials": [{}], "more": 1}, SPEC)
    assert {it.field for it in shape.value.problems} == {"first", "trials[0].parameters", "more"}


def test_values_are_kept_as_trials_get_them() -> None:
    text = '{"first": 0, "trials": [{"parameters": {"x": 5}, "metrics": {"loss": "NaN"}}]}'
    [trial] = read_portion(json.loads(text), SPEC).trials
    assert trial.assignments[0].value == "5"
    assert trial.metrics[0].latest != trial.metrics[0].latest


def test_series_are_of_trials_that_are_there_and_of_numbers() -> None:
    one = {"parameters": {"x": 0.1}, "value": 0.5}
    series = [
        {"index": 4, "metric": "loss", "values": [0.5, "NaN"], "times": [1.0, 2.0], "attempt": 2},
        {"index": 5, "metric": "loss", "values": ["text"], "times": [1.0, 2.0]},
    ]
    told = {"first": 4, "trials": [one], "series": series}
    with pytest.raises(Refused) as refused:
        read_portion(told, SPEC)
    assert [str(it) for it in refused.value.problems] == [
        "series[1].index: there are 5 trials so far",
        "series[1].times: must be as many as the values",
        "series[1].values: must be numbers",
    ]
    [good] = read_portion({**told, "series": series[:1]}, SPEC).series
    assert (good.index, good.attempt, good.metric, good.times) == (4, 2, "loss", (1.0, 2.0))
    assert good.values[0] == 0.5
    assert math.isnan(good.values[1])
