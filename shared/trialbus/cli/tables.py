"""Columns of text for `trialbus get` and `status`: pure functions of Katib's objects."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trialbus.cli.progress import short
from trialbus.kernel.lineage import (
    GENERATION_LABEL,
    PARENT_LABEL,
    PBT_PARENT_LABEL,
    RUNG_LABEL,
)

Object = Mapping[str, Any]
_GAP = "   "


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """wide: shown with `-o wide` only. seldom: only if an object has something there."""

    title: str
    cell: Callable[[Object, datetime], str]
    wide: bool = False
    seldom: bool = False


def table(columns: Sequence[Column], objects: Sequence[Object], *, wide: bool) -> list[str]:
    """A heading and a line for each object, in columns."""
    now = datetime.now(UTC)
    shown = [column for column in columns if wide or not column.wide]
    cells = [(column, [column.cell(each, now) for each in objects]) for column in shown]
    filled = [(it, column) for it, column in cells if any(column) or not it.seldom]
    rows = zip(*(column for _, column in filled), strict=True)
    return aligned([[column.title for column, _ in filled], *rows])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        _GAP.join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def state_of(found: Object) -> str:
    """The newest condition that holds, as Katib has it."""
    conditions = found.get("status", {}).get("conditions") or ()
    holding = [each["type"] for each in conditions if each["status"] == "True"]
    return str(holding[-1]) if holding else "Created"


def waits_for(found: Object, _now: datetime) -> str:
    """Why a living experiment does not go on; "" if it does. Its condition's reason is
    `Experiment<condition>` while it does."""
    conditions = found.get("status", {}).get("conditions") or ()
    holding = [each for each in conditions if each["status"] == "True"]
    if not holding or holding[-1]["type"] not in ("Created", "Running"):
        return ""
    reason = str(holding[-1].get("reason", ""))
    return "" if reason == f"Experiment{holding[-1]['type']}" else reason


def age(found: Object, now: datetime) -> str:
    return since(found.get("metadata", {}).get("creationTimestamp"), now)


def since(text: str | None, now: datetime) -> str:
    """How long ago: 12s, 5m, 3h, 4d."""
    if not text:
        return ""
    seconds = max((now - datetime.fromisoformat(text)).total_seconds(), 0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def _name(found: Object, _now: datetime) -> str:
    return str(found["metadata"]["name"])


def _namespace(found: Object, _now: datetime) -> str:
    return str(found["metadata"].get("namespace", ""))


def _state(found: Object, _now: datetime) -> str:
    return state_of(found)


def _status(name: str) -> Callable[[Object, datetime], str]:
    return lambda found, _now: _text(found.get("status", {}).get(name, 0))


def _text(value: object) -> str:
    return "" if value is None else str(value)


def assignments(assignments: Sequence[Object] | None) -> str:
    return " ".join(f"{each['name']}={each['value']}" for each in assignments or ())


def metrics(observation: Object | None, spec: Object) -> str:
    """Each as its strategy takes it, which is what trials are compared by."""
    objective = spec.get("objective") or {}
    strategies = {it["name"]: it["value"] for it in objective.get("metricStrategies") or ()}
    metrics = (observation or {}).get("metrics") or ()
    return " ".join(
        f"{each['name']}={_counted(each, strategies.get(each['name'], 'latest'))}"
        for each in metrics
    )


def _counted(metric: Object, strategy: str) -> str:
    """Of a text there is only the latest."""
    value = str(metric[strategy])
    return short(str(metric["latest"])) if value == "unavailable" else value


def _best(found: Object) -> Object:
    best: Object = found.get("status", {}).get("currentOptimalTrial") or {}
    return best


def _of_max(found: Object, _now: datetime) -> str:
    of = found.get("spec", {}).get("maxTrialCount")
    return f"{found.get('status', {}).get('trials', 0)}{'' if of is None else f'/{of}'}"


def _algorithm(found: Object, _now: datetime) -> str:
    algorithm = found.get("spec", {}).get("algorithm") or {}
    return _text(algorithm.get("algorithmName"))


def _owner(found: Object, _now: datetime) -> str:
    metadata = found["metadata"]
    labels = metadata.get("labels") or {}
    for label in ("katib.kubeflow.org/experiment", "experiment"):
        if label in labels:
            return str(labels[label])
    return next((str(each["name"]) for each in metadata.get("ownerReferences") or ()), "")


def _label(*names: str) -> Callable[[Object, datetime], str]:
    """Of the first of these labels that there is."""

    def cell(found: Object, _now: datetime) -> str:
        labels = found["metadata"].get("labels") or {}
        return next((str(labels[name]) for name in names if name in labels), "")

    return cell


EXPERIMENTS = (
    Column(title="NAMESPACE", cell=_namespace),
    Column(title="NAME", cell=_name),
    Column(title="STATE", cell=_state),
    Column(title="WAITS", cell=waits_for, seldom=True),
    Column(title="TRIALS", cell=_of_max),
    Column(title="SUCCEEDED", cell=_status("trialsSucceeded")),
    Column(title="FAILED", cell=_status("trialsFailed"), wide=True),
    Column(
        title="BEST",
        cell=lambda found, _now: metrics(_best(found).get("observation"), found.get("spec", {})),
    ),
    Column(title="BEST TRIAL", cell=lambda found, _now: _text(_best(found).get("bestTrialName"))),
    Column(title="ALGORITHM", cell=_algorithm, wide=True),
    Column(
        title="PARAMETERS",
        cell=lambda found, _now: assignments(_best(found).get("parameterAssignments")),
        wide=True,
    ),
    Column(title="AGE", cell=age),
    Column(title="UID", cell=lambda found, _now: str(found["metadata"].get("uid", "")), wide=True),
)
TRIALS = (
    Column(title="NAMESPACE", cell=_namespace, wide=True),
    Column(title="NAME", cell=_name),
    Column(title="EXPERIMENT", cell=_owner, wide=True),
    Column(title="STATE", cell=_state),
    Column(
        title="PARAMETERS",
        cell=lambda found, _now: assignments(found.get("spec", {}).get("parameterAssignments")),
    ),
    Column(
        title="METRICS",
        cell=lambda found, _now: metrics(
            found.get("status", {}).get("observation"), found.get("spec", {})
        ),
    ),
    Column(title="PARENT", cell=_label(PARENT_LABEL, PBT_PARENT_LABEL), wide=True, seldom=True),
    Column(title="GENERATION", cell=_label(GENERATION_LABEL), wide=True, seldom=True),
    Column(title="RUNG", cell=_label(RUNG_LABEL), wide=True, seldom=True),
    Column(title="AGE", cell=age),
)
SUGGESTIONS = (
    Column(title="NAMESPACE", cell=_namespace),
    Column(title="NAME", cell=_name),
    Column(title="STATE", cell=_state),
    Column(
        title="REQUESTED", cell=lambda found, _now: _text(found.get("spec", {}).get("requests", 0))
    ),
    Column(title="ASSIGNED", cell=_status("suggestionCount")),
    Column(title="ALGORITHM", cell=_algorithm, wide=True),
    Column(title="AGE", cell=age),
)
