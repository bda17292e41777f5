"""How an experiment comes to its end, what people see on the way, and its life cycle's table."""

from dataclasses import replace
from itertools import product

import pytest

from trialbus.kernel.errors import InvariantBroken
from trialbus.kernel.events import Event
from trialbus.kernel.experiment import Counts, Experiment, OpenState
from trialbus.kernel.experiment import ExperimentPhase as Phase
from trialbus.kernel.limits import BUS_DEADLINE_S, LAUNCH_DEADLINE_S, MAX_OUTBOX_EVENTS
from trialbus.kernel.run import Run
from trialbus.kernel.spec import AtGoal
from trialbus.kernel.suggestion import LookAhead
from trialbus.testkit.experiment_states import (
    NOW,
    answer,
    conditions_of,
    experiment,
    lost,
    objective,
    opened,
    request,
    run,
    running,
    spec,
    stopped,
    summary,
    with_open,
)
from trialbus_experiment.core.commands import delete, suspend
from trialbus_experiment.core.decide import decide
from trialbus_experiment.core.observed import Observed, SeenObservation
from trialbus_experiment.core.states import TRANSITIONS, Happening, after

AT_GOAL = spec(objective=objective(goal=0.5))


def seen(*runs: Run, settled: tuple[int, ...] = ()) -> Observed:
    """These runs, each ended one with the loss 0.5; the points of request 1."""
    return Observed(
        runs={it.index: it for it in runs},
        observations={it.index: SeenObservation(metrics=summary(0.5)) for it in runs if it.ended},
        answers={1: answer()},
        settled=frozenset(settled),
    )


def step(
    state: Experiment, *runs: Run, settled: tuple[int, ...] = (), at: float = NOW
) -> Experiment:
    """Decide, then have all its events out."""
    after_ = decide(state, seen(*runs, settled=settled), at).state
    return replace(after_, outbox=(), outbox_at=None)


# At the goal -----------------------------------------------------------------------------------


def test_at_the_goal_running_trials_are_stopped_and_end_killed() -> None:
    decision = decide(with_open(0, 1, 2, spec_=AT_GOAL), seen(run(0), running(1)), NOW)
    assert {i: trial.stop for i, trial in decision.state.open.items()} == {
        "1": "GoalReached",
        "2": "GoalReached",
    }
    asked = {event.type: event for event in decision.state.outbox}
    assert asked["trials.stopping"].data == {"count": 2, "indices": [1, 2]}
    assert asked["experiment.ending"].reason == "ExperimentGoalReached"
    killed = step(decision.state, stopped(1, "GoalReached"), stopped(2, "GoalReached"))
    assert killed.counts == Counts(succeeded=1, killed=2)
    assert killed.phase is Phase.ENDING
    ended = step(killed, settled=(0, 1, 2))
    assert (ended.phase, ended.active, ended.completed_at) == (Phase.SUCCEEDED, False, NOW)


def test_a_stop_is_asked_for_once() -> None:
    stopping = step(with_open(0, 1, 2, spec_=AT_GOAL), run(0))
    assert decide(stopping, seen(running(1)), NOW).state is stopping


def test_at_goal_drain_lets_running_trials_end() -> None:
    drained = replace(AT_GOAL, at_goal=AtGoal.DRAIN)
    ending = step(with_open(0, 1, spec_=drained), run(0))
    assert (ending.phase, ending.open["1"].stop) == (Phase.ENDING, "")
    assert list(ending.open) == ["1"]
    done = step(ending, run(1), settled=(0,))
    assert done.counts == Counts(succeeded=2)
    assert step(done, settled=(1,)).phase is Phase.SUCCEEDED


def test_too_many_failures_stop_the_others_even_when_goals_drain() -> None:
    limited = spec(max_failed_trial_count=1, at_goal=AtGoal.DRAIN)
    ending = step(with_open(0, 1, spec_=limited), run(0, exit_code=1))
    assert ending.open["1"].stop == "ExperimentFailed"
    killed = step(ending, stopped(1, "ExperimentFailed"))
    assert step(killed, settled=(0, 1)).phase is Phase.FAILED


def test_points_ahead_are_dropped_at_the_end() -> None:
    ending = step(with_open(0, spec_=AT_GOAL), run(0))
    ended = step(ending, settled=(0,))
    assert (ended.drawn, ended.next_index, ended.requests) == (1, 1, ())


# Terminal --------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED, Phase.DELETED])
def test_terminal_phases_absorb_whatever_is_seen(phase: Phase) -> None:
    state = with_open(0, 1, phase=phase)
    everything = seen(run(0), lost(1), settled=(0,))
    assert decide(state, everything, NOW).state is state


def test_an_experiment_ends_only_when_its_trial_documents_are_written() -> None:
    ending = step(with_open(9), run(9))
    assert list(ending.closing) == ["9"]
    assert decide(ending, seen(run(9)), NOW).state is ending
    assert step(ending, settled=(9,)).phase is Phase.SUCCEEDED


