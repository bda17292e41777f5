"""What people may ask of an experiment: create, edit, suspend, restart, delete."""

from dataclasses import fields as fields_of
from dataclasses import replace
from typing import Any

import pytest

from trialbus.kernel.conditions import set_condition
from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import Experiment, OpenState, OpenTrial
from trialbus.kernel.experiment import ExperimentPhase as Phase
from trialbus.kernel.spec import (
    AlgorithmSpec,
    AtGoal,
    ExperimentSpec,
    ResumePolicy,
    TrialTemplate,
)
from trialbus.testkit.experiment_states import (
    NOW,
    conditions_of,
    experiment,
    objective,
    opened,
    spec,
    with_open,
)
from trialbus_experiment.core.commands import (
    _EDITABLE,
    _FIXED,
    Applied,
    create,
    delete,
    edit,
    suspend,
)
from trialbus_experiment.core.decide import decide
from trialbus_experiment.core.draft import Decision
from trialbus_experiment.core.observed import Observed


def applied(spec_: ExperimentSpec) -> Applied:
    return Applied(uid="u", namespace="ns", name="exp", spec=spec_, source={"new": True})


def events_of(decision: Decision) -> list[str]:
    return [event.type for event in decision.state.outbox]


def finished(reason: str, spec_: ExperimentSpec, phase: Phase = Phase.SUCCEEDED) -> Experiment:
    """Ten trials were opened and are closed."""
    type_ = "Succeeded" if phase is Phase.SUCCEEDED else "Failed"
    conditions = set_condition((), "Running", status=False, reason=reason, message="", now=NOW)
    return experiment(
        spec_,
        phase=phase,
        active=False,
        next_index=10,
        finished=10,
        drawn=10,
        completed_at=NOW,
        conditions=set_condition(conditions, type_, reason=reason, message="", now=NOW),
    )


# Creating --------------------------------------------------------------------------------------


def test_a_new_experiment_is_created_and_its_name_is_taken() -> None:
    state = create(applied(spec()), NOW)
    assert (state.phase, state.version, state.alive_name) == (Phase.CREATED, 1, "ns/exp")
    assert (state.next_index, state.drawn, state.active) == (0, 0, True)
    assert conditions_of(state) == [("Created", True, "ExperimentCreated")]
    assert [event.type for event in state.outbox] == ["experiment.created"]
    assert [event.id for event in state.outbox] == ["u@1.experiment.created"]


def test_the_same_command_creates_the_same_experiment() -> None:
    assert create(applied(spec()), NOW) == create(applied(spec()), NOW)


def test_an_experiment_may_be_born_suspended() -> None:
    state = create(applied(spec(suspend=True)), NOW)
    assert state.phase is Phase.SUSPENDED
    assert conditions_of(state) == [
        ("Created", True, "ExperimentCreated"),
        ("Suspended", True, "ExperimentSuspended"),
    ]
    assert [it.type for it in state.outbox] == ["experiment.created", "experiment.suspended"]


# Editing ---------------------------------------------------------------------------------------


def test_the_same_object_again_changes_nothing() -> None:
    state = with_open(0, 1)
    decision = edit(state, applied(state.spec), NOW)
    assert decision.state is state
    assert decision.reason == "nothing to do"


@pytest.mark.parametrize(
    "changes",
    [
        {"parallel_trial_count": 7},
        {"max_trial_count": 20},
        {"max_trial_count": None},
        {"max_failed_trial_count": 0},
        {"at_goal": AtGoal.DRAIN},
        {"objective": objective(goal=0.1)},
    ],
)
def test_budgets_and_goals_may_change_while_it_runs(changes: dict[str, Any]) -> None:
    state = with_open(0, 1)
    decision = edit(state, applied(spec(**changes)), NOW)
    assert decision.state.spec == spec(**changes)
    assert (decision.state.version, decision.state.generation) == (6, 2)
    assert decision.state.source == {"new": True}
    assert events_of(decision) == ["experiment.edited"]
    assert decision.state.open == state.open


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"parameters": ()}, ["spec.parameters"]),
        ({"algorithm": AlgorithmSpec(name="tpe")}, ["spec.algorithm"]),
        ({"early_stopping": AlgorithmSpec(name="medianstop")}, ["spec.earlyStopping"]),
        (
            {"objective": replace(objective(), metric="accuracy", additional=("time",))},
            ["spec.objective.objectiveMetricName", "spec.objective.additionalMetricNames"],
        ),
        ({"template": TrialTemplate(trial_spec={"kind": "Job"})}, ["spec.trialTemplate"]),
        ({"resume_policy": ResumePolicy.LONG_RUNNING}, ["spec.resumePolicy"]),
        ({"working_dir": "/elsewhere"}, ["workingDir"]),
        # One of them is allowed, the other is not.
        ({"max_trial_count": 20, "algorithm": AlgorithmSpec(name="tpe")}, ["spec.algorithm"]),
    ],
)
@pytest.mark.parametrize("over", [False, True])
def test_what_was_tuned_may_not_change_and_is_named(
    over: bool, changes: dict[str, Any], fields: list[str]
) -> None:
    state = finished("ExperimentGoalReached", spec()) if over else with_open(0)
    with pytest.raises(Refused) as refused:
        edit(state, applied(spec(**changes)), NOW)
    *changed, advice = refused.value.problems
    assert [problem.field for problem in changed] == fields
    assert advice.field == "spec"
    assert "another name" in advice.message


