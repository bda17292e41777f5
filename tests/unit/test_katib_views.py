"""Kernel objects as Katib's objects: one golden view for each phase, then the parts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from trialbus.contracts.katib import models
from trialbus.contracts.katib.times import rfc3339
from trialbus.contracts.katib.views import experiment_view, suggestion_view, trial_view
from trialbus.kernel.conditions import Conditions
from trialbus.kernel.experiment import Counts, ExperimentPhase
from trialbus.kernel.run import Run, RunPhase, StopReason
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.shown_states import (
    AT,
    LOSS,
    NAMES,
    PHASES,
    SOURCE_SPEC,
    SPEC,
    T0,
    UID,
    condition,
    experiment,
    run,
    trial,
    with_template,
)

GOLDEN = yaml.safe_load((Path(__file__).parents[1] / "data" / "katib" / "views.yaml").read_text())


def shown(type_: str, second: int, status: str = "True") -> dict[str, str]:
    return {
        "type": type_,
        "status": status,
        "reason": f"Experiment{type_}",
        "message": f"Experiment is {type_}",
        "lastUpdateTime": AT[second],
        "lastTransitionTime": AT[second],
    }


@pytest.mark.parametrize("phase", ExperimentPhase)
def test_an_experiment_in_each_phase(phase: ExperimentPhase) -> None:
    fields = PHASES[phase]
    succeeded = fields.get("counts", Counts()).succeeded
    view = experiment_view(
        experiment(phase, **fields),
        running={3},
        trials_by_phase={TrialPhase.SUCCEEDED: NAMES[:succeeded]},
    )
    assert view == {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {
            "name": "exp",
            "namespace": "team",
            "labels": {"a": "b"},
            "uid": UID,
            "resourceVersion": "7",
            "generation": 1,
            "creationTimestamp": AT[0],
        },
        "spec": SOURCE_SPEC,
        "status": {"startTime": AT[0], **GOLDEN["status"][phase.value]},
    }


def assert_keeps_to(model: type[models.Wire], view: dict[str, Any]) -> None:
    """Nothing unknown, nothing of another type, and nothing that the model would not show."""
    assert model.model_validate(view).model_dump(by_alias=True, exclude_unset=True) == view


@pytest.mark.parametrize("phase", ExperimentPhase)
def test_views_keep_to_the_models(phase: ExperimentPhase) -> None:
    state = experiment(phase, **PHASES[phase])
    lists = {TrialPhase.SUCCEEDED: NAMES}
    assert_keeps_to(models.Experiment, experiment_view(state, running={3}, trials_by_phase=lists))
    trials = [trial(phase, observation=LOSS) for phase in TrialPhase]
    assert_keeps_to(models.Suggestion, suggestion_view(state, trials))
    for it in trials:
        view = trial_view(it, with_template(), run(RunPhase.RUNNING, T0))
        assert_keeps_to(models.Trial, view)


def test_conditions_keep_their_order_because_the_last_one_is_the_state() -> None:
    conditions: Conditions = (condition("Succeeded", 5), condition("Created", 0))
    view = experiment_view(experiment(ExperimentPhase.SUCCEEDED, conditions=conditions))
    assert [c["type"] for c in view["status"]["conditions"]] == ["Succeeded", "Created"]


def test_lists_end_with_the_newest_thousand_and_counters_are_exact() -> None:
    names = [f"t{i}" for i in range(1500)]
    view = experiment_view(
        experiment(ExperimentPhase.RUNNING, next_index=1500, counts=Counts(failed=1500)),
        trials_by_phase={TrialPhase.FAILED: names},
    )
    assert view["status"]["failedTrialList"] == names[500:]
    assert view["status"]["trialsFailed"] == 1500


def test_a_suspension_by_command_is_seen_in_the_spec() -> None:
    suspended = replace(SPEC, suspend=True)
    view = experiment_view(experiment(ExperimentPhase.SUSPENDED, spec=suspended))
    assert view["spec"]["suspend"] is True
    assert "suspend" not in SOURCE_SPEC


def test_an_ended_trial() -> None:
    ended = trial(
        TrialPhase.SUCCEEDED,
        conditions=(condition("Created", 1), condition("Succeeded", 4)),
        started_at=T0 + 2,
        completed_at=T0 + 4,
        observation=LOSS,
    )
    assert trial_view(ended, with_template()) == GOLDEN["trial"]


def test_an_open_trial_runs_when_its_run_does() -> None:
    view = trial_view(trial(TrialPhase.CREATED), with_template(), run(RunPhase.RUNNING, T0 + 3))
    assert view["status"]["conditions"][-1] == {
        "type": "Running",
        "status": "True",
        "reason": "TrialRunning",
        "message": "Trial is running",
        "lastUpdateTime": AT[3],
        "lastTransitionTime": AT[3],
    }
    assert view["status"]["startTime"] == AT[3]
    assert view["status"]["completionTime"] is None


def test_an_open_trial_still_runs_while_what_its_run_observed_is_not_counted() -> None:
    view = trial_view(trial(TrialPhase.CREATED), with_template(), run(RunPhase.FINISHED, T0))
    assert view["status"]["conditions"][-1]["type"] == "Running"


@pytest.mark.parametrize(
    "of",
    [
        None,
        run(RunPhase.RUNNING, None),
        run(RunPhase.LOST, T0),
        replace(run(RunPhase.FINISHED, T0), stop_reason=StopReason.SUSPENDED.value),
    ],
)
def test_an_open_trial_does_not_run_without_a_living_run(of: Run | None) -> None:
    view = trial_view(trial(TrialPhase.CREATED), with_template(), of)
    assert view["status"]["conditions"] == [shown("Created", 1)]


def test_an_ended_trial_does_not_run_whatever_its_run_says() -> None:
    view = trial_view(trial(TrialPhase.FAILED), with_template(), run(RunPhase.RUNNING, T0))
    assert view["status"]["conditions"] == [shown("Created", 1)]


def test_a_trial_without_its_objective_says_unavailable() -> None:
    view = trial_view(trial(TrialPhase.METRICS_UNAVAILABLE), with_template())
    assert view["status"]["observation"]["metrics"] == [
        {"name": "loss", "min": "unavailable", "max": "unavailable", "latest": "unavailable"}
    ]


def test_a_trial_of_the_default_template_has_no_object() -> None:
    view = trial_view(trial(TrialPhase.CREATED), experiment(ExperimentPhase.RUNNING))
    assert "runSpec" not in view["spec"]


@pytest.mark.parametrize(
    ("at", "text"),
    [(0.0, "1970-01-01T00:00:00Z"), (T0 + 0.999, AT[0]), (-0.5, "1969-12-31T23:59:59Z")],
)
def test_times_are_whole_seconds_in_utc(at: float, text: str) -> None:
    assert rfc3339(at) == text