@pytest.mark.parametrize(("phase", "happening"), list(product(Phase, Happening)))
def test_every_change_that_the_table_does_not_hold_is_a_broken_invariant(
    phase: Phase, happening: Happening
) -> None:
    legal = {
        (Phase.CREATED, "trials opened"): Phase.RUNNING,
        (Phase.RUNNING, "trials opened"): Phase.RUNNING,
        (Phase.CREATED, "suspend asked"): Phase.SUSPENDED,
        (Phase.RUNNING, "suspend asked"): Phase.SUSPENDED,
        (Phase.SUSPENDED, "resume asked"): Phase.RUNNING,
        (Phase.CREATED, "verdict reached"): Phase.ENDING,
        (Phase.RUNNING, "verdict reached"): Phase.ENDING,
        (Phase.SUSPENDED, "verdict reached"): Phase.ENDING,
        (Phase.ENDING, "success complete"): Phase.SUCCEEDED,
        (Phase.ENDING, "failure complete"): Phase.FAILED,
        (Phase.SUCCEEDED, "restarted"): Phase.RUNNING,
        (Phase.ENDING, "restarted"): Phase.RUNNING,
        (Phase.DELETING, "deletion complete"): Phase.DELETED,
        (Phase.DELETING, "history kept"): Phase.ARCHIVED,
        (Phase.ARCHIVED, "history expired"): Phase.DELETED,
    }
    deletable = set(Phase) - {Phase.DELETING, Phase.DELETED, Phase.ARCHIVED}
    legal |= {(it, "delete asked"): Phase.DELETING for it in deletable}
    following = legal.get((phase, happening.value))
    if following is not None:
        assert after(phase, happening) is following
    else:
        with pytest.raises(InvariantBroken, match=phase.value):
            after(phase, happening)


def test_the_table_names_every_phase() -> None:
    assert set(TRANSITIONS) == set(Phase)


# Suspended and deleted -------------------------------------------------------------------------


def test_suspended_trials_stop_pause_and_go_on_as_their_next_attempts() -> None:
    state = suspend(with_open(0, 1, 2), NOW, suspended=True).state
    stopping = step(state, running(0), running(1), running(2))
    assert {trial.stop for trial in stopping.open.values()} == {"Suspended"}
    # One of the three ends by itself before the stop reaches it.
    paused = step(stopping, stopped(0, "Suspended"), run(1))
    assert paused.open["0"].state is OpenState.PAUSED
    assert paused.counts == Counts(succeeded=1)
    assert sorted(paused.open) == ["0", "2"]
    resumed = step(suspend(paused, NOW, suspended=False).state, running(2))
    assert (resumed.open["0"].attempt, resumed.open["0"].state) == (2, OpenState.ACTIVE)
    # The third has not been stopped yet: it may go on, unless its stop was faster.
    assert (resumed.open["2"].attempt, resumed.open["2"].stop) == (1, "")
    again = step(resumed, running(0, attempt=2), stopped(2, "Suspended"))
    assert again.open["2"].attempt == 2
    assert again.open["2"].lost == 0


def test_a_suspended_experiment_rests_when_all_its_trials_are_paused() -> None:
    suspended = suspend(with_open(0, 1), NOW, suspended=True).state
    stopping = step(suspended, running(0), running(1))
    assert stopping.active
    resting = step(stopping, stopped(0, "Suspended"), stopped(1, "Suspended"))
    assert not resting.active
    assert resting.phase is Phase.SUSPENDED


def test_paused_trials_end_killed_with_their_experiment() -> None:
    paused = {**opened(0, state=OpenState.PAUSED), **opened(1, stop="Suspended")}
    state = with_open(0, 1, spec_=AT_GOAL, phase=Phase.SUSPENDED, open=paused)
    ending = step(state, run(1))
    assert ending.phase is Phase.ENDING
    assert ending.counts == Counts(succeeded=1, killed=1)
    assert ending.closing["0"].reason == "TrialKilled.Suspended"
    assert step(ending, settled=(0, 1)).phase is Phase.SUCCEEDED


def test_deleting_stops_everything_then_leaves_a_tombstone() -> None:
    deleting = delete(with_open(0, 1, 2), NOW).state
    stopping = step(deleting, running(0), lost(1))
    assert stopping.open["0"].stop == "Deleted"
    # Lost before it was told to stop: it is not started again only to be stopped.
    killed = step(stopping, stopped(0, "Deleted"), lost(1, attempt=2), stopped(2, "Deleted"))
    assert killed.counts == Counts(killed=3)
    gone = decide(killed, seen(settled=(0, 1, 2)), NOW).state
    assert (gone.phase, gone.active, gone.alive_name) == (Phase.DELETED, False, None)
    assert [event.type for event in gone.outbox] == ["experiment.deleted"]


def test_nothing_new_opens_while_deleting() -> None:
    deleting = delete(with_open(0), NOW).state
    assert sorted(step(deleting, running(0)).open) == ["0"]


