"""Experiments, trials and runs in every phase, as tests of what is shown of them need them."""

from dataclasses import replace
from typing import Any

from trialbus.kernel.conditions import Condition
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
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.space_rules import Parameter
from trialbus.kernel.spec import (
    AlgorithmSpec,
    ExperimentSpec,
    TrialParameter,
    TrialTemplate,
)
from trialbus.kernel.trial import Assignment, MetricValues, Trial, TrialPhase

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
