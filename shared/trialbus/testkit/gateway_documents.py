"""Documents of one experiment, to be told by the gateway."""

from dataclasses import replace
from typing import Any

from trialbus.kernel.conditions import Condition
from trialbus.kernel.experiment import Experiment, ExperimentPhase, OpenState, OpenTrial
from trialbus.kernel.ids import trial_name
from trialbus.kernel.objective import Objective, ObjectiveType
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec, ExperimentSpec
from trialbus.kernel.trial import Assignment, Trial, TrialPhase

UID = "0b7c2f0e-8a52-5c0f-9c50-111111111111"


def condition(type_: str, reason: str, at: float, message: str = "") -> Condition:
    return Condition(
        type=type_, status=True, reason=reason, message=message, updated_at=at, transitioned_at=at
    )


def experiment(**changes: Any) -> Experiment:
    spec = ExperimentSpec(
        parameters=(Parameter(name="lr", type="double", min="0.1", max="0.9"),),
        objective=Objective(type=ObjectiveType.MAXIMIZE, metric="accuracy", goal=0.9),
        algorithm=AlgorithmSpec(name="random"),
        parallel_trial_count=2,
        max_trial_count=5,
    )
    state = Experiment(
        id=UID,
        version=7,
        namespace="lab",
        name="tune",
        alive_name="lab/tune",
        spec=spec,
        source={},
        seed=1,
        phase=ExperimentPhase.RUNNING,
        created_at=100.0,
        started_at=100.0,
        conditions=(
            condition("Created", "ExperimentCreated", 100.0, "Experiment is created"),
            condition("Running", "ExperimentRunning", 101.0, "Experiment is running"),
        ),
    )
    return replace(state, **changes)


def opened(attempt: int = 1, **changes: Any) -> OpenTrial:
    trial = OpenTrial(attempt=attempt, state=OpenState.ACTIVE, request=1, opened_at=200.0)
    return replace(trial, **changes)


def run(index: int = 0, attempt: int = 1, **changes: Any) -> Run:
    made = Run(
        id=f"{UID}.{index}.{attempt}",
        uid=UID,
        index=index,
        attempt=attempt,
        version=1,
        namespace="lab",
        experiment="tune",
        trial=trial_name("tune", UID, index),
        phase=RunPhase.RUNNING,
        host="box",
        boot_id="b",
        created_at=300.0,
        started_at=301.0,
    )
    return replace(made, **changes)


def trial(index: int = 0, **changes: Any) -> Trial:
    made = Trial(
        id=f"{UID}.{index}",
        uid=UID,
        version=1,
        namespace="lab",
        experiment="tune",
        index=index,
        name=trial_name("tune", UID, index),
        phase=TrialPhase.CREATED,
        assignments=(Assignment(name="lr", value="0.5"),),
        conditions=(),
        created_at=200.0,
    )
    return replace(made, **changes)
