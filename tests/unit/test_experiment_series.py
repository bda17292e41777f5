"""Values over time, out of what trials came to."""

import math

import pytest

from trialbus.kernel.objective import Objective, ObjectiveType
from trialbus.kernel.space import Parameter
from trialbus.kernel.trial import Assignment, TrialPhase
from trialbus.testkit.gateway_documents import experiment
from trialbus_gateway.core.experiment_series import (
    Recorded,
    experiment_timelines,
    parameter_timelines,
)
from trialbus_gateway.core.series_kinds import KINDS
from trialbus_gateway.core.timelines import Timeline, moments, text_of
from trialbus_gateway.core.trial_histories import EndedTrial, TrialHistory, thinned

LOSS = Objective(type=ObjectiveType.MINIMIZE, metric="loss")
DONE, FAILED, STOPPED = TrialPhase.SUCCEEDED, TrialPhase.FAILED, TrialPhase.EARLY_STOPPED


def ended(finished: int, phase: TrialPhase, value: float | None, at: float) -> EndedTrial:
    """Opened 10 s and started 5 s before its end; the first to end was the last to be opened."""
    return EndedTrial(
        index=9 - finished,
        finished=finished,
        phase=phase,
        value=value,
        opened_at=at - 10,
        started_at=at - 5,
        ended_at=at,
    )


def history() -> TrialHistory:
    made = TrialHistory(objective=LOSS)
    made.extend(
        [
            ended(1, DONE, 5.0, 100.0),
            ended(2, FAILED, 1.0, 110.0),
            ended(3, DONE, 7.0, 120.0),
            # By a clock that is behind: it counts from the one before it on.
            ended(4, STOPPED, 3.0, 115.0),
            ended(5, DONE, math.nan, 130.0),
            ended(6, DONE, None, 140.0),
        ]
    )
    return made


def test_the_best_is_that_of_trials_that_ended_as_somebody_decided() -> None:
    best = history().best()
    assert list(best.times) == [100.0, 120.0]
    assert list(best.values) == [5.0, 3.0]
    assert history().best_place() == 3


def test_what_ended_is_counted_by_how() -> None:
    counted = history().ended(DONE)
    assert list(counted.times) == [100.0, 120.0, 130.0, 140.0]
    assert list(counted.values) == [1, 2, 3, 4]


def test_open_trials_come_and_go() -> None:
    made = TrialHistory(objective=LOSS)
    made.extend([ended(1, DONE, 1.0, 100.0), ended(2, DONE, 1.0, 105.0)])
    open_ = made.open([102.0])
    assert list(zip(open_.times, open_.values, strict=True)) == [
        (90.0, 1), (95.0, 2), (100.0, 1), (102.0, 2), (105.0, 1),
    ]  # fmt: skip


def test_seconds_add_up_and_a_trial_that_never_ran_has_none() -> None:
    made = TrialHistory(objective=LOSS)
    first, second = ended(1, DONE, 1.0, 100.0), ended(2, DONE, 1.0, 105.0)
    never = EndedTrial(index=3, finished=3, phase=TrialPhase.KILLED, value=None, opened_at=100.0,
                       started_at=None, ended_at=106.0)  # fmt: skip
    made.extend([first, second, never])
    assert list(made.seconds().values) == [5.0, 10.0, 10.0]
    assert made.trial(2) == never


def test_what_is_known_or_follows_on_a_gap_is_not_taken() -> None:
    made = TrialHistory(objective=LOSS)
    first, second, third = (ended(number, DONE, 1.0, 100.0) for number in (1, 2, 3))
    made.extend([first, third])
    assert made.finished == 1
    made.extend([first, second, third])
    assert made.finished == 3
    assert list(made.places()) == [0, 1, 2]


def test_many_trials_are_thinned_by_powers_of_two_so_that_samples_nest() -> None:
    few, every = thinned(range(20_000), 2_000)
    fewer, _ = thinned(range(20_000), 500)
    assert every == 16
    assert len(few) == 1_250
    assert set(fewer) < set(few)
    assert thinned(range(3), 3) == (range(3), 1)


def test_a_value_holds_until_the_next_one() -> None:
    timeline = Timeline(labels={}, times=(10.0, 20.0), values=(1.0, 2.0))
    assert [timeline.at(it) for it in (9.9, 10.0, 19.9, 20.0, 1e9)] == [None, 1.0, 1.0, 2.0, 2.0]


def test_a_value_that_ended_is_told_once_where_it_came_and_went_between_two_times() -> None:
    timeline = Timeline(labels={}, times=(10.0, 12.0), values=(1.0, 2.0), until=13.0)
    assert timeline.at(13.0) == 2.0
    assert timeline.at(13.1) is None
    assert timeline.sampled([0.0, 5.0, 15.0, 20.0]) == [(15.0, 2.0)]
    assert timeline.sampled([12.5, 15.0]) == [(12.5, 2.0)]
    assert timeline.sampled([15.0, 20.0]) == []


def test_moments_hold_both_ends() -> None:
    assert moments(1.0, 2.0, 0.25) == [1.0, 1.25, 1.5, 1.75, 2.0]
    assert moments(0.0, 0.3, 0.1)[-1] == pytest.approx(0.3)
    assert moments(5.0, 5.0, 60.0) == [5.0]


def test_numbers_are_written_as_prometheus_writes_them() -> None:
    given = [0.5, 3.0, -0.0, math.nan, math.inf, -math.inf, 1e-7]
    assert [text_of(it) for it in given] == ["0.5", "3", "-0", "NaN", "+Inf", "-Inf", "1e-07"]


def test_a_text_is_its_place_in_the_feasible_list() -> None:
    state = experiment()
    object.__setattr__(
        state.spec,
        "parameters",
        (
            Parameter(name="lr", type="double", min="0", max="1"),
            Parameter(name="opt", type="categorical", list=("sgd", "adam")),
            Parameter(name="batch", type="categorical", list=("32", "64")),
        ),
    )
    texts = {"lr": "0.25", "opt": "adam", "batch": "64", "other": "text"}
    given = [Assignment(name=name, value=text) for name, text in texts.items()]
    found = {
        it.labels["parameter"]: (it.values[0], it.labels.get("text"))
        for it in parameter_timelines(state, 0, 50.0, given)
    }
    assert found == {"lr": (0.25, None), "opt": (1.0, "adam"), "batch": (64.0, None)}


def test_every_series_of_an_experiment_has_exactly_its_labels() -> None:
    recorded = Recorded(state=experiment(), history=history(), open_since=(99.0,))
    for kind in KINDS:
        if not kind.is_of_trials:
            timelines = list(experiment_timelines(kind.name, recorded))
            assert timelines, kind.name
            for timeline in timelines:
                assert set(timeline.labels) - {"stopping_rule"} == set(kind.labels) - {
                    "stopping_rule"
                }
