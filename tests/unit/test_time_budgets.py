"""Budgets of wall time and of resource-seconds: what counts, what follows, what may be edited."""

from dataclasses import replace
from typing import Any

import pytest

from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import Counts, Experiment
from trialbus.kernel.experiment import ExperimentPhase as Phase
from trialbus.kernel.run import Run
from trialbus.kernel.spec import (
    AtGoal,
    CountedResource,
    ExperimentSpec,
    ResumePolicy,
    TrialTemplate,
)
from trialbus.testkit.experiment_states import (
    NOW,
    answer,
    applied,
    experiment,
    finished,
    lost,
    run,
    running,
    spec,
    stopped,
    summary,
    with_open,
)
from trialbus_experiment.core.commands import create, edit, suspend
from trialbus_experiment.core.decide import decide
from trialbus_experiment.core.metadata import with_budget
from trialbus_experiment.core.observed import Observed, SeenObservation

DURATION, RESOURCES = "ExperimentMaxDurationReached", "ExperimentMaxResourceSecondsReached"
TWO_CORES = TrialTemplate(
    trial_spec={"spec": {"containers": [{"resources": {"requests": {"cpu": "2"}}}]}}
)


def step(
    state: Experiment, *runs: Run, settled: tuple[int, ...] = (), at: float = NOW
) -> Experiment:
    """Decide on these runs, each ended one with the loss 0.5; then have all its events out."""
    seen = Observed(
        runs={it.index: it for it in runs},
        observations={it.index: SeenObservation(metrics=summary(0.5)) for it in runs if it.ended},
        answers={1: answer()},
        settled=frozenset(settled),
    )
    return replace(decide(state, seen, at).state, outbox=(), outbox_at=None)


def lasting(seconds: float, **changes: Any) -> ExperimentSpec:
    return spec(max_duration_s=seconds, **changes)


# Wall time -------------------------------------------------------------------------------------


def test_nothing_ends_before_the_time_is_over() -> None:
    state = with_open(0, 1, spec_=lasting(100), runs_since=NOW - 99)
    assert step(state, running(0), running(1)).phase is Phase.RUNNING


def test_when_the_time_is_over_running_trials_are_stopped_and_what_was_found_counts() -> None:
    state = with_open(0, 1, spec_=lasting(100), runs_since=NOW - 100)
    ending = step(state, run(0), running(1))
    assert ending.verdict is not None
    assert (ending.verdict.reason, ending.verdict.phase) == (DURATION, Phase.SUCCEEDED)
    assert {index: it.stop for index, it in ending.open.items()} == {"1": "BudgetSpent"}
    killed = step(ending, stopped(1, "BudgetSpent"), settled=(0,), at=NOW + 3)
    assert killed.counts == Counts(succeeded=1, killed=1)
    over = step(killed, settled=(1,), at=NOW + 4)
    assert over.phase is Phase.SUCCEEDED
    # The clock stood still from the verdict on.
    assert (over.ran_s, over.runs_since) == (100.0, None)
    assert over.conditions[-1].message.endswith("because max duration (1m40s) has reached")


def test_without_any_result_it_has_failed() -> None:
    ending = step(with_open(0, spec_=lasting(5), runs_since=NOW - 9), running(0))
    over = step(step(ending, stopped(0, "BudgetSpent")), settled=(0,))
    assert (over.phase, over.conditions[-1].reason) == (Phase.FAILED, DURATION)


def test_a_trial_that_ended_well_while_it_was_being_stopped_is_a_result() -> None:
    ending = step(with_open(0, spec_=lasting(5), runs_since=NOW - 9), running(0))
    assert ending.verdict is not None
    assert ending.verdict.phase is Phase.FAILED
    over = step(step(ending, run(0)), settled=(0,))
    assert (over.phase, over.counts.succeeded) == (Phase.SUCCEEDED, 1)


def test_drain_lets_running_trials_end_and_opens_none() -> None:
    state = with_open(0, 1, spec_=lasting(5, at_goal=AtGoal.DRAIN), runs_since=NOW - 9, finished=0)
    draining = step(state, run(0), running(1))
    assert (draining.phase, draining.verdict, draining.next_index) == (Phase.RUNNING, None, 2)
    assert draining.open["1"].stop == ""
    ending = step(draining, run(1), settled=(0,))
    assert step(ending, settled=(1,)).counts == Counts(succeeded=2)


