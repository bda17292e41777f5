"""Budgets of experiments that run and of those that are over: restarting, draining, refusing."""

from dataclasses import replace
from typing import Any

import pytest

from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import Counts, Verdict
from trialbus.kernel.experiment import ExperimentPhase as Phase
from trialbus.kernel.spec import ResumePolicy
from trialbus.testkit.experiment_states import (
    NOW,
    answer,
    applied,
    conditions_of,
    experiment,
    finished,
    run,
    spec,
    summary,
    with_open,
)
from trialbus_experiment.core.commands import edit, suspend
from trialbus_experiment.core.decide import decide
from trialbus_experiment.core.observed import Observed, SeenObservation

# Restarting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [ResumePolicy.LONG_RUNNING, ResumePolicy.FROM_VOLUME])
def test_a_larger_budget_restarts_where_the_policy_keeps_it_alive(policy: ResumePolicy) -> None:
    state = finished("ExperimentMaxTrialsReached", spec(resume_policy=policy))
    decision = edit(state, applied(spec(resume_policy=policy, max_trial_count=15)), NOW)
    after = decision.state
    assert (after.phase, after.active, after.verdict) == (Phase.RUNNING, True, None)
    assert (after.completed_at, after.next_index) == (None, 10)
    assert conditions_of(after) == [
        ("Running", False, "ExperimentMaxTrialsReached"),
        ("Restarting", True, "ExperimentRestarting"),
    ]
    assert [event.type for event in after.outbox] == ["experiment.restarted", "experiment.edited"]


@pytest.mark.parametrize(
    ("reason", "phase", "policy"),
    [
        ("ExperimentMaxTrialsReached", Phase.SUCCEEDED, ResumePolicy.NEVER),
        ("ExperimentGoalReached", Phase.SUCCEEDED, ResumePolicy.LONG_RUNNING),
        ("ExperimentFailed", Phase.FAILED, ResumePolicy.LONG_RUNNING),
    ],
)
def test_other_ends_are_final(reason: str, phase: Phase, policy: ResumePolicy) -> None:
    state = finished(reason, spec(resume_policy=policy), phase)
    with pytest.raises(Refused, match="can be restarted"):
        edit(state, applied(spec(resume_policy=policy, max_trial_count=15)), NOW)


def test_it_is_restarting_until_a_trial_opens() -> None:
    policy = ResumePolicy.LONG_RUNNING
    state = finished("ExperimentMaxTrialsReached", spec(resume_policy=policy))
    wanted = spec(resume_policy=policy, max_trial_count=11)
    asked = decide(edit(state, applied(wanted), NOW).state, Observed(), NOW).state
    assert asked.requests[0].first == 10
    assert conditions_of(asked)[-1] == ("Restarting", True, "ExperimentRestarting")
    points = answer(asked.requests[0].number, first=10, count=1)
    seen = Observed(answers={asked.requests[0].number: points})
    running = decide(asked, seen, NOW).state
    assert list(running.open) == ["10"]
    assert conditions_of(running) == [
        ("Restarting", False, "ExperimentRunning"),
        ("Running", True, "ExperimentRunning"),
    ]


def test_a_removed_limit_restarts_too() -> None:
    policy = ResumePolicy.FROM_VOLUME
    state = finished("ExperimentMaxTrialsReached", spec(resume_policy=policy))
    after = edit(state, applied(spec(resume_policy=policy, max_trial_count=None)), NOW).state
    assert after.phase is Phase.RUNNING


@pytest.mark.parametrize(
    "changes", [{"max_trial_count": 5}, {"parallel_trial_count": 1}, {"max_failed_trial_count": 2}]
)
def test_what_is_over_takes_a_budget_that_is_not_larger_and_stays_over(
    changes: dict[str, Any],
) -> None:
    policy = ResumePolicy.LONG_RUNNING
    state = finished("ExperimentMaxTrialsReached", spec(resume_policy=policy))
    wanted = spec(resume_policy=policy, **changes)
    after = edit(state, applied(wanted), NOW).state
    assert (after.spec, after.generation) == (wanted, 2)
    assert (after.phase, after.active, after.conditions) == (
        Phase.SUCCEEDED,
        False,
        state.conditions,
    )


