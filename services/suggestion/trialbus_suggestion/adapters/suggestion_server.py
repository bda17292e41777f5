"""Katib's Suggestion over our own algorithms: Katib's controller can use this as an algorithm."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from trialbus.adapters.grpc import CallObserver, full_name, handlers_of, serve_announced
from trialbus.contracts.katib.models import API_VERSION
from trialbus.contracts.katib.stubs import api_pb2
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.limits import FREE_AHEAD_MAX_POINTS
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.tracing import Tracing
from trialbus_suggestion.adapters.katib_messages import (
    DISTRIBUTIONS,
    OBJECTIVE_TYPES,
    PARAMETER_TYPES,
)
from trialbus_suggestion.app.outside import OutsideAnswering, OutsideTrial

# The name that Katib's probes of an algorithm ask for.
PROBED_NAME = "manager.v1beta1.Suggestion"

_TYPE_NAMES = {number: name for name, number in PARAMETER_TYPES.items()}
_DISTRIBUTION_NAMES = {number: name for name, number in DISTRIBUTIONS.items()}
_OBJECTIVE_NAMES = {number: name for name, number in OBJECTIVE_TYPES.items()}
_STATUS = api_pb2.TrialStatus
_PHASES = {
    _STATUS.SUCCEEDED: TrialPhase.SUCCEEDED,
    _STATUS.KILLED: TrialPhase.KILLED,
    _STATUS.FAILED: TrialPhase.FAILED,
    _STATUS.METRICSUNAVAILABLE: TrialPhase.METRICS_UNAVAILABLE,
    _STATUS.EARLYSTOPPED: TrialPhase.EARLY_STOPPED,
}
Fields = dict[str, Any]


class Suggestions:
    def __init__(self, outside: OutsideAnswering) -> None:
        self._outside = outside

    def handlers(self) -> grpc.GenericRpcHandler:
        return handlers_of(
            "Suggestion",
            {"GetSuggestions": self._get, "ValidateAlgorithmSettings": self._validate},
        )

    async def _validate(self, request: Any) -> Message:
        self._outside.check(experiment_object(request.experiment))
        return api_pb2.ValidateAlgorithmSettingsReply()

    async def _get(self, request: Any) -> Message:
        count = request.current_request_number
        if not 0 < count <= FREE_AHEAD_MAX_POINTS:
            message = f"must be 1 to {FREE_AHEAD_MAX_POINTS}, not {count}"
            raise Refused([Problem(field="current_request_number", message=message)])
        metric = request.experiment.spec.objective.objective_metric_name
        parsed, proposal = await self._outside.propose(
            experiment_object(request.experiment),
            [_trial(trial, metric) for trial in request.trials],
            count=count,
            total=request.total_request_number,
        )
        reply = api_pb2.GetSuggestionsReply()
        for point in proposal.points:
            added = reply.parameter_assignments.add()
            for name, value in zip(parsed.spec.assignment_names, point, strict=True):
                added.assignments.add(name=name, value=value)
        return reply


def experiment_object(message: Any) -> Fields:
    """The Experiment that the message is of, as one writes it; what it does not say is left out."""
    spec = message.spec
    found: Fields = {
        "objective": _objective(spec.objective),
        "algorithm": {
            "algorithmName": spec.algorithm.algorithm_name,
            "algorithmSettings": _settings(spec.algorithm.algorithm_settings),
        },
        "parallelTrialCount": spec.parallel_trial_count or None,
        "maxTrialCount": spec.max_trial_count or None,
    }
    if spec.parameter_specs.parameters:
        found["parameters"] = list(map(_parameter, spec.parameter_specs.parameters))
    if spec.HasField("nas_config"):
        found["nasConfig"] = _nas(spec.nas_config)
    return {
        "apiVersion": API_VERSION,
        "kind": "Experiment",
        "metadata": {"name": message.name},
        "spec": {name: value for name, value in found.items() if value is not None},
    }


def _objective(message: Any) -> Fields:
    return {
        "type": _OBJECTIVE_NAMES.get(message.type, ""),
        "objectiveMetricName": message.objective_metric_name,
        "additionalMetricNames": list(message.additional_metric_names),
    }


def _settings(messages: Iterable[Any]) -> list[Fields]:
    return [{"name": it.name, "value": it.value} for it in messages]


def _parameter(message: Any) -> Fields:
    space = message.feasible_space
    given = {
        "min": space.min,
        "max": space.max,
        "step": space.step,
        "list": list(space.list),
        "distribution": _DISTRIBUTION_NAMES.get(space.distribution, ""),
    }
    return {
        "name": message.name,
        "parameterType": _TYPE_NAMES.get(message.parameter_type, "unknown"),
        "feasibleSpace": {name: value for name, value in given.items() if value},
    }


def _nas(message: Any) -> Fields:
    graph = message.graph_config
    return {
        "graphConfig": {
            "numLayers": graph.num_layers,
            "inputSizes": list(graph.input_sizes),
            "outputSizes": list(graph.output_sizes),
        },
        "operations": [
            {
                "operationType": operation.operation_type,
                "parameters": list(map(_parameter, operation.parameter_specs.parameters)),
            }
            for operation in message.operations.operation
        ],
    }


def _trial(message: Any, metric: str) -> OutsideTrial:
    value: float | None = None
    for each in message.status.observation.metrics:
        if each.name == metric:
            # Katib says `unavailable` of a metric that was not found.
            with suppress(ValueError):
                value = float(each.value)
    return OutsideTrial(
        assignments={it.name: it.value for it in message.spec.parameter_assignments.assignments},
        phase=_PHASES.get(message.status.condition, TrialPhase.CREATED),
        value=value,
        ended=message.status.completion_time,
        started=message.status.start_time,
    )


async def serve(
    outside: OutsideAnswering,
    *,
    ready: Callable[[], bool],
    host: str,
    port: int,
    data_dir: Path,
    observe: CallObserver | None = None,
    tracing: Tracing | None = None,
) -> None:
    """For ever."""
    await serve_announced(
        "suggestion",
        [Suggestions(outside).handlers()],
        ready=ready,
        host=host,
        port=port,
        data_dir=data_dir,
        names=(full_name("Suggestion"), PROBED_NAME),
        observe=observe,
        tracing=tracing,
    )