def test_each_field_that_may_not_change_has_a_name_for_users() -> None:
    named = {read.__code__.co_names[0] for read in _FIXED.values()}
    assert named | set(_EDITABLE) == {field.name for field in fields_of(ExperimentSpec)}


def test_a_finished_experiment_says_what_would_have_let_it_go_on() -> None:
    state = finished("ExperimentMaxTrialsReached", spec())
    with pytest.raises(Refused, match="resumePolicy: LongRunning, set when it is created"):
        edit(state, applied(spec(max_trial_count=15)), NOW)


# Suspending ------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.CREATED, Phase.RUNNING])
def test_a_living_experiment_is_suspended_and_resumed(phase: Phase) -> None:
    before = experiment(phase=phase)
    suspended = suspend(before, NOW, suspended=True)
    assert (suspended.state.phase, suspended.state.spec.suspend) == (Phase.SUSPENDED, True)
    assert conditions_of(suspended.state) == [("Suspended", True, "ExperimentSuspended")]
    again = suspend(suspended.state, NOW, suspended=True)
    assert again.state is suspended.state
    resumed = suspend(suspended.state, NOW, suspended=False)
    assert (resumed.state.phase, resumed.state.spec.suspend) == (Phase.RUNNING, False)
    assert conditions_of(resumed.state) == [("Running", True, "ExperimentResumed")]
    assert "experiment.resumed" in events_of(resumed)


def test_resuming_wakes_a_resting_experiment() -> None:
    resting = experiment(
        spec(suspend=True),
        phase=Phase.SUSPENDED,
        active=False,
        next_index=2,
        open={**opened(0, state=OpenState.PAUSED, lost=2), **opened(1, stop="Suspended")},
    )
    state = suspend(resting, NOW, suspended=False).state
    assert state.active
    assert (state.open["1"].attempt, state.open["1"].stop) == (1, "")
    # The next look gives the paused trial a place, as its next attempt.
    after = decide(state, Observed(), NOW).state
    assert (after.open["0"].attempt, after.open["0"].lost) == (2, 2)
    assert (after.open["0"].state, after.open["0"].opened_at) == (OpenState.ACTIVE, NOW)
    wake = next(event for event in after.outbox if event.type == "trials.opened")
    assert wake.data == {"count": 1, "indices": [0]}


def test_resuming_never_exceeds_a_lowered_parallelism() -> None:
    paused: dict[str, OpenTrial] = {}
    for index in range(8):
        paused |= opened(index, state=OpenState.PAUSED)
    resting = experiment(
        spec(suspend=True, parallel_trial_count=2, max_trial_count=10),
        phase=Phase.SUSPENDED,
        active=False,
        next_index=8,
        open=paused,
    )
    after = decide(suspend(resting, NOW, suspended=False).state, Observed(), NOW).state
    active = [key for key, trial in after.open.items() if trial.state is OpenState.ACTIVE]
    assert active == ["0", "1"]
    assert len(after.open) == 8


def test_suspending_what_has_ended_changes_no_phase() -> None:
    state = finished("ExperimentGoalReached", spec())
    after = suspend(state, NOW, suspended=True).state
    assert (after.phase, after.active) == (Phase.SUCCEEDED, False)


# Restarting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [ResumePolicy.LONG_RUNNING, ResumePolicy.FROM_VOLUME])
def test_a_larger_budget_restarts_where_the_policy_keeps_it_alive(policy: ResumePolicy) -> None:
    state = finished("ExperimentMaxTrialsReached", spec(resume_policy=policy))
    decision = edit(state, applied(spec(resume_policy=policy, max_trial_count=15)), NOW)
    after = decision.state
    assert (after.phase, after.active, after.verdict) == (Phase.RUNNING, True, None)
    assert (after.completed_at, after.next_index) == (None, 10)
    assert conditions_of(after) == [("Restarting", True, "ExperimentRestarting")]
    assert events_of(decision) == ["experiment.restarted", "experiment.edited"]


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


@pytest.mark.parametrize("trials", [10, 5])
def test_a_budget_that_is_not_larger_restarts_nothing(trials: int) -> None:
    policy = ResumePolicy.LONG_RUNNING
    state = finished("ExperimentMaxTrialsReached", spec(resume_policy=policy, max_trial_count=12))
    wanted = spec(resume_policy=policy, max_trial_count=trials, parallel_trial_count=2)
    with pytest.raises(Refused, match="must be greater than"):
        edit(state, applied(wanted), NOW)


# Deleting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", sorted(set(Phase) - {Phase.DELETING, Phase.DELETED}))
def test_deleting_frees_the_name_at_once(phase: Phase) -> None:
    after = delete(with_open(0, phase=phase, active=False), NOW).state
    assert (after.phase, after.alive_name, after.active) == (Phase.DELETING, None, True)


@pytest.mark.parametrize("phase", [Phase.DELETING, Phase.DELETED])
def test_deleting_again_changes_nothing(phase: Phase) -> None:
    state = experiment(phase=phase, alive_name=None)
    assert delete(state, NOW).state is state
