"""What people may ask of an experiment: create, edit, suspend, restart, delete."""

from dataclasses import fields as fields_of
from dataclasses import replace
from typing import Any

import pytest

from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import (
    GONE_PHASES,
    OpenState,
    OpenTrial,
)
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
    applied,
    conditions_of,
    experiment,
    finished,
    objective,
    opened,
    spec,
    with_open,
)
from trialbus_experiment.core.commands import (
    create,
    delete,
    edit,
    expire,
    suspend,
)
from trialbus_experiment.core.decide import decide
from trialbus_experiment.core.draft import Decision
from trialbus_experiment.core.edit_rules import EDITABLE, FIXED
from trialbus_experiment.core.observed import Observed


def events_of(decision: Decision) -> list[str]:
    return [event.type for event in decision.state.outbox]


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
        {"objective": objective(goal=0.1)},
    ],
)
def test_budgets_and_goals_may_change_while_it_runs(changes: dict[str, Any]) -> None:
    state = with_open(0, 1)
    decision = edit(state, applied(spec(**changes)), NOW)
    assert decision.state.spec == spec(**changes)
    after = decision.state
    assert (after.version, after.generation, after.revision) == (6, 2, 2)
    assert after.source == {"new": True}
    assert events_of(decision) == ["experiment.edited"]
    assert after.open == state.open


LABELLED = {"metadata": {"labels": {"team": "red"}}}


@pytest.mark.parametrize("over", [False, True])
def test_labels_and_annotations_change_without_touching_its_life(over: bool) -> None:
    state = finished("ExperimentGoalReached", spec()) if over else with_open(0)
    after = edit(state, replace(applied(state.spec), source=LABELLED), NOW).state
    assert after.source == LABELLED
    assert (after.generation, after.revision) == (1, 2)
    told = replace(state, source=LABELLED, revision=2, version=6, outbox=after.outbox)
    assert after == replace(told, outbox_at=NOW)


def test_what_happens_at_the_goal_is_metadata_that_is_obeyed() -> None:
    state = with_open(0, active=False)
    after = edit(state, applied(spec(at_goal=AtGoal.DRAIN)), NOW).state
    assert (after.spec.at_goal, after.active) == (AtGoal.DRAIN, True)
    assert (after.generation, after.revision) == (1, 2)


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
    named = {read.__code__.co_names[0] for read in FIXED.values()}
    assert named | set(EDITABLE) == {field.name for field in fields_of(ExperimentSpec)}


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


# Deleting --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep_history", "phase"), [(False, Phase.DELETED), (True, Phase.ARCHIVED)]
)
def test_a_deletion_may_keep_the_history(keep_history: bool, phase: Phase) -> None:
    deleting = delete(experiment(), NOW, keep_history=keep_history).state
    gone = decide(deleting, Observed(), NOW).state
    assert (gone.phase, gone.alive_name, gone.active) == (phase, None, False)
    assert decide(gone, Observed(), NOW).state is gone
    expired = expire(gone, NOW + 5).state
    assert expired.phase is Phase.DELETED
    assert expired.completed_at == (NOW + 5 if keep_history else NOW)


@pytest.mark.parametrize("phase", sorted(set(Phase) - GONE_PHASES))
def test_deleting_frees_the_name_at_once(phase: Phase) -> None:
    after = delete(with_open(0, phase=phase, active=False), NOW).state
    assert (after.phase, after.alive_name, after.active) == (Phase.DELETING, None, True)


@pytest.mark.parametrize("phase", sorted(GONE_PHASES))
def test_deleting_again_changes_nothing(phase: Phase) -> None:
    state = experiment(phase=phase, alive_name=None)
    assert delete(state, NOW).state is state
