"""Portions of trials that ended elsewhere: how they travel in an `import` command."""

import math
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.imported import ImportedSeries, ImportedTrial, Portion
from trialbus.kernel.limits import (
    MAX_IMPORTED_TRIALS,
    MAX_MESSAGE_CHARS,
    MAX_METRIC_NAME_CHARS,
    MAX_PROBLEMS,
)
from trialbus.kernel.spec import ExperimentSpec
from trialbus.kernel.timestamps import rfc3339_seconds
from trialbus.kernel.trial import Assignment, MetricValues, TrialPhase

Scalar = bool | int | float | str
_NUMBER_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_MOST_INDEX = 2**31 - 1


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Metric(_Strict):
    min: float | str | None = None
    max: float | str | None = None
    latest: float | str


class _Trial(_Strict):
    parameters: dict[str, Scalar]
    value: float | str | None = None
    metrics: dict[str, _Metric | float | str] = Field(default_factory=dict)
    state: str | None = None
    attempt: int = Field(1, ge=1, le=_MOST_INDEX)
    startTime: str | None = None  # noqa: N815 - as it travels
    completionTime: str | None = None  # noqa: N815 - as it travels
    message: str = Field("", max_length=MAX_MESSAGE_CHARS)


class _Series(_Strict):
    index: int = Field(ge=0, le=_MOST_INDEX)
    attempt: int = Field(1, ge=1, le=_MOST_INDEX)
    metric: str = Field(min_length=1, max_length=MAX_METRIC_NAME_CHARS)
    values: list[float | str] = Field(min_length=1)
    times: list[float] = Field(min_length=1)


class _Portion(_Strict):
    first: int = Field(ge=0, le=_MOST_INDEX)
    trials: list[_Trial] = Field(max_length=MAX_IMPORTED_TRIALS)
    series: list[_Series] = Field(default_factory=list)
    last: bool = False


def read_portion(data: Any, spec: ExperimentSpec) -> Portion:
    """Trials of an experiment with this specification. Raises Refused with every problem."""
    try:
        told = _Portion.model_validate(data)
    except ValidationError as error:
        raise Refused(list(_problems(error))) from error
    problems: list[Problem] = []
    trials = [_trial(it, f"trials[{i}]", spec, problems) for i, it in enumerate(told.trials)]
    end = told.first + len(told.trials)
    series = [_series(it, f"series[{i}]", end, problems) for i, it in enumerate(told.series)]
    if problems:
        raise Refused(problems[:MAX_PROBLEMS])
    return Portion(first=told.first, trials=tuple(trials), series=tuple(series), last=told.last)


def _problems(error: ValidationError) -> Iterator[Problem]:
    for found in error.errors(include_url=False)[:MAX_PROBLEMS]:
        path = "".join(f"[{it}]" if isinstance(it, int) else f".{it}" for it in found["loc"])
        yield Problem(field=path.removeprefix("."), message=str(found["msg"])[:MAX_MESSAGE_CHARS])


def _trial(
    told: _Trial, where: str, spec: ExperimentSpec, problems: list[Problem]
) -> ImportedTrial:
    """What is wrong is added to the problems."""
    names = spec.assignment_names
    if set(told.parameters) != set(names):
        message = f"must be those of the experiment: {', '.join(names)}"
        problems.append(Problem(field=f"{where}.parameters", message=message[:MAX_MESSAGE_CHARS]))
        return ImportedTrial(assignments=(), phase=TrialPhase.FAILED)
    metrics = [_metric(name, value) for name, value in told.metrics.items()]
    objective = spec.objective.metric
    if told.value is not None and objective not in told.metrics:
        metrics.append(_metric(objective, told.value))
    observed = any(metric.name == objective for metric in metrics)
    return ImportedTrial(
        assignments=tuple(
            Assignment(name=name, value=_text(told.parameters[name])) for name in names
        ),
        phase=_phase(told.state, observed, f"{where}.state", problems),
        metrics=tuple(metrics),
        attempt=told.attempt,
        started_at=_time(told.startTime, f"{where}.startTime", problems),
        completed_at=_time(told.completionTime, f"{where}.completionTime", problems),
        message=told.message,
    )


def _series(told: _Series, where: str, end: int, problems: list[Problem]) -> ImportedSeries:
    values = [_number(value) for value in told.values]
    if told.index >= end:
        problems.append(Problem(field=f"{where}.index", message=f"there are {end} trials so far"))
    if len(told.times) != len(values):
        problems.append(Problem(field=f"{where}.times", message="must be as many as the values"))
    if None in values:
        problems.append(Problem(field=f"{where}.values", message="must be numbers"))
    return ImportedSeries(
        index=told.index,
        attempt=told.attempt,
        metric=told.metric,
        values=tuple(math.nan if value is None else value for value in values),
        times=tuple(told.times),
    )


def _phase(state: str | None, observed: bool, where: str, problems: list[Problem]) -> TrialPhase:
    if state is None:
        return TrialPhase.SUCCEEDED if observed else TrialPhase.METRICS_UNAVAILABLE
    ended = [phase.value for phase in TrialPhase if phase is not TrialPhase.CREATED]
    if state not in ended:
        problems.append(Problem(field=where, message=f"must be one of {', '.join(ended)}"))
        return TrialPhase.FAILED
    phase = TrialPhase(state)
    if phase is TrialPhase.SUCCEEDED and not observed:
        problems.append(Problem(field=where, message="Succeeded without a value of the objective"))
    return phase


def _time(text: str | None, where: str, problems: list[Problem]) -> float | None:
    at = None if text is None else rfc3339_seconds(text)
    if text is not None and at is None:
        problems.append(Problem(field=where, message="must be a time of RFC 3339"))
    return at


def _metric(name: str, told: "_Metric | float | str") -> MetricValues:
    if not isinstance(told, _Metric):
        told = _Metric(latest=told)
    latest = _number(told.latest)
    if latest is None:
        least = _number(told.min if told.min is not None else math.nan)
        most = _number(told.max if told.max is not None else math.nan)
        return MetricValues(
            name=name,
            min=math.nan if least is None else least,
            max=math.nan if most is None else most,
            latest=math.nan,
            text=str(told.latest),
        )
    least, most = _number(told.min), _number(told.max)
    return MetricValues(
        name=name,
        min=latest if least is None else least,
        max=latest if most is None else most,
        latest=latest,
    )


def _number(told: float | str | None) -> float | None:
    """None: it is none."""
    return _NUMBER_WORDS.get(told) if isinstance(told, str) else told


def _text(value: Scalar) -> str:
    """As trials get it: true, 5, 0.5, adam."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else repr(value)