def test_suspended_time_does_not_count() -> None:
    state = experiment(lasting(100), runs_since=NOW - 60)
    suspended = suspend(state, NOW, suspended=True).state
    assert (suspended.ran_s, suspended.runs_since) == (60.0, None)
    resumed = suspend(suspended, NOW + 1000, suspended=False).state
    assert resumed.ran_until(NOW + 1030) == 90.0


def test_a_new_experiment_begins_its_time_and_a_suspended_one_does_not() -> None:
    begun = create(applied(spec()), NOW)
    assert begun.ran_until(NOW + 5) == 5.0
    assert create(applied(spec(suspend=True)), NOW).ran_until(NOW + 5) == 0.0


def test_more_time_lets_it_go_on_where_the_policy_keeps_it_alive() -> None:
    policy = {"resume_policy": ResumePolicy.LONG_RUNNING, "max_trial_count": 20}
    over = replace(finished(DURATION, lasting(100, **policy)), ran_s=101.0)
    with pytest.raises(Refused, match=r"100.5 s: must be greater than what is spent \(101 s\)"):
        edit(over, applied(lasting(100.5, **policy)), NOW)
    again = edit(over, applied(lasting(200, **policy)), NOW).state
    assert (again.phase, again.ran_until(NOW + 1)) == (Phase.RUNNING, 102.0)


def test_more_trials_do_not_help_when_the_time_is_over_too() -> None:
    policy = {"resume_policy": ResumePolicy.LONG_RUNNING}
    over = replace(finished(DURATION, lasting(100, **policy)), ran_s=101.0)
    with pytest.raises(Refused, match="max-duration"):
        edit(over, applied(lasting(100, max_trial_count=20, **policy)), NOW)


# Resource-seconds ------------------------------------------------------------------------------


def test_every_attempt_is_paid_for_once_by_what_it_asks_for() -> None:
    """4 s each, on two cores: one that ended, one that was lost, one that runs."""
    state = with_open(0, 1, 2, spec_=spec(template=TWO_CORES))
    after = step(state, run(0), replace(lost(1), finished_at=NOW - 1), running(2))
    assert after.spent == 16.0
    assert step(after, run(0), running(2), settled=(0,)).spent == 16.0
    again = step(after, run(1, attempt=2, started_at=NOW, finished_at=NOW + 1), settled=(0,))
    assert again.spent == 18.0


def test_a_suspended_attempt_is_paid_for() -> None:
    state = suspend(with_open(0), NOW, suspended=True).state
    assert step(state, stopped(0, "Suspended")).spent == 4.0


@pytest.mark.parametrize(("spent", "over"), [(85.0, False), (86.0, True)])
def test_what_runs_counts_while_it_does(spent: float, over: bool) -> None:
    """4 s of trial 0, 5 s each of trials 1 and 2 so far."""
    limited = spec(max_resource_seconds=100.0)
    after = step(with_open(0, 1, 2, spec_=limited, spent=spent), run(0), running(1), running(2))
    assert (after.verdict is not None) is over
    if after.verdict is not None:
        assert (after.verdict.reason, after.verdict.phase) == (RESOURCES, Phase.SUCCEEDED)


def test_trials_may_be_counted_instead_of_processors() -> None:
    counted = spec(template=TWO_CORES, counted_resource=CountedResource.TRIAL)
    assert step(with_open(0, spec_=counted), run(0)).spent == 4.0


# Edits -----------------------------------------------------------------------------------------


def test_a_budget_of_time_is_metadata_and_no_new_generation() -> None:
    state = replace(experiment(lasting(5)), source={"new": True})
    after = edit(state, applied(lasting(50)), NOW).state
    assert (after.spec.max_duration_s, after.generation, after.revision) == (50, 1, 2)
    assert after.active


def test_what_is_counted_is_fixed() -> None:
    with pytest.raises(Refused, match="counted-resource"):
        edit(experiment(), applied(spec(counted_resource=CountedResource.GPU)), NOW)


def test_an_edit_names_budgets_of_time_without_the_whole_object() -> None:
    source = {"metadata": {"name": "exp", "annotations": {"by": "me"}}, "spec": {}}
    changed = with_budget(source, {"maxDuration": "2h", "maxResourceSeconds": 3600})
    assert changed["metadata"]["annotations"] == {
        "by": "me",
        "trialbus.io/max-duration": "2h",
        "trialbus.io/max-resource-seconds": "3600",
    }
    assert with_budget(changed, {"maxDuration": None, "maxResourceSeconds": None}) == source