# What people see -------------------------------------------------------------------------------


def test_the_conditions_come_in_katibs_words_and_order() -> None:
    created = experiment(phase=Phase.CREATED)
    first = step(created)
    assert conditions_of(first) == []
    asked = replace(first, requests=(replace(first.requests[0], got=None),))
    running_ = step(asked)
    assert conditions_of(running_) == [("Running", True, "ExperimentRunning")]
    ended = step(
        step(with_open(0, spec_=AT_GOAL, conditions=running_.conditions), run(0)), settled=(0,)
    )
    assert conditions_of(ended) == [
        ("Running", False, "ExperimentGoalReached"),
        ("Succeeded", True, "ExperimentGoalReached"),
    ]
    message = "Experiment has succeeded because Objective goal has reached"
    assert [it.message for it in ended.conditions] == [message, message]


@pytest.mark.parametrize(
    ("limits", "last", "reason", "message"),
    [
        (
            {},
            run(9),
            "ExperimentMaxTrialsReached",
            "Experiment has succeeded because max trial count has reached",
        ),
        (
            {"max_failed_trial_count": 1},
            run(9, exit_code=1),
            "ExperimentFailed",
            "Experiment has failed because max failed count has reached",
        ),
        (
            {"max_trial_count": None},
            run(9),
            "ExperimentSuggestionEndReached",
            "Experiment has succeeded because suggestion service has reached the end",
        ),
    ],
)
def test_the_last_condition_says_why(
    limits: dict[str, int | None], last: Run, reason: str, message: str
) -> None:
    state = with_open(9, spec_=spec(**limits), exhausted=True, requests=())
    ended = step(step(state, last), settled=(9,))
    final = ended.conditions[-1]
    assert final.type == ("Failed" if reason == "ExperimentFailed" else "Succeeded")
    assert (final.status, final.reason, final.message) == (True, reason, message)


def test_a_launcher_that_is_not_there_is_said_and_taken_back() -> None:
    state = with_open(0, 1, 2)
    at = NOW - 10 + LAUNCH_DEADLINE_S
    assert step(state, running(0), at=at) is not None
    assert conditions_of(step(state, running(0), at=at)) == []
    late = step(state, running(0), at=at + 1)
    assert conditions_of(late) == [("Running", True, "LaunchStalled")]
    assert late.conditions[0].message == "2 trials wait for a launcher for over 60 s"
    well = step(late, running(0), running(1), running(2), at=at + 2)
    assert conditions_of(well) == [("Running", True, "ExperimentRunning")]


def waiting_events(count: int, at: float) -> tuple[Event, ...]:
    return tuple(
        Event(id=f"e{n}", type=f"t{n}", uid="u", namespace="ns", experiment="exp", at=at)
        for n in range(count)
    )


@pytest.mark.parametrize(
    ("count", "age_s", "stalled"),
    [
        (MAX_OUTBOX_EVENTS, 0.0, True),
        (MAX_OUTBOX_EVENTS - 1, BUS_DEADLINE_S, False),
        (1, BUS_DEADLINE_S + 1, True),
    ],
)
def test_events_that_wait_too_long_open_nothing_and_say_so_until_they_are_out(
    count: int, age_s: float, stalled: bool
) -> None:
    state = with_open(0, outbox=waiting_events(count, NOW - age_s), outbox_at=NOW - age_s)
    full = decide(state, seen(running(0)), NOW).state
    assert (list(full.open) == ["0"]) == stalled
    assert ("Running", True, "BusUnavailable") in conditions_of(full) or not stalled
    well = step(replace(full, outbox=(), outbox_at=None), running(0))
    assert conditions_of(well) == [("Running", True, "ExperimentRunning")]
    assert sorted(well.open) == ["0", "1", "2"]


def test_a_second_look_while_the_bus_is_away_commits_nothing() -> None:
    """A new request would take the place of the event that shows since when it is away."""
    asked = Event(
        id="e", type="suggestion.requested", uid="u", namespace="ns", experiment="exp",
        at=NOW - BUS_DEADLINE_S - 1,
    )  # fmt: skip
    drawn = request(1, first=0, count=3, got=3)
    state = with_open(0, drawn=3, requests=(drawn,), outbox=(asked,), outbox_at=asked.at)
    state = replace(state, look_ahead=LookAhead.FREE, next_request=2)
    once = decide(state, seen(running(0)), NOW).state
    assert once.outbox == (asked,)
    assert decide(once, seen(running(0)), NOW).state is once


def test_two_stalls_at_once_are_one_reason_and_no_commit_after_the_first() -> None:
    asked = request(2, first=1, asked_at=NOW - 100)
    state = with_open(0, drawn=1, requests=(asked,), open=opened(0, at=NOW - 100))
    late = step(state)
    assert conditions_of(late) == [("Running", True, "LaunchStalled")]
    assert decide(late, seen(), NOW + 1).state is late
    launched = step(late, running(0))
    assert conditions_of(launched) == [("Running", True, "SuggestionStalled")]
