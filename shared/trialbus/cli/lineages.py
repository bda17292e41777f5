"""`trialbus lineage`: which trial goes on from which, and what the best one was trained with."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trialbus.cli import tables
from trialbus.cli.api import Api, experiment_path, path_of
from trialbus.cli.names import find_experiment
from trialbus.kernel.lineage import (
    GENERATION_LABEL,
    MEMBER_LABEL,
    MOVE_LABEL,
    PARENT_LABEL,
    PBT_PARENT_LABEL,
    RUNG_LABEL,
)

Object = Mapping[str, Any]
_INDENT = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One trial. parent: its name, None if it began anew. step: its generation or rung. member: ""
    where there are none."""

    name: str
    parent: str | None
    step: str
    member: str
    move: str
    state: str
    parameters: Mapping[str, str]
    metrics: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """trials: in the order of their start. best: the name of the best one, None if there is none
    yet."""

    experiment: str
    trials: Sequence[Line]
    best: str | None
    by_name: Mapping[str, Line] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {line.name: line for line in self.trials})

    def schedule(self) -> list[Line]:
        """From the trial that began anew to the best one."""
        found: list[Line] = []
        line = self.by_name.get(self.best or "")
        while line is not None:
            found.append(line)
            line = self.by_name.get(line.parent or "")
        return found[::-1]


def lineage(api: Api, name: str, *, namespace: str | None, as_json: bool) -> None:
    place, name = find_experiment(api, name, namespace)
    experiment = api.get(experiment_path(place, name))
    trials = list(api.items(path_of("trials"), namespace=place, experiment=name))
    found = lineage_of(experiment, trials)
    text = json.dumps(as_object(found), indent=2) if as_json else "\n".join(lines_of(found))
    sys.stdout.write(f"{text}\n")


def lineage_of(experiment: Object, trials: Sequence[Object]) -> Lineage:
    best = (experiment.get("status") or {}).get("currentOptimalTrial") or {}
    return Lineage(
        experiment=str(experiment["metadata"]["name"]),
        trials=[_line(each) for each in trials],
        best=best.get("bestTrialName") or None,
    )


def _line(trial: Object) -> Line:
    labels = trial["metadata"].get("labels") or {}
    spec, status = trial.get("spec") or {}, trial.get("status") or {}
    return Line(
        name=str(trial["metadata"]["name"]),
        parent=labels.get(PBT_PARENT_LABEL) or labels.get(PARENT_LABEL),
        step=labels.get(GENERATION_LABEL) or labels.get(RUNG_LABEL) or "",
        member=labels.get(MEMBER_LABEL, ""),
        move=labels.get(MOVE_LABEL, ""),
        state=tables.state_of(trial),
        parameters={it["name"]: str(it["value"]) for it in spec.get("parameterAssignments") or ()},
        metrics=tables.metrics(status.get("observation"), spec),
    )


def lines_of(found: Lineage) -> Iterator[str]:
    """The best trial's schedule, then all trials as a tree."""
    if not any(line.parent for line in found.trials):
        yield f"No trial of {found.experiment} goes on from another one."
        return
    schedule = found.schedule()
    if schedule:
        yield f"The schedule of the best trial, {found.best}:"
        yield ""
        yield from tables.aligned([_HEADING, *(_row(line, line.name) for line in schedule)])
        yield ""
    yield "All trials; who goes on stands below, who copies stands further right:"
    yield ""
    yield from tables.aligned(
        [_HEADING, *(_row(line, f"{_INDENT * depth}{line.name}") for depth, line in tree(found))]
    )


_HEADING = ("TRIAL", "STEP", "MEMBER", "MOVE", "STATE", "PARAMETERS", "METRICS")


def _row(line: Line, name: str) -> tuple[str, ...]:
    values = " ".join(f"{name}={value}" for name, value in line.parameters.items())
    return (name, line.step, line.member, line.move, line.state, values, line.metrics)


def tree(found: Lineage) -> Iterator[tuple[int, Line]]:
    """Each trial with its depth, a parent before its children; copies before who goes on, so that
    a member's own line is not interrupted further right than it began."""
    children: dict[str, list[Line]] = {}
    roots = []
    for line in found.trials:
        if line.parent in found.by_name:
            children.setdefault(line.parent or "", []).append(line)
        else:
            roots.append(line)
    waiting = [(0, line) for line in reversed(roots)]
    while waiting:
        depth, line = waiting.pop()
        yield depth, line
        below = children.get(line.name, [])
        own = [it for it in below if it.member == line.member][:1]
        copies = [it for it in below if it not in own]
        waiting += [(depth, it) for it in own]
        waiting += [(depth + 1, it) for it in reversed(copies)]


def as_object(found: Lineage) -> dict[str, Any]:
    return {
        "experiment": found.experiment,
        "best": found.best,
        "schedule": [_as_object(line) for line in found.schedule()],
        "trials": [_as_object(line) for line in found.trials],
    }


def _as_object(line: Line) -> dict[str, Any]:
    return {
        "trial": line.name,
        "parent": line.parent,
        "step": _number(line.step),
        "member": _number(line.member),
        "move": line.move or None,
        "state": line.state,
        "parameters": dict(line.parameters),
        "metrics": dict(pair.split("=", 1) for pair in line.metrics.split() if "=" in pair),
    }


def _number(text: str) -> int | str | None:
    return int(text) if text.isdecimal() else text or None
