"""What the gateway tells, as values: trials, best trials, series of metrics."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trialbus.contracts.progress import Progress

Json = Any
Parameter = float | int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """created: the experiment was not there before. changed: there was anything to do."""

    id: str
    uid: str
    created: bool = False
    changed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One metric over a trial; NaN where there was no number. text: a value that is none."""

    min: float
    max: float
    latest: float
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """state: Created, Running, Succeeded, Failed, Killed, EarlyStopped or MetricsUnavailable.
    parameters: typed as the search space says. raw: Katib's Trial."""

    name: str
    state: str
    reason: str
    message: str
    parameters: Mapping[str, Parameter]
    metrics: Mapping[str, Observed]
    started: datetime | None
    ended: datetime | None
    raw: Mapping[str, Json] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """value: of the objective, as its strategy counts it; a text where the objective is one.
    checkpoint: where the trial kept what it had learnt, if it is known."""

    trial: str
    value: float | str
    parameters: Mapping[str, Parameter]
    checkpoint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One metric of a trial's newest attempt, in order. times: seconds since the epoch."""

    name: str
    steps: tuple[int, ...]
    values: tuple[float | str, ...]
    times: tuple[float, ...]


def kinds_of(experiment: Mapping[str, Json]) -> dict[str, str]:
    """Name of a parameter -> its type."""
    parameters = experiment.get("spec", {}).get("parameters") or ()
    return {str(it["name"]): str(it["parameterType"]) for it in parameters}


def typed(text: str, kind: str | None) -> Parameter:
    """A value as its parameter's type says; of an unknown one the text."""
    try:
        if kind == "double":
            return float(text)
        if kind == "int":
            return int(text)
        if kind == "discrete":
            return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        return text
    return text


def parse_trial(raw: Mapping[str, Json], kinds: Mapping[str, str]) -> Trial:
    status = raw.get("status") or {}
    holding = [it for it in status.get("conditions") or () if it.get("status") == "True"]
    last = holding[-1] if holding else {}
    assignments = raw["spec"].get("parameterAssignments") or ()
    observed = (status.get("observation") or {}).get("metrics") or ()
    return Trial(
        name=raw["metadata"]["name"],
        state=last.get("type", "Created"),
        reason=last.get("reason", ""),
        message=last.get("message", ""),
        parameters={it["name"]: typed(it["value"], kinds.get(it["name"])) for it in assignments},
        metrics={it["name"]: _observed(it) for it in observed},
        started=_time(status.get("startTime")),
        ended=_time(status.get("completionTime")),
        raw=raw,
    )


def parse_best(progress: Progress, kinds: Mapping[str, str]) -> Best | None:
    best = progress.best
    if best is None:
        return None
    return Best(
        trial=best.trial,
        value=best.value,
        parameters={name: typed(it, kinds.get(name)) for name, it in best.parameters.items()},
        checkpoint=best.checkpoint[0] if best.checkpoint else None,
    )


def parse_series(raw: Mapping[str, Json]) -> Series:
    return Series(
        name=raw["name"],
        steps=tuple(raw["steps"]),
        values=tuple(_number_or_text(it) for it in raw["values"]),
        times=tuple(float(it) for it in raw["times"]),
    )


def _observed(metric: Mapping[str, str]) -> Observed:
    latest = _number_or_text(metric["latest"])
    is_text = isinstance(latest, str) and latest != "unavailable"
    return Observed(
        min=_number(metric["min"]),
        max=_number(metric["max"]),
        latest=latest if isinstance(latest, float) else math.nan,
        text=str(latest) if is_text else "",
    )


def _number_or_text(value: Json) -> float | str:
    try:
        return float(value)
    except ValueError:
        return str(value)


def _number(value: Json) -> float:
    found = _number_or_text(value)
    return found if isinstance(found, float) else math.nan


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
