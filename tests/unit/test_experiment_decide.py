"""What an experiment becomes, given what is seen: budgets, attempts, ends, conditions."""

import math
from dataclasses import replace

import pytest

from trialbus.kernel.experiment import Counts, Experiment
from trialbus.kernel.experiment import ExperimentPhase as Phase
from trialbus.kernel.limits import OBSERVATION_DEADLINE_S
from trialbus.kernel.run import Run
from trialbus.kernel.trial import MetricValues, TrialPhase
from trialbus.testkit.experiment_states import (
    NOW,
    answer,
    lost,
    objective,
    run,
    running,
    spec,
    stopped,
    summary,
    with_open,
)
from trialbus_experiment.core.decide import decide
from trialbus_experiment.core.draft import Decision
from trialbus_experiment.core.observed import Observed, SeenObservation
from trialbus_experiment.core.outcomes import Ended, Lost, Paused, RunOutcome, Waiting, judge

SEEN = SeenObservation(metrics=summary(0.5))
OTHER = SeenObservation(metrics=())
LATE = NOW + OBSERVATION_DEADLINE_S


def seen(*runs: Run, observed: bool = True, **losses: float) -> Observed:
    """These runs, ended ones with the loss 0.5 unless `trial<i>` says otherwise; answer 1."""
    observations = {
        it.index: SeenObservation(metrics=summary(losses.get(f"trial{it.index}", 0.5)))
        for it in runs
        if it.ended and observed
    }
    return Observed(
        runs={it.index: it for it in runs}, observations=observations, answers={1: answer()}
    )


def events_of(decision: Decision) -> list[str]:
    return [event.type for event in decision.state.outbox]


def drained(state: Experiment) -> Experiment:
    """All its events are out."""
    return replace(state, outbox=(), outbox_at=None)


# One attempt -----------------------------------------------------------------------------------

SUCCEEDED = Ended(
    phase=TrialPhase.SUCCEEDED, reason="TrialSucceeded", message="Trial has succeeded", value=0.5
)
EARLY = Ended(
    phase=TrialPhase.EARLY_STOPPED,
    reason="TrialEarlyStopped",
    message="Trial is early stopped",
    value=0.5,
)


def killed(reason: str) -> Ended:
    return Ended(
        phase=TrialPhase.KILLED,
        reason=f"TrialKilled.{reason}",
        message=f"Trial was stopped: {reason}",
    )


def failed(how: str) -> Ended:
    return Ended(phase=TrialPhase.FAILED, reason="TrialFailed", message=f"Trial has failed: {how}")


def unavailable(why: str) -> Ended:
    return Ended(
        phase=TrialPhase.METRICS_UNAVAILABLE,
        reason="MetricsUnavailable",
        message=f"Metrics are not available: {why}",
    )


@pytest.mark.parametrize(
    ("attempt", "observation", "lost_before", "wanted", "now", "outcome"),
    [
        (running(0), None, 0, "", NOW, Waiting()),
        (run(0), SEEN, 0, "", NOW, SUCCEEDED),
        (run(0), None, 0, "", NOW, Waiting()),
        (run(0), None, 0, "", LATE, unavailable("its metrics were not stored within 60 s")),
        (
            run(0),
            OTHER,
            0,
            "",
            NOW,
            unavailable("it reported no value of 'loss'; looked for lines like loss=0.9"),
        ),
        # It took our signal and ended with 0: it may not have done its work.
        (run(0, stop_reason="GoalReached"), SEEN, 0, "GoalReached", NOW, killed("GoalReached")),
        (run(0, stop_reason="Suspended"), SEEN, 0, "Suspended", NOW, Paused()),
        (run(0, exit_code=3), SEEN, 0, "", NOW, failed("exit code 3")),
        (run(0, exit_code=3), None, 0, "", NOW, Waiting()),
        (run(0, exit_code=3), None, 0, "", LATE, failed("exit code 3")),
        (
            run(0, exit_code=127, message="no such command"),
            SEEN,
            0,
            "",
            NOW,
            failed("exit code 127 (no such command)"),
        ),
        (run(0, exit_code=None, signal=11), SEEN, 0, "", NOW, failed("ended by signal 11")),
        (stopped(0, "DeadlineExceeded"), SEEN, 0, "", NOW, failed("stopped: DeadlineExceeded")),
        (stopped(0, "OutputLimit"), SEEN, 0, "", NOW, failed("stopped: OutputLimit")),
        (stopped(0, "EarlyStopped"), SEEN, 0, "", NOW, EARLY),
        (stopped(0, "EarlyStopped"), None, 0, "", LATE, replace(EARLY, value=None)),
        (stopped(0, "GoalReached"), SEEN, 0, "GoalReached", NOW, killed("GoalReached")),
        (stopped(0, "ExperimentFailed"), SEEN, 0, "", NOW, killed("ExperimentFailed")),
        (stopped(0, "Deleted"), SEEN, 0, "Deleted", NOW, killed("Deleted")),
        (stopped(0, "Suspended"), None, 0, "Suspended", NOW, Paused()),
        (stopped(0, "Suspended"), None, 0, "", NOW, Paused()),
        # Suspended first, then the goal was reached: it will not go on.
        (stopped(0, "Suspended"), SEEN, 0, "GoalReached", NOW, killed("Suspended")),
        (lost(0), None, 0, "", NOW, Lost(message="gone")),
        (lost(0), None, 2, "", NOW, Lost(message="gone")),
        (
            lost(0),
            None,
            3,
            "",
            NOW,
            Ended(
                phase=TrialPhase.FAILED,
                reason="TrialLost",
                message="Trial was lost 4 times: gone",
            ),
        ),
        (lost(0), None, 0, "EarlyStopped", NOW, Lost(message="gone")),
        (lost(0), None, 0, "Suspended", NOW, Paused()),
        (lost(0), None, 0, "Deleted", NOW, killed("Deleted")),
    ],
)
def test_an_attempt_is_judged(
    attempt: Run,
    observation: SeenObservation | None,
    lost_before: int,
    wanted: str,
    now: float,
    outcome: RunOutcome,
) -> None:
    judged = judge(
        attempt,
        observation,
        objective=objective(),
        lost_before=lost_before,
        stop_wanted=wanted,
        now=now,
    )
    assert judged == outcome


