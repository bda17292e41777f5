"""Asking for points ahead of need, and turning them into trials."""

from dataclasses import replace

import pytest

from trialbus.kernel.experiment import Experiment
from trialbus.kernel.experiment import ExperimentPhase as Phase
from trialbus.kernel.limits import SUGGESTION_DEADLINE_S
from trialbus.kernel.suggestion import Answer, LookAhead, Mark, PointsRequest
from trialbus.testkit.experiment_states import (
    NOW,
    answer,
    conditions_of,
    experiment,
    opened,
    request,
    running,
    spec,
    with_open,
)
from trialbus_experiment.core.decide import decide
from trialbus_experiment.core.observed import Observed
from trialbus_experiment.core.trials import opened_trial

WIDE = spec(max_trial_count=1000)


def asked(state: Experiment) -> list[tuple[int, int, int]]:
    """Number, first and count of every request that waits."""
    return [(it.number, it.first, it.count) for it in state.requests if it.got is None]


def step(state: Experiment, *answers: Answer, at: float = NOW) -> Experiment:
    observed = Observed(
        runs={int(index): running(int(index)) for index in state.open},
        answers={it.number: it for it in answers},
    )
    return replace(decide(state, observed, at).state, outbox=(), outbox_at=None)


def test_a_new_experiment_asks_for_its_free_places() -> None:
    state = decide(experiment(phase=Phase.CREATED), Observed(), NOW).state
    assert asked(state) == [(1, 0, 3)]
    assert state.requests[0].watermark == 0
    assert [(it.type, it.data) for it in state.outbox] == [
        ("suggestion.requested", {"number": 1, "count": 3})
    ]


def test_one_request_waits_at_a_time() -> None:
    waiting = step(experiment(phase=Phase.CREATED))
    assert decide(waiting, Observed(), NOW).state is waiting


def test_the_first_answer_tells_how_far_ahead_to_ask() -> None:
    first = step(experiment(WIDE, phase=Phase.CREATED))
    free = step(first, answer(1, count=3, look_ahead=LookAhead.FREE))
    assert sorted(free.open) == ["0", "1", "2"]
    assert asked(free) == [(2, 3, 12)]
    pending = step(first, answer(1, count=3, look_ahead=LookAhead.PENDING))
    assert asked(pending) == [(2, 3, 3)]
    none = step(first, answer(1, count=3, look_ahead=LookAhead.NONE))
    assert asked(none) == []


@pytest.mark.parametrize(
    ("parallel", "look_ahead", "ahead", "count"),
    [
        # FREE: four times the width, at least 8, at most 256; asked when half is used up.
        (1, LookAhead.FREE, 0, 8),
        (3, LookAhead.FREE, 0, 12),
        (3, LookAhead.FREE, 5, 7),
        (3, LookAhead.FREE, 6, None),
        (100, LookAhead.FREE, 0, 256),
        # PENDING: one width ahead.
        (3, LookAhead.PENDING, 0, 3),
        (3, LookAhead.PENDING, 2, 1),
        (3, LookAhead.PENDING, 3, None),
        # NONE: what is free now.
        (3, LookAhead.NONE, 0, None),
    ],
)
def test_how_much_is_asked_for_when_all_places_are_taken(
    parallel: int, look_ahead: LookAhead, ahead: int, count: int | None
) -> None:
    taken = range(parallel)
    drawn = parallel + ahead
    state = experiment(
        spec(parallel_trial_count=parallel, max_trial_count=1000),
        open=opened(*taken),
        next_index=parallel,
        drawn=drawn,
        next_request=2,
        requests=(request(1, count=drawn, got=drawn),) if ahead else (),
        look_ahead=look_ahead,
    )
    assert asked(step(state)) == ([(2, drawn, count)] if count is not None else [])


