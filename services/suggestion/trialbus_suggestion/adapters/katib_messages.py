"""Experiments and trials as messages of Katib's gRPC API."""

import math
from collections.abc import Iterable, Sequence

from trialbus.contracts.katib.stubs import api_pb2
from trialbus.contracts.katib.times import rfc3339
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.measurements import format_value
from trialbus.kernel.objective import Objective, ObjectiveType
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import NasConfig
from trialbus.kernel.trial import Trial, TrialPhase

PARAMETER_TYPES = {
    "double": api_pb2.DOUBLE,
    "int": api_pb2.INT,
    "discrete": api_pb2.DISCRETE,
    "categorical": api_pb2.CATEGORICAL,
}
DISTRIBUTIONS = {
    "uniform": api_pb2.UNIFORM,
    "logUniform": api_pb2.LOG_UNIFORM,
    "normal": api_pb2.NORMAL,
    "logNormal": api_pb2.LOG_NORMAL,
}
OBJECTIVE_TYPES = {
    ObjectiveType.MINIMIZE.value: api_pb2.MINIMIZE,
    ObjectiveType.MAXIMIZE.value: api_pb2.MAXIMIZE,
}
_CONDITIONS = {
    TrialPhase.SUCCEEDED: api_pb2.TrialStatus.SUCCEEDED,
    TrialPhase.FAILED: api_pb2.TrialStatus.FAILED,
    TrialPhase.KILLED: api_pb2.TrialStatus.KILLED,
    TrialPhase.EARLY_STOPPED: api_pb2.TrialStatus.EARLYSTOPPED,
}
Settings = Sequence[tuple[str, str]]


def experiment_message(experiment: Experiment, settings: Settings | None) -> api_pb2.Experiment:
    """settings: instead of those of the experiment, unless None."""
    spec = experiment.spec
    message = api_pb2.Experiment(
        name=experiment.name,
        spec=api_pb2.ExperimentSpec(
            parameter_specs=api_pb2.ExperimentSpec.ParameterSpecs(
                parameters=map(_parameter, spec.parameters)
            ),
            objective=_objective(spec.objective),
            algorithm=_algorithm(
                spec.algorithm.name, spec.algorithm.settings if settings is None else settings
            ),
            parallel_trial_count=spec.parallel_trial_count,
            max_trial_count=spec.max_trial_count or 0,
        ),
    )
    if spec.nas is not None:
        message.spec.nas_config.CopyFrom(_nas(spec.nas))
    if (stopping := spec.early_stopping) is not None:
        message.spec.early_stopping.algorithm_name = stopping.name
        for name, value in stopping.settings:
            message.spec.early_stopping.algorithm_settings.add(name=name, value=value)
    return message


def trial_messages(
    experiment: Experiment, trials: Iterable[tuple[str, Trial]], watermark: int
) -> list[api_pb2.Trial]:
    """(name, trial) as Katib sends them: without those of which nothing will be known. One that
    finished after the watermark runs, as far as this request may know."""
    objective = experiment.spec.objective
    return [
        _trial(
            name, trial, objective, seen=trial.finished is not None and trial.finished <= watermark
        )
        for name, trial in trials
        if not _says_nothing(trial, watermark)
    ]


def _says_nothing(trial: Trial, watermark: int) -> bool:
    if trial.finished is None or trial.finished > watermark:
        return False
    unobserved = trial.phase is TrialPhase.EARLY_STOPPED and not trial.observation
    return trial.phase is TrialPhase.METRICS_UNAVAILABLE or unobserved


def _trial(name: str, trial: Trial, objective: Objective, *, seen: bool) -> api_pb2.Trial:
    message = api_pb2.Trial(
        name=name,
        spec=api_pb2.TrialSpec(objective=_objective(objective), labels=dict(trial.labels)),
        status=api_pb2.TrialStatus(
            start_time=rfc3339(trial.started_at or trial.created_at),
            condition=api_pb2.TrialStatus.RUNNING,
        ),
    )
    for assignment in trial.assignments:
        message.spec.parameter_assignments.assignments.add(
            name=assignment.name, value=assignment.value
        )
    if not seen:
        return message
    status = message.status
    status.condition = _CONDITIONS.get(trial.phase, api_pb2.TrialStatus.UNKNOWN)
    if trial.completed_at is not None:
        status.completion_time = rfc3339(trial.completed_at)
    values = {it.name: it.counted(objective.strategy(it.name)) for it in trial.observation}
    if objective.metric in values and not _can_be_read(values[objective.metric]):
        # A diverged training: Katib's algorithms end for ever at a value that is no number.
        status.condition = api_pb2.TrialStatus.FAILED
        return message
    for metric, value in values.items():
        if _can_be_read(value):
            text = value if isinstance(value, str) else format_value(value)
            status.observation.metrics.add(name=metric, value=text)
    return message


def _can_be_read(value: float | str) -> bool:
    """A text is what the algorithm's user wants it to see, as in Katib."""
    return isinstance(value, str) or math.isfinite(value)


def _objective(objective: Objective) -> api_pb2.ObjectiveSpec:
    return api_pb2.ObjectiveSpec(
        type=OBJECTIVE_TYPES[objective.type.value],
        goal=objective.goal or 0.0,
        objective_metric_name=objective.metric,
        additional_metric_names=objective.additional,
    )


def _algorithm(name: str, settings: Settings) -> api_pb2.AlgorithmSpec:
    message = api_pb2.AlgorithmSpec(algorithm_name=name)
    for key, value in settings:
        message.algorithm_settings.add(name=key, value=value)
    return message


def _parameter(parameter: Parameter) -> api_pb2.ParameterSpec:
    return api_pb2.ParameterSpec(
        name=parameter.name,
        parameter_type=PARAMETER_TYPES[parameter.type],
        feasible_space=api_pb2.FeasibleSpace(
            min=parameter.min,
            max=parameter.max,
            step=parameter.step,
            list=parameter.list,
            distribution=DISTRIBUTIONS.get(parameter.distribution, api_pb2.UNIFORM),
        ),
    )


def _nas(nas: NasConfig) -> api_pb2.NasConfig:
    message = api_pb2.NasConfig(
        graph_config=api_pb2.GraphConfig(
            num_layers=nas.num_layers,
            input_sizes=nas.input_sizes,
            output_sizes=nas.output_sizes,
        )
    )
    for operation in nas.operations:
        added = message.operations.operation.add(operation_type=operation.type)
        added.parameter_specs.parameters.extend(map(_parameter, operation.parameters))
    return message