@pytest.mark.parametrize(
    ("printed", "additional", "filters", "words"),
    [
        (("time",), ("time", "size"), (), ", only of 'time'; looked for lines like loss=0.9"),
        ((), ("time",), (), ", nor of 'time'; looked for lines like loss=0.9"),
        ((), (), (r"(\w+): (\d)",), r"; looked for what matches the filter (\w+): (\d)"),
    ],
)
def test_a_missing_objective_says_what_was_there_and_what_was_looked_for(
    printed: tuple[str, ...], additional: tuple[str, ...], filters: tuple[str, ...], words: str
) -> None:
    metrics = tuple(MetricValues(name=name, min=1.0, max=1.0, latest=1.0) for name in printed)
    judged = judge(
        run(0),
        SeenObservation(metrics=metrics),
        objective=replace(objective(), additional=additional),
        lost_before=0,
        stop_wanted="",
        now=NOW,
        filters=filters,
    )
    assert judged == unavailable(f"it reported no value of 'loss'{words}")


def test_a_missing_objective_says_where_the_launcher_has_looked() -> None:
    judged = judge(
        replace(run(0), looked="looked in the file /m.log for x; found 'y'"),
        SeenObservation(metrics=()),
        objective=objective(),
        lost_before=0,
        stop_wanted="",
        now=NOW,
    )
    words = "it reported no value of 'loss'; looked in the file /m.log for x; found 'y'"
    assert judged == unavailable(words)


def test_a_nan_is_a_value_but_never_the_best_and_never_the_goal() -> None:
    state = with_open(0, 1, spec_=spec(objective=objective(goal=0.9)))
    nan = decide(state, seen(run(0), trial0=math.nan), NOW).state
    assert nan.counts == Counts(succeeded=1)
    assert nan.best is not None
    assert math.isnan(nan.best.value)
    assert nan.phase is Phase.RUNNING
    better = decide(drained(nan), seen(run(1), trial1=5.0), NOW).state
    assert better.best is not None
    assert (better.best.index, better.best.value) == (1, 5.0)


@pytest.mark.parametrize(
    ("second", "best"), [(0.4, 1), (0.5, 0), (0.6, 0), (math.nan, 0), (-math.inf, 1)]
)
def test_the_best_is_strictly_better_and_the_first_of_equals_stays(
    second: float, best: int
) -> None:
    state = decide(with_open(0, 1), seen(run(0), run(1), trial1=second), NOW).state
    assert state.best is not None
    assert state.best.index == best
    assert state.best.name.startswith("exp-")
    assert [it.value for it in state.best.assignments] == [f"0.{best}"]


def test_an_early_stopped_trial_may_be_the_best_a_failed_one_never() -> None:
    state = decide(
        with_open(0, 1),
        seen(stopped(0, "EarlyStopped"), run(1, exit_code=1), trial0=0.3, trial1=0.1),
        NOW,
    ).state
    assert state.best is not None
    assert (state.best.index, state.best.value) == (0, 0.3)
    assert state.counts == Counts(early_stopped=1, failed=1)


# Attempts that were lost -----------------------------------------------------------------------


def test_a_lost_attempt_is_retried_three_times_then_the_trial_has_failed() -> None:
    state = with_open(0, 1, 2)
    for attempt in (1, 2, 3):
        decision = decide(drained(state), seen(lost(0, attempt=attempt)), NOW + attempt)
        state = decision.state
        assert state.open["0"].attempt == attempt + 1
        assert state.open["0"].lost == attempt
        assert state.open["0"].opened_at == NOW + attempt
        assert {"trial.retried", "trials.opened"} <= set(events_of(decision))
    state = decide(drained(state), seen(lost(0, attempt=4)), NOW + 4).state
    assert state.closing["0"].phase is TrialPhase.FAILED
    assert state.closing["0"].reason == "TrialLost"
    assert state.closing["0"].attempt == 4