def test_the_next_point_of_a_rung_is_asked_for_when_a_place_is_free() -> None:
    state = experiment(
        WIDE,
        open=opened(0, 2),
        next_index=3,
        finished=1,
        drawn=3,
        next_request=2,
        look_ahead=LookAhead.NONE,
    )
    after = step(state)
    assert asked(after) == [(2, 3, 1)]
    assert after.requests[0].watermark == 1


def test_nothing_is_drawn_beyond_the_budget() -> None:
    state = with_open(7, spec_=spec(max_trial_count=9), drawn=8, requests=())
    free = step(replace(state, look_ahead=LookAhead.FREE))
    assert asked(free) == [(2, 8, 1)]
    spent = step(replace(state, look_ahead=LookAhead.FREE, drawn=9, requests=(_ahead(),)))
    assert asked(spent) == []


def _ahead() -> PointsRequest:
    return request(1, first=0, got=9)


def test_without_a_budget_points_are_asked_for_all_the_same() -> None:
    state = experiment(spec(max_trial_count=None), phase=Phase.CREATED, look_ahead=LookAhead.FREE)
    assert asked(step(state)) == [(1, 0, 15)]


def test_a_spent_space_is_not_asked_again() -> None:
    first = step(experiment(WIDE, phase=Phase.CREATED))
    spent = step(first, answer(1, count=2, exhausted=True))
    assert sorted(spent.open) == ["0", "1"]
    assert spent.exhausted
    assert asked(spent) == []


def test_an_answer_counts_once_however_often_it_is_seen() -> None:
    first = step(experiment(WIDE, phase=Phase.CREATED))
    told = answer(1, count=3)
    once = step(first, told)
    twice = step(once, told)
    assert twice == once
    assert once.drawn == 3


def test_answers_of_other_requests_are_not_taken() -> None:
    first = step(experiment(WIDE, phase=Phase.CREATED))
    assert step(first, answer(7, count=3)) == first


def test_requests_are_dropped_when_their_points_are_trials() -> None:
    first = step(experiment(WIDE, phase=Phase.CREATED))
    used = step(first, answer(1, count=3))
    assert [it.number for it in used.requests] == [2]


def test_a_refusal_fails_the_experiment_with_its_reason() -> None:
    first = step(experiment(WIDE, phase=Phase.CREATED))
    ended = step(first, answer(1, count=0, refused="no such algorithm"))
    assert ended.phase is Phase.FAILED
    message = "Suggestion has failed: no such algorithm"
    assert [(it.type, it.message) for it in ended.conditions] == [
        ("Running", message),
        ("Failed", message),
    ]


@pytest.mark.parametrize("phase", [Phase.SUSPENDED, Phase.ENDING, Phase.DELETING])
def test_who_opens_no_trials_asks_for_none(phase: Phase) -> None:
    state = experiment(WIDE, phase=phase, open=opened(0), next_index=1, drawn=1)
    assert asked(step(state)) == []


# Waiting ---------------------------------------------------------------------------------------


def test_silence_is_said_after_its_deadline_and_taken_back() -> None:
    waiting = request(2, first=1, count=3, asked_at=NOW)
    state = with_open(0, spec_=WIDE, drawn=1, requests=(waiting,), next_request=3)
    assert conditions_of(step(state, at=NOW + SUGGESTION_DEADLINE_S)) == []
    late = step(state, at=NOW + SUGGESTION_DEADLINE_S + 1)
    assert conditions_of(late) == [("Running", True, "SuggestionStalled")]
    assert late.conditions[0].message == (
        "No points of random after 60 s: is the suggestion service up, and the server of the "
        "algorithm, if it has one?"
    )
    assert step(late, at=NOW + SUGGESTION_DEADLINE_S + 9) == late
    answered = step(late, answer(2, first=1, count=3), at=NOW + 70)
    assert conditions_of(answered) == [("Running", True, "ExperimentRunning")]


def test_silence_before_the_first_trial_is_said_too() -> None:
    first = step(experiment(WIDE, phase=Phase.CREATED))
    late = step(first, at=NOW + SUGGESTION_DEADLINE_S + 1)
    assert conditions_of(late) == [("Created", True, "SuggestionStalled")]
    answered = step(late, answer(1, count=3), at=NOW + 70)
    assert conditions_of(answered) == [
        ("Created", True, "ExperimentCreated"),
        ("Running", True, "ExperimentRunning"),
    ]


