"""What a launcher must do so that the runs are as the experiment wants them."""

from collections.abc import Mapping

from trialbus.kernel.experiment import Experiment, OpenState
from trialbus.kernel.run import Run
from trialbus.testkit.experiment_states import experiment, opened, run, running
from trialbus_trial_launcher.core.actions import (
    Action,
    Intend,
    NeverStart,
    Stop,
    TakeOver,
    decide,
    wanted_runs,
)


def act(
    state: Experiment,
    *,
    followed: tuple[str, ...] = (),
    recorded: Mapping[str, Run] | None = None,
    verdicts: tuple[str, ...] = (),
) -> list[Action]:
    return decide(
        state,
        followed=frozenset(followed),
        recorded=recorded or {},
        verdicts=frozenset(verdicts),
        host="here",
    )


def test_an_open_attempt_without_a_run_is_to_begin() -> None:
    state = experiment(open={**opened(0), **opened(1, attempt=3)})
    assert act(state) == [Intend(index=0, attempt=1), Intend(index=1, attempt=3)]


def test_a_paused_trial_wants_no_run() -> None:
    state = experiment(open={**opened(0, state=OpenState.PAUSED), **opened(1)})
    assert wanted_runs(state) == {"u.1.1": 1}
    assert act(state) == [Intend(index=1, attempt=1)]


def test_a_followed_run_needs_nothing() -> None:
    assert act(experiment(open=opened(0)), followed=("u.0.1",)) == []


def test_a_followed_run_is_stopped_as_the_experiment_says() -> None:
    state = experiment(open=opened(0, stop="GoalReached"))
    assert act(state, followed=("u.0.1",)) == [Stop(run_id="u.0.1", reason="GoalReached")]


def test_a_followed_run_is_stopped_as_the_stopping_rule_says() -> None:
    state = experiment(open=opened(0, 1))
    wanted = act(state, followed=("u.0.1", "u.1.1"), verdicts=("u.1.1",))
    assert wanted == [Stop(run_id="u.1.1", reason="EarlyStopped")]


def test_the_experiment_has_the_first_word_on_the_reason() -> None:
    state = experiment(open=opened(0, stop="Deleted"))
    stop = act(state, followed=("u.0.1",), verdicts=("u.0.1",))
    assert stop == [Stop(run_id="u.0.1", reason="Deleted")]


def test_what_is_to_be_stopped_before_it_began_never_starts() -> None:
    state = experiment(open=opened(0, stop="Suspended"))
    assert act(state) == [NeverStart(index=0, attempt=1, reason="Suspended")]


def test_a_living_run_of_this_host_that_nobody_follows_is_taken_over() -> None:
    alive = running(0)
    assert act(experiment(open=opened(0)), recorded={"u.0.1": alive}) == [TakeOver(run=alive)]


def test_a_run_that_is_taken_over_is_stopped_if_it_must_be() -> None:
    alive = running(0)
    state = experiment(open=opened(0, stop="Deleted"))
    assert act(state, recorded={"u.0.1": alive}) == [
        TakeOver(run=alive),
        Stop(run_id="u.0.1", reason="Deleted"),
    ]


def test_runs_of_other_hosts_are_theirs() -> None:
    there = running(0)
    wanted = decide(
        experiment(open=opened(0)),
        followed=frozenset(),
        recorded={"u.0.1": there},
        verdicts=frozenset(),
        host="elsewhere",
    )
    assert wanted == []


def test_an_ended_run_needs_nothing_even_if_a_stop_comes_late() -> None:
    state = experiment(open=opened(0, stop="GoalReached"))
    assert act(state, recorded={"u.0.1": run(0)}) == []


def test_runs_that_nobody_wants_any_more_are_stopped() -> None:
    state = experiment(open=opened(0, attempt=2))
    assert act(state, followed=("u.0.1", "u.5.1", "u.0.2")) == [
        Stop(run_id="u.0.1", reason="Superseded"),
        Stop(run_id="u.5.1", reason="Superseded"),
    ]
