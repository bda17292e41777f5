"""`trialbus import katib`: experiments that ran under Katib, with their trials and their curves."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from trialbus.cli.api import Api, experiment_path
from trialbus.cli.failures import CommandFailed, Unreachable
from trialbus.cli.importing import PORTION_BYTES, portions, tell_portion
from trialbus.cli.katib_objects import Export, Object, created_at, holding
from trialbus.cli.observation_dump import Points
from trialbus.cli.watching import patiently
from trialbus.contracts.katib.annotations import TRIALS_BY, WARM_START_FROM

Json = dict[str, Any]
Curves = Mapping[str, Mapping[str, Points]]
# A point as JSON: a value and a time.
_POINT_BYTES = 45
_POINTS = PORTION_BYTES // _POINT_BYTES
_ENDS = ("MetricsUnavailable", "EarlyStopped", "Killed", "Failed", "Succeeded")
_KEPT_METADATA = ("name", "namespace", "labels")
# What an experiment of which nothing runs can do without, and what stands for it.
_DISPENSABLE: Mapping[str, Any] = {
    "algorithm": {"algorithmName": "random"},
    "earlyStopping": None,
    "trialTemplate": None,
    "metricsCollectorSpec": None,
    "resumePolicy": None,
    "maxFailedTrialCount": None,
    "parallelTrialCount": 1,
}


@dataclass(slots=True)
class Outcome:
    """name: what its history is called here. notes: what was left out, and why. refused: why
    nothing of it came."""

    namespace: str
    name: str
    trials: int = 0
    points: int = 0
    running: int = 0
    goes_on: str = ""
    notes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def import_katib(
    api: Api, export: Export, curves: Curves, *, go_on: bool, tell: Callable[[Outcome], None]
) -> list[Outcome]:
    """Repeatable: what is there is compared, what is missing is added. What is refused of one
    experiment keeps none of the others. go_on: those that had not ended go on here, from what they
    had found."""
    outcomes = []
    for (namespace, name), experiment in sorted(export.experiments.items()):
        trials = export.trials.get((namespace, name), [])
        outcomes.append(_import(api, namespace, experiment, trials, curves, go_on=go_on))
        tell(outcomes[-1])
    return outcomes


def _import(
    api: Api,
    namespace: str,
    experiment: Object,
    trials: Sequence[Object],
    curves: Curves,
    *,
    go_on: bool,
) -> Outcome:
    name = str(experiment["metadata"]["name"])
    over = bool({"Succeeded", "Failed"} & set(holding(experiment)))
    outcome = Outcome(namespace, name if over else f"{name}-katib")
    ended = [trial for trial in trials if _end_of(trial) is not None]
    outcome.running = len(trials) - len(ended)
    try:
        uid = _create(api, _history(experiment, outcome, len(ended)), outcome)
        for portion in _portions(ended, experiment, curves, outcome):
            tell_portion(api, namespace, outcome.name, uid, portion)
        if go_on and not over:
            rest = _continuation(experiment, outcome, len(ended))
            path = experiment_path(namespace, name)
            patiently(lambda: api.call("PUT", path, {"object": rest}))
            outcome.goes_on = name
    except Unreachable:
        raise
    except CommandFailed as failed:
        outcome.refused = failed.lines
    return outcome


def _create(api: Api, made: Json, outcome: Outcome) -> str:
    """Its uid. What it can do without is left out where it is refused. Raises CommandFailed."""
    path = experiment_path(outcome.namespace, outcome.name)
    for attempt in range(2):
        try:
            answer = patiently(lambda: api.call("PUT", path, {"object": made}))
            return str(answer["uid"])
        except Unreachable:
            raise
        except CommandFailed as refused:
            if attempt or not _made_do(made, refused.lines, outcome):
                raise
    raise AssertionError("unreachable")


def _made_do(made: Json, problems: Iterable[str], outcome: Outcome) -> bool:
    """Whether leaving something out may help."""
    helped = False
    for line in map(str.strip, problems):
        for part, instead in _DISPENSABLE.items():
            if line.startswith(f"spec.{part}") and made["spec"].get(part) != instead:
                helped = True
                if instead is None:
                    made["spec"].pop(part, None)
                else:
                    made["spec"][part] = instead
                outcome.notes.append(f"without its {part}: {line}")
    return helped


def _history(experiment: Object, outcome: Outcome, trials: int) -> Json:
    """The experiment as one whose trials ended elsewhere."""
    made = _copied(experiment, outcome.name)
    made["metadata"]["annotations"] = {TRIALS_BY: "import"}
    made["spec"].pop("suspend", None)
    most = made["spec"].get("maxTrialCount")
    if isinstance(most, int) and most < trials:
        made["spec"]["maxTrialCount"] = trials
    return made


def _continuation(experiment: Object, outcome: Outcome, ended: int) -> Json:
    made = _copied(experiment, str(experiment["metadata"]["name"]))
    made["metadata"]["annotations"] = {WARM_START_FROM: outcome.name}
    most = made["spec"].get("maxTrialCount")
    if isinstance(most, int):
        left = max(most - ended, 1)
        made["spec"]["maxTrialCount"] = left
        for name in ("parallelTrialCount", "maxFailedTrialCount"):
            if isinstance(made["spec"].get(name), int):
                made["spec"][name] = min(made["spec"][name], left)
    return made


def _copied(experiment: Object, name: str) -> Json:
    metadata = experiment["metadata"]
    kept = {key: deepcopy(metadata[key]) for key in _KEPT_METADATA if metadata.get(key)}
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {**kept, "name": name},
        "spec": deepcopy(dict(experiment["spec"])),
    }


# Trials -------------------------------------------------------------------------------------


def _portions(
    ended: Sequence[Object], experiment: Object, curves: Curves, outcome: Outcome
) -> Iterator[Json]:
    """The same way every time: the trials, then what they had reported, then the end."""
    for portion in portions((_trial(trial, experiment, curves) for trial in ended), last=False):
        outcome.trials += len(portion["trials"])
        yield portion
    for series in _packed(_all_series(ended, curves)):
        outcome.points += sum(len(it["values"]) for it in series)
        yield {"first": outcome.trials, "trials": [], "series": series}
    yield {"first": outcome.trials, "trials": [], "last": True}


def _trial(trial: Object, experiment: Object, curves: Curves) -> Json:
    name, status = str(trial["metadata"]["name"]), trial.get("status") or {}
    observed = (status.get("observation") or {}).get("metrics") or ()
    metrics = {str(it["name"]): parts for it in observed if "name" in it and (parts := _metric(it))}
    for metric, points in curves.get(name, {}).items():
        if metric not in metrics:
            metrics[metric] = _summary(points)
    state = _end_of(trial)
    objective = experiment["spec"].get("objective", {}).get("objectiveMetricName")
    if state == "Succeeded" and objective not in metrics:
        state = "MetricsUnavailable"
    assigned = trial["spec"].get("parameterAssignments") or ()
    told = {
        "parameters": {str(it["name"]): str(it["value"]) for it in assigned},
        "metrics": metrics,
        "state": state,
        "startTime": status.get("startTime") or created_at(trial) or None,
        "completionTime": status.get("completionTime"),
        "message": f"Katib's trial {name}",
    }
    return {key: value for key, value in told.items() if value is not None}


def _end_of(trial: Object) -> str | None:
    """How it ended; None: it had not. A trial stopped early has more than one condition."""
    held = holding(trial)
    return next((it for it in _ENDS if it in held), None)


def _metric(told: Mapping[str, Any]) -> Json:
    """{}: it was not observed, which Katib writes down too."""
    parts = {part: _number(told.get(part)) for part in ("min", "max", "latest")}
    known = {part: value for part, value in parts.items() if value is not None}
    if known:
        known.setdefault("latest", next(iter(known.values())))
    return known


def _summary(points: Points) -> Json:
    finite = [value for value in points.values if not math.isnan(value)] or [math.nan]
    return {
        "min": _word(min(finite)),
        "max": _word(max(finite)),
        "latest": _word(points.values[-1]),
    }


def _number(text: Any) -> float | str | None:
    """None: there is none. A text stays one."""
    if text in (None, "", "unavailable"):
        return None
    try:
        return _word(float(text))
    except ValueError:
        return str(text)


def _word(value: float) -> float | str:
    """JSON has no NaN and no infinities."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _all_series(ended: Sequence[Object], curves: Curves) -> Iterator[Json]:
    for index, trial in enumerate(ended):
        for metric, points in sorted(curves.get(str(trial["metadata"]["name"]), {}).items()):
            for start in range(0, len(points.values), _POINTS):
                yield {
                    "index": index,
                    "metric": metric,
                    "values": [_word(it) for it in points.values[start : start + _POINTS]],
                    "times": list(points.times[start : start + _POINTS]),
                }


def _packed(series: Iterator[Json]) -> Iterator[list[Json]]:
    held, points = list[Json](), 0
    for each in series:
        if held and points + len(each["values"]) > _POINTS:
            yield held
            held, points = [], 0
        held.append(each)
        # The words around a short one weigh as much as some points.
        points += len(each["values"]) + 3
    if held:
        yield held