def test_silence_is_no_stall_while_no_place_is_free() -> None:
    waiting = request(2, first=3, count=3, asked_at=NOW)
    state = with_open(0, 1, 2, spec_=WIDE, drawn=3, requests=(waiting,), next_request=3)
    assert conditions_of(step(state, at=NOW + 100)) == []


def test_an_answer_without_points_takes_the_stall_back() -> None:
    """Nothing opens, so nothing else would."""
    waiting = request(2, first=1, count=3, asked_at=NOW)
    state = with_open(0, spec_=WIDE, drawn=1, requests=(waiting,), next_request=3)
    late = step(state, at=NOW + SUGGESTION_DEADLINE_S + 1)
    spent = step(late, answer(2, first=1, count=0, exhausted=True), at=NOW + 70)
    assert conditions_of(spent) == [("Running", True, "ExperimentRunning")]


def test_a_trial_is_marked_as_the_algorithm_marked_its_point() -> None:
    marks = tuple(
        Mark(parent=index, labels=(("rung", str(index)),)) for index in range(len(answer().points))
    )
    marked = replace(answer(), marks=marks)
    state = with_open(1)
    trials = [
        opened_trial(state, 1, state.open["1"], each)
        for each in (marked, replace(marked, marks=()))
    ]
    assert [trial.labels for trial in trials] == [(("rung", str(1 - marked.first)),), ()]
    assert [trial.parent for trial in trials] == [1 - marked.first, None]


def test_an_algorithm_that_waits_is_asked_again_when_a_trial_has_ended() -> None:
    """A rung is full: there are places, but no point until the next result."""
    sent = request(2, first=2, count=1, asked_at=NOW, watermark=4)
    state = with_open(0, 1, spec_=WIDE, drawn=2, requests=(sent,), next_request=3, finished=4)
    waiting = step(state, answer(2, first=2, count=0, look_ahead=LookAhead.NONE))
    assert (waiting.waits_at, waiting.requests, waiting.exhausted) == (4, (), False)
    assert decide(waiting, Observed(), NOW + 60).state.requests == ()
    again = step(replace(waiting, finished=5))
    assert [(it.number, it.first, it.watermark) for it in again.requests] == [(3, 2, 5)]
    enough = step(again, answer(3, first=2, count=1, look_ahead=LookAhead.NONE))
    assert enough.waits_at is None
    assert "2" in enough.open


def test_a_result_that_came_while_the_algorithm_decided_to_wait_is_told_at_once() -> None:
    sent = request(2, first=2, count=1, asked_at=NOW, watermark=4)
    state = with_open(0, 1, spec_=WIDE, drawn=2, requests=(sent,), next_request=3, finished=5)
    assert asked(step(state, answer(2, first=2, count=0, look_ahead=LookAhead.NONE))) == [(3, 2, 1)]


def test_part_of_the_points_opens_before_the_algorithm_waits() -> None:
    sent = request(1, first=0, count=3, asked_at=NOW)
    state = experiment(WIDE, phase=Phase.CREATED, requests=(sent,), next_request=2)
    after = step(state, answer(1, first=0, count=2, look_ahead=LookAhead.NONE))
    assert sorted(after.open) == ["0", "1"]
    assert (after.waits_at, asked(after)) == (0, [])


def test_an_algorithm_that_waits_while_nothing_runs_fails_the_experiment() -> None:
    sent = request(1, first=0, count=3, asked_at=NOW)
    state = experiment(WIDE, phase=Phase.CREATED, requests=(sent,), next_request=2)
    after = step(state, answer(1, first=0, count=0))
    assert after.verdict is not None
    assert after.verdict.phase is Phase.FAILED
    assert "waits for results, but no trial runs" in after.verdict.message
