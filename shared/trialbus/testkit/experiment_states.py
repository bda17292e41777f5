"""Experiments, runs, observations and answers as tests of deciding need them."""

from collections.abc import Mapping, Sequence
from typing import Any

from trialbus.kernel.conditions import set_condition
from trialbus.kernel.experiment import Experiment, ExperimentPhase, OpenState, OpenTrial
from trialbus.kernel.ids import run_id
from trialbus.kernel.objective import Objective, ObjectiveType
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.space_rules import Parameter
from trialbus.kernel.spec import AlgorithmSpec, ExperimentSpec
from trialbus.kernel.suggestion import Answer, LookAhead, PointsRequest
from trialbus.kernel.trial import MetricValues
from trialbus_experiment.core.commands import Applied

UID = "u"
NOW = 1000.0


def objective(goal: float | None = None, **changes: Any) -> Objective:
    return Objective(type=ObjectiveType.MINIMIZE, metric="loss", goal=goal, **changes)


def spec(**changes: Any) -> ExperimentSpec:
    """Minimise `loss` over `x` in [0, 1]: 3 at a time, 10 in all, unless changed."""
    fields: dict[str, Any] = {
        "parameters": (Parameter(name="x", type="double", min="0", max="1"),),
        "objective": objective(),
        "algorithm": AlgorithmSpec(name="random"),
        "parallel_trial_count": 3,
        "max_trial_count": 10,
        **changes,
    }
    return ExperimentSpec(**fields)


def experiment(spec_: ExperimentSpec | None = None, **changes: Any) -> Experiment:
    """Running, at version 5, nothing open, nothing asked."""
    fields: dict[str, Any] = {
        "id": UID,
        "version": 5,
        "namespace": "ns",
        "name": "exp",
        "alive_name": "ns/exp",
        "spec": spec_ if spec_ is not None else spec(),
        "source": {},
        "seed": 1,
        "phase": ExperimentPhase.RUNNING,
        "created_at": NOW - 100,
        **changes,
    }
    return Experiment(**fields)


def finished(
    reason: str, spec_: ExperimentSpec, phase: ExperimentPhase = ExperimentPhase.SUCCEEDED
) -> Experiment:
    """Ten trials were opened and are closed."""
    type_ = "Succeeded" if phase is ExperimentPhase.SUCCEEDED else "Failed"
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


def applied(spec_: ExperimentSpec) -> Applied:
    """What a user wants of it, as the core takes it."""
    return Applied(uid=UID, namespace="ns", name="exp", spec=spec_, source={"new": True})


def opened(*indices: int, at: float = NOW - 10, **changes: Any) -> Mapping[str, OpenTrial]:
    """These trials, open and out of request 1."""
    fields: dict[str, Any] = {"attempt": 1, "state": OpenState.ACTIVE, "request": 1, **changes}
    return {str(index): OpenTrial(opened_at=at, **fields) for index in indices}


def with_open(*indices: int, spec_: ExperimentSpec | None = None, **changes: Any) -> Experiment:
    """An experiment that has these trials open, all its points drawn by request 1."""
    following = max(indices) + 1
    fields: dict[str, Any] = {
        "open": opened(*indices),
        "next_index": following,
        "finished": following - len(indices),
        "drawn": 10,
        "next_request": 2,
        "requests": (request(1, got=10),),
        **changes,
    }
    return experiment(spec_, **fields)


def request(number: int, *, first: int = 0, count: int = 10, **changes: Any) -> PointsRequest:
    fields: dict[str, Any] = {"watermark": 0, "asked_at": NOW - 1, **changes}
    return PointsRequest(number=number, first=first, count=count, **fields)


def answer(
    number: int = 1,
    *,
    first: int = 0,
    count: int = 10,
    look_ahead: LookAhead = LookAhead.FREE,
    **changes: Any,
) -> Answer:
    """Points 0.<index> of `x`."""
    fields: dict[str, Any] = {
        "points": tuple((f"0.{index}",) for index in range(first, first + count)),
        "exhausted": False,
        "refused": None,
        "watermark": 0,
        **changes,
    }
    return Answer(
        id=f"{UID}:{number}",
        uid=UID,
        version=1,
        number=number,
        first=first,
        seed=1,
        look_ahead=look_ahead,
        answered_at=NOW,
        took_s=0.0,
        **fields,
    )


def run(index: int, *, attempt: int = 1, **changes: Any) -> Run:
    """Ended by itself a second ago with exit code 0, unless changed."""
    fields: dict[str, Any] = {
        "phase": RunPhase.FINISHED,
        "exit_code": 0,
        "started_at": NOW - 5,
        "finished_at": NOW - 1,
        **changes,
    }
    return Run(
        id=run_id(UID, index, attempt),
        uid=UID,
        index=index,
        attempt=attempt,
        version=2,
        namespace="ns",
        experiment="exp",
        trial=f"exp-{index}",
        host="here",
        boot_id="boot",
        created_at=NOW - 6,
        **fields,
    )


def running(index: int, *, attempt: int = 1) -> Run:
    return run(index, attempt=attempt, phase=RunPhase.RUNNING, exit_code=None, finished_at=None)


def lost(index: int, *, attempt: int = 1) -> Run:
    return run(index, attempt=attempt, phase=RunPhase.LOST, exit_code=None, message="gone")


def stopped(index: int, reason: str, *, attempt: int = 1) -> Run:
    return run(index, attempt=attempt, exit_code=None, signal=15, stop_reason=reason)


def summary(*losses: float) -> tuple[MetricValues, ...]:
    """What an observation of these losses says."""
    return (MetricValues(name="loss", min=min(losses), max=max(losses), latest=losses[-1]),)


def conditions_of(state: Experiment) -> Sequence[tuple[str, bool, str]]:
    return [(it.type, it.status, it.reason) for it in state.conditions]