@pytest.mark.parametrize("trials", [9, 10])
def test_a_budget_that_is_raised_too_little_to_restart_is_refused(trials: int) -> None:
    policy = ResumePolicy.LONG_RUNNING
    state = finished("ExperimentMaxTrialsReached", spec(resume_policy=policy, max_trial_count=8))
    with pytest.raises(Refused, match="must be greater than"):
        edit(state, applied(spec(resume_policy=policy, max_trial_count=trials)), NOW)


@pytest.mark.parametrize(
    ("reason", "policy", "goes_on"),
    [
        ("ExperimentMaxTrialsReached", ResumePolicy.LONG_RUNNING, True),
        ("ExperimentMaxTrialsReached", ResumePolicy.NEVER, False),
        ("ExperimentGoalReached", ResumePolicy.LONG_RUNNING, False),
    ],
)
def test_an_edit_while_the_last_documents_are_written_is_not_forgotten(
    reason: str, policy: ResumePolicy, goes_on: bool
) -> None:
    """The verdict is known and the end is not: the edit counts as one after the end."""
    old = spec(resume_policy=policy)
    verdict = Verdict(phase=Phase.SUCCEEDED, reason=reason, message="")
    state = experiment(old, phase=Phase.ENDING, next_index=10, drawn=10, verdict=verdict)
    wanted = replace(old, max_trial_count=15)
    if not goes_on:
        with pytest.raises(Refused):
            edit(state, applied(wanted), NOW)
        return
    after = edit(state, applied(wanted), NOW).state
    assert (after.phase, after.verdict) == (Phase.RUNNING, None)


def test_suspending_what_is_over_leaves_it_as_it_is() -> None:
    state = finished("ExperimentMaxTrialsReached", spec())
    assert suspend(state, NOW, suspended=True).state is state
    assert edit(state, applied(spec(suspend=True)), NOW).state is state


# Lowering --------------------------------------------------------------------------------------


def test_a_budget_below_what_has_started_starts_no_more_drains_and_succeeds() -> None:
    state = with_open(2, 3, spec_=spec(parallel_trial_count=2), conditions=())
    lowered = edit(state, applied(spec(max_trial_count=2, parallel_trial_count=2)), NOW).state
    after = decide(lowered, Observed(answers={1: answer()}), NOW).state
    assert (sorted(after.open), after.next_index, after.phase) == (["2", "3"], 4, Phase.RUNNING)
    assert all(trial.stop == "" for trial in after.open.values())
    runs = {index: run(index) for index in (2, 3)}
    seen = {index: SeenObservation(metrics=summary(0.5)) for index in (2, 3)}
    observed = Observed(runs=runs, observations=seen, answers={1: answer()})
    ending = decide(after, observed, NOW).state
    ended = decide(ending, replace(observed, settled=frozenset({2, 3})), NOW).state
    assert (ended.phase, ended.next_index, ended.counts.succeeded) == (Phase.SUCCEEDED, 4, 2)
    assert conditions_of(ended)[-1] == ("Succeeded", True, "ExperimentMaxTrialsReached")


def test_a_lowered_parallelism_stops_nothing_and_opens_nothing_until_places_are_free() -> None:
    state = with_open(0, 1, 2)
    lowered = edit(state, applied(spec(parallel_trial_count=1)), NOW).state
    after = decide(lowered, Observed(answers={1: answer()}), NOW).state
    assert sorted(after.open) == ["0", "1", "2"]
    assert all(trial.stop == "" for trial in after.open.values())
    observed = Observed(
        runs={0: run(0), 1: run(1)},
        observations={index: SeenObservation(metrics=summary(0.5)) for index in (0, 1)},
        answers={1: answer()},
    )
    assert sorted(decide(after, observed, NOW).state.open) == ["2"]


def test_a_raised_parallelism_opens_at_once() -> None:
    raised = edit(with_open(0), applied(spec(parallel_trial_count=4)), NOW).state
    after = decide(raised, Observed(answers={1: answer()}), NOW).state
    assert sorted(after.open) == ["0", "1", "2", "3"]


def test_a_lowered_failure_limit_counts_the_failures_that_were() -> None:
    state = with_open(3, counts=Counts(failed=3))
    lowered = edit(state, applied(spec(max_failed_trial_count=3)), NOW).state
    after = decide(lowered, Observed(answers={1: answer()}), NOW).state
    assert after.verdict is not None
    assert after.verdict.reason == "ExperimentFailed"