def test_the_end_of_an_older_attempt_is_not_heard() -> None:
    state = with_open(0, 1, 2)
    retried = drained(decide(state, seen(lost(0)), NOW).state)
    assert decide(retried, seen(run(0, attempt=1)), NOW).state is retried


# Budgets ---------------------------------------------------------------------------------------


def finishing(spec_changes: dict[str, object], **changes: object) -> Decision:
    """The last open trial of ten ends with the loss 0.5."""
    state = with_open(9, spec_=spec(**spec_changes), **changes)
    return decide(state, seen(run(9)), NOW)


@pytest.mark.parametrize(
    ("limits", "state", "reason", "phase"),
    [
        ({}, {}, "ExperimentMaxTrialsReached", Phase.SUCCEEDED),
        ({"objective": objective(goal=0.5)}, {}, "ExperimentGoalReached", Phase.SUCCEEDED),
        ({"objective": objective(goal=0.4)}, {}, "ExperimentMaxTrialsReached", Phase.SUCCEEDED),
        (
            {"max_failed_trial_count": 2},
            {"counts": Counts(failed=1, metrics_unavailable=1, succeeded=7)},
            "ExperimentFailed",
            Phase.FAILED,
        ),
        (
            {"max_failed_trial_count": 2},
            {"counts": Counts(failed=1, killed=3, early_stopped=4, succeeded=1)},
            "ExperimentMaxTrialsReached",
            Phase.SUCCEEDED,
        ),
        # The goal comes before the failures, failures before the number of trials.
        (
            {"objective": objective(goal=0.5), "max_failed_trial_count": 1},
            {"counts": Counts(failed=9)},
            "ExperimentGoalReached",
            Phase.SUCCEEDED,
        ),
        # The number of trials comes before the end of the space.
        ({}, {"exhausted": True}, "ExperimentMaxTrialsReached", Phase.SUCCEEDED),
        (
            {"max_trial_count": 30},
            {"exhausted": True, "requests": ()},
            "ExperimentSuggestionEndReached",
            Phase.SUCCEEDED,
        ),
        (
            {"max_trial_count": None},
            {"exhausted": True, "requests": ()},
            "ExperimentSuggestionEndReached",
            Phase.SUCCEEDED,
        ),
    ],
)
def test_the_verdict_and_its_order(
    limits: dict[str, object], state: dict[str, object], reason: str, phase: Phase
) -> None:
    ending = finishing(limits, **state).state
    assert ending.phase is Phase.ENDING
    assert ending.verdict is not None
    assert (ending.verdict.reason, ending.verdict.phase) == (reason, phase)


def test_points_that_are_left_come_before_the_end_of_the_space() -> None:
    state = with_open(8, spec_=spec(max_trial_count=30), exhausted=True, drawn=10)
    after_ = decide(state, seen(run(8)), NOW).state
    assert after_.phase is Phase.RUNNING
    assert list(after_.open) == ["9"]


@pytest.mark.parametrize(("limit", "failed_count", "ends"), [(0, 1, True), (0, 0, False)])
def test_a_limit_of_no_failures_fails_on_the_first(
    limit: int, failed_count: int, ends: bool
) -> None:
    state = with_open(0, 1, 2, spec_=spec(max_failed_trial_count=limit))
    attempt = run(0, exit_code=failed_count)
    assert (decide(state, seen(attempt), NOW).state.phase is Phase.ENDING) == ends


def test_trials_open_up_to_the_parallel_count_and_the_budget() -> None:
    state = decide(with_open(0, 1, 2), seen(run(0), run(2)), NOW).state
    assert sorted(state.open) == ["1", "3", "4"]
    nearly = with_open(8, drawn=10, spec_=spec(max_trial_count=10))
    assert sorted(decide(nearly, seen(run(8)), NOW).state.open) == ["9"]


def test_a_lowered_parallel_count_drains() -> None:
    state = with_open(0, 1, 2, spec_=spec(parallel_trial_count=1))
    one = decide(state, seen(run(0)), NOW).state
    assert sorted(one.open) == ["1", "2"]
    assert all(not trial.stop for trial in one.open.values())
    last = decide(drained(one), seen(run(1), run(2)), NOW).state
    assert sorted(last.open) == ["3"]


def test_a_raised_parallel_count_opens_at_once() -> None:
    state = with_open(0, 1, 2, spec_=spec(parallel_trial_count=5))
    assert sorted(decide(state, seen(), NOW).state.open) == ["0", "1", "2", "3", "4"]


def test_a_lowered_number_of_trials_ends_when_the_open_ones_have() -> None:
    state = with_open(0, 1, 2, spec_=spec(max_trial_count=2))
    waiting = decide(state, seen(run(0)), NOW).state
    assert (waiting.phase, sorted(waiting.open)) == (Phase.RUNNING, ["1", "2"])
    ended = decide(drained(waiting), seen(run(1), run(2)), NOW).state
    assert ended.verdict is not None
    assert ended.verdict.reason == "ExperimentMaxTrialsReached"
