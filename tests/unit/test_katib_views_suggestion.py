"""The Suggestion of an experiment: its points, its requests and its life."""

from dataclasses import replace
from typing import Any

import pytest

from trialbus.contracts.katib.views import suggestion_view, trial_view
from trialbus.kernel.conditions import Condition
from trialbus.kernel.experiment import Counts, Experiment, ExperimentPhase
from trialbus.kernel.spec import ResumePolicy
from trialbus.kernel.suggestion import LookAhead
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.shown_states import NAMES, SPEC, T0, experiment, open_trial, trial


def suggestion_status(state: Experiment) -> list[tuple[str, str]]:
    conditions = suggestion_view(state)["status"]["conditions"]
    return [(c["type"], c["status"]) for c in conditions]


def test_a_suggestion_counts_only_points_that_became_trials() -> None:
    state = experiment(
        ExperimentPhase.RUNNING,
        next_index=2,
        drawn=9,
        next_request=4,
        look_ahead=LookAhead.FREE,
        open={"1": open_trial()},
        counts=Counts(succeeded=1),
    )
    view = suggestion_view(state, [trial(TrialPhase.CREATED)])
    assert view["spec"] == {
        "algorithm": {"algorithmName": "random"},
        "requests": 3,
        "resumePolicy": "Never",
    }
    assert view["status"]["suggestionCount"] == 2
    assert view["status"]["suggestions"] == [
        {"name": NAMES[1], "parameterAssignments": [{"name": "lr", "value": "0.5"}]}
    ]
    assert (view["metadata"]["name"], view["metadata"]["namespace"]) == ("exp", "team")


@pytest.mark.parametrize(
    ("fields", "requests"),
    [
        ({"next_index": 0}, 2),
        ({"next_index": 4}, 5),
        ({"next_index": 5}, 5),
        ({"next_index": 2, "exhausted": True}, 2),
        ({"next_index": 2, "phase": ExperimentPhase.SUCCEEDED}, 2),
    ],
)
def test_requests_never_pass_the_budget(fields: dict[str, Any], requests: int) -> None:
    state = experiment(**({"phase": ExperimentPhase.RUNNING} | fields))
    assert suggestion_view(state)["spec"]["requests"] == requests


@pytest.mark.parametrize(
    ("policy", "last"),
    [
        (ResumePolicy.NEVER, "Suggestion is succeeded, can't be restarted"),
        (
            ResumePolicy.FROM_VOLUME,
            "Suggestion is succeeded, suggestion volume is not deleted, can be restarted",
        ),
        (ResumePolicy.LONG_RUNNING, "Suggestion is running"),
    ],
)
def test_a_suggestion_ends_by_the_resume_policy(policy: ResumePolicy, last: str) -> None:
    spec = replace(SPEC, resume_policy=policy)
    state = experiment(ExperimentPhase.SUCCEEDED, spec=spec, next_index=3, completed_at=T0 + 5)
    assert suggestion_view(state)["status"]["conditions"][-1]["message"] == last


def test_the_life_of_a_suggestion() -> None:
    created = [("Created", "True"), ("DeploymentReady", "True")]
    assert suggestion_status(experiment(ExperimentPhase.CREATED)) == created
    running = experiment(ExperimentPhase.RUNNING, next_index=1)
    assert suggestion_status(running) == [*created, ("Running", "True")]
    failure = Condition(
        type="Failed",
        status=True,
        reason="ExperimentFailed",
        message="Suggestion has failed: no",
        updated_at=T0,
        transitioned_at=T0,
    )
    failed = experiment(ExperimentPhase.FAILED, conditions=(failure,), completed_at=T0)
    assert suggestion_status(failed) == [*created, ("Failed", "True")]
    failed_later = replace(failed, next_index=1)
    assert suggestion_status(failed_later) == [*created, ("Running", "False"), ("Failed", "True")]


def test_what_an_algorithm_marked_a_point_with_is_on_the_suggestion_and_on_the_trial() -> None:
    """The experiment's own labels stay; Katib's label of the experiment cannot be replaced."""
    labels = (("generation", "3"), ("katib.kubeflow.org/experiment", "another"))
    state = experiment(ExperimentPhase.RUNNING, next_index=2, open={"1": open_trial()})
    marked = trial(TrialPhase.CREATED, labels=labels)
    [shown] = suggestion_view(state, [marked])["status"]["suggestions"]
    assert shown["labels"] == dict(labels)
    metadata = trial_view(marked, state)["metadata"]
    assert metadata["labels"]["generation"] == "3"
    assert metadata["labels"]["katib.kubeflow.org/experiment"] == "exp"


def test_settings_that_an_algorithm_gave_back_are_in_the_status() -> None:
    state = experiment(ExperimentPhase.RUNNING, next_index=2, open={"1": open_trial()})
    status = suggestion_view(state, settings=[("rung", "1")])["status"]
    assert status["algorithmSettings"] == [{"name": "rung", "value": "1"}]
    assert "algorithmSettings" not in suggestion_view(state)["status"]
