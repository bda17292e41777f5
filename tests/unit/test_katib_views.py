"""Kernel objects as Katib's objects: one golden view for each phase, then the parts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from trialbus.contracts.katib import models
from trialbus.contracts.katib.times import rfc3339
from trialbus.contracts.katib.views import experiment_view, suggestion_view, trial_view
from trialbus.kernel.conditions import Condition, Conditions
from trialbus.kernel.experiment import (
    BestTrial,
    ClosingTrial,
    Counts,
    Experiment,
    ExperimentPhase,
    OpenState,
    OpenTrial,
)
from trialbus.kernel.ids import trial_id, trial_name
from trialbus.kernel.objective import Objective, ObjectiveType
from trialbus.kernel.run import Run, RunPhase, StopReason
from trialbus.kernel.space_rules import Parameter
from trialbus.kernel.spec import (
    AlgorithmSpec,
    ExperimentSpec,
    ResumePolicy,
    TrialParameter,
    TrialTemplate,
)
from trialbus.kernel.suggestion import LookAhead
from trialbus.kernel.trial import Assignment, MetricValues, Trial, TrialPhase

GOLDEN = yaml.safe_load((Path(__file__).parents[1] / "data" / "katib" / "views.yaml").read_text())
UID = "0b1c"
T0 = 1_700_000_000.0  # 2023-11-14T22:13:20Z
AT = [f"2023-11-14T22:13:2{second}Z" for second in range(10)]
NAMES = [trial_name("exp", UID, index) for index in range(6)]
OBJECTIVE = {"type": "minimize", "objectiveMetricName": "loss", "goal": 0.1}
JOB = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"x": "--lr=${trialParameters.rate}"}}
SOURCE_SPEC = {
    "objective": OBJECTIVE,
    "algorithm": {"algorithmName": "random"},
    "parallelTrialCount": 2,
    "maxTrialCount": 5,
    "metricsCollectorSpec": {"collector": {"kind": "StdOut"}},
}
SPEC = ExperimentSpec(
    parameters=(Parameter(name="lr", type="double", min="0", max="1"),),
    objective=Objective(
        type=ObjectiveType.MINIMIZE, metric="loss", goal=0.1, additional=("accuracy",)
    ),
    algorithm=AlgorithmSpec(name="random"),
    parallel_trial_count=2,
    max_trial_count=5,
)
TEMPLATE = TrialTemplate(
    trial_spec=JOB,
    parameters=(TrialParameter(name="rate", reference="lr"),),
    primary_container="main",
    success_condition="s",
    failure_condition="f",
)
LR = (Assignment(name="lr", value="0.5"),)
LOSS = (MetricValues(name="loss", min=0.25, max=888.0, latest=float("nan")),)


def condition(type_: str, second: int, *, status: bool = True) -> Condition:
    return Condition(
        type=type_,
        status=status,
        reason=f"Experiment{type_}",
        message=f"Experiment is {type_}",
        updated_at=T0 + second,
        transitioned_at=T0 + second,
    )


def shown(type_: str, second: int, status: str = "True") -> dict[str, str]:
    return {
        "type": type_,
        "status": status,
        "reason": f"Experiment{type_}",
        "message": f"Experiment is {type_}",
        "lastUpdateTime": AT[second],
        "lastTransitionTime": AT[second],
    }


def experiment(phase: ExperimentPhase, **fields: Any) -> Experiment:
    base: dict[str, Any] = {
        "id": UID,
        "version": 7,
        "namespace": "team",
        "name": "exp",
        "spec": SPEC,
        "source": {
            "metadata": {"name": "exp", "namespace": "team", "labels": {"a": "b"}},
            "spec": SOURCE_SPEC,
        },
        "seed": 1,
        "phase": phase,
        "created_at": T0,
        "started_at": T0,
        "alive_name": "team/exp",
        "conditions": (condition("Created", 0),),
    }
    return Experiment(**(base | fields))


def open_trial(state: OpenState = OpenState.ACTIVE) -> OpenTrial:
    return OpenTrial(attempt=1, state=state, request=1, opened_at=T0)


BEST = BestTrial(index=1, name=NAMES[1], value=0.25, assignments=LR, observation=LOSS)
RUNNING = (condition("Created", 0), condition("Running", 1))
ENDED = (condition("Created", 0), condition("Running", 5, status=False))
CLOSING = ClosingTrial(
    attempt=1, request=1, phase=TrialPhase.FAILED, finished=2, reason="", message="", closed_at=T0
)
PHASES: dict[ExperimentPhase, dict[str, Any]] = {
    ExperimentPhase.CREATED: {},
    ExperimentPhase.RUNNING: {
        "conditions": RUNNING,
        "next_index": 5,
        "open": {"3": open_trial(), "4": open_trial()},
        "closing": {"2": CLOSING},
        "counts": Counts(succeeded=2, failed=1),
        "best": BEST,
    },
    ExperimentPhase.SUSPENDED: {
        "conditions": (*RUNNING, condition("Suspended", 2)),
        "next_index": 1,
        "open": {"0": open_trial(OpenState.PAUSED)},
    },
    ExperimentPhase.ENDING: {
        "conditions": RUNNING,
        "next_index": 4,
        "open": {"3": open_trial()},
        "counts": Counts(succeeded=2, killed=1),
        "best": BEST,
    },
    ExperimentPhase.SUCCEEDED: {
        "conditions": (*ENDED, condition("Succeeded", 5)),
        "next_index": 5,
        "counts": Counts(succeeded=2, killed=1, early_stopped=1, metrics_unavailable=1),
        "best": BEST,
        "completed_at": T0 + 5,
    },
    ExperimentPhase.FAILED: {
        "conditions": (*ENDED, condition("Failed", 5)),
        "next_index": 2,
        "counts": Counts(failed=2),
        "completed_at": T0 + 5,
    },
    ExperimentPhase.DELETING: {
        "conditions": RUNNING,
        "next_index": 1,
        "open": {"0": open_trial()},
        "alive_name": None,
    },
    ExperimentPhase.DELETED: {"alive_name": None, "completed_at": T0 + 9},
    ExperimentPhase.ARCHIVED: {"alive_name": None, "completed_at": T0 + 9},
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


def trial(phase: TrialPhase, **fields: Any) -> Trial:
    base: dict[str, Any] = {
        "id": trial_id(UID, 1),
        "uid": UID,
        "version": 2,
        "namespace": "team",
        "experiment": "exp",
        "index": 1,
        "name": NAMES[1],
        "phase": phase,
        "assignments": LR,
        "conditions": (condition("Created", 1),),
        "created_at": T0 + 1,
    }
    return Trial(**(base | fields))


def run(phase: RunPhase, started_at: float | None) -> Run:
    return Run(
        id=f"{UID}.1.1",
        uid=UID,
        index=1,
        attempt=1,
        version=1,
        namespace="team",
        experiment="exp",
        trial=NAMES[1],
        phase=phase,
        host="h",
        boot_id="b",
        created_at=T0 + 1,
        started_at=started_at,
    )


def with_template() -> Experiment:
    spec = replace(SPEC, template=TEMPLATE)
    return experiment(ExperimentPhase.RUNNING, spec=spec)


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


@pytest.mark.parametrize(
    ("at", "text"),
    [(0.0, "1970-01-01T00:00:00Z"), (T0 + 0.999, AT[0]), (-0.5, "1969-12-31T23:59:59Z")],
)
def test_times_are_whole_seconds_in_utc(at: float, text: str) -> None:
    assert rfc3339(at) == text
