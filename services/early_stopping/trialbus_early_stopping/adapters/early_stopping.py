"""Katib's EarlyStopping over this service's own rules and verdicts, and its gRPC port."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from trialbus.adapters.grpc import CallObserver, full_name, handlers_of, serve_announced
from trialbus.contracts.katib.stubs import api_pb2
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.measurements import format_value
from trialbus.kernel.objective import ObjectiveType
from trialbus.ports.tracing import Tracing
from trialbus_early_stopping.app.asked_stops import AskedStops
from trialbus_early_stopping.app.fixed_rules import FixedRules, SucceededTrial
from trialbus_early_stopping.core.rule import Stops

_OBJECTIVES = {
    api_pb2.MINIMIZE: ObjectiveType.MINIMIZE,
    api_pb2.MAXIMIZE: ObjectiveType.MAXIMIZE,
}


class EarlyStopping:
    def __init__(self, rules: FixedRules, stops: AskedStops) -> None:
        self._rules = rules
        self._stops = stops

    def handlers(self) -> grpc.GenericRpcHandler:
        return handlers_of(
            "EarlyStopping",
            {
                "GetEarlyStoppingRules": self._get_rules,
                "SetTrialStatus": self._set_trial_status,
                "ValidateEarlyStoppingSettings": self._validate,
            },
        )

    async def _validate(self, request: Any) -> Message:
        self._checked(request.early_stopping)
        return api_pb2.ValidateEarlyStoppingSettingsReply()

    async def _set_trial_status(self, request: Any) -> Message:
        await self._stops.stop(request.trial_name)
        return api_pb2.SetTrialStatusReply()

    async def _get_rules(self, request: Any) -> Message:
        spec = request.experiment.spec
        settings = self._checked(spec.early_stopping)
        objective, metric = _objective(spec.objective)
        succeeded = [
            SucceededTrial(name=trial.name, observed=_observed(trial.status.observation, metric))
            for trial in request.trials
            if trial.status.condition == api_pb2.TrialStatus.SUCCEEDED
        ]
        found = await self._rules.rule(
            spec.early_stopping.algorithm_name,
            settings,
            objective=objective,
            metric=metric,
            trials=succeeded,
        )
        reply = api_pb2.GetEarlyStoppingRulesReply()
        if found is not None:
            reply.early_stopping_rules.add(
                name=metric,
                value=format_value(found.value),
                comparison=_comparison(found.stops, objective),
                start_step=found.start_step,
            )
        return reply

    def _checked(self, said: Any) -> list[tuple[str, str]]:
        settings = [(each.name, each.value) for each in said.algorithm_settings]
        self._rules.check(said.algorithm_name, settings)
        return settings


def _comparison(stops: Stops, objective: ObjectiveType) -> int:
    """A rule fires on what it compares so."""
    if stops == "worse":
        stops = "above" if objective is ObjectiveType.MINIMIZE else "below"
    return int(api_pb2.GREATER if stops == "above" else api_pb2.LESS)


def _objective(said: Any) -> tuple[ObjectiveType, str]:
    problems = []
    objective = _OBJECTIVES.get(said.type)
    if objective is None:
        problems.append(Problem(field="objective.type", message="must be MINIMIZE or MAXIMIZE"))
    if not said.objective_metric_name:
        field = "objective.objective_metric_name"
        problems.append(Problem(field=field, message="must be set"))
    if objective is None or problems:
        raise Refused(problems)
    return objective, said.objective_metric_name


def _observed(observation: Any, metric: str) -> tuple[float, ...]:
    """Without what is no number: Katib says `unavailable` of a metric that was not found."""
    values = []
    for each in observation.metrics:
        if each.name == metric:
            with suppress(ValueError):
                values.append(float(each.value))
    return tuple(values)


async def serve(
    rules: FixedRules,
    stops: AskedStops,
    *,
    ready: Callable[[], bool],
    host: str,
    port: int,
    data_dir: Path,
    observe: CallObserver | None = None,
    tracing: Tracing | None = None,
) -> None:
    """For ever. Raises OSError when the address cannot be had."""
    await serve_announced(
        "early_stopping",
        [EarlyStopping(rules, stops).handlers()],
        ready=ready,
        host=host,
        port=port,
        data_dir=data_dir,
        names=[full_name("EarlyStopping")],
        observe=observe,
        tracing=tracing,
    )
