"""What was searched, learned from the rows of a file: which columns are parameters, their types
and ranges, and where the objective stands."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trialbus.cli.failures import REFUSED, CommandFailed
from trialbus.cli.trial_files import METRICS, PARAMETERS, Row
from trialbus.kernel.limits import MAX_MESSAGE_CHARS

# Different texts of one column; more are no categories.
MAX_CATEGORIES = 1000
_PARTS = ("min", "max", "latest")


@dataclass(slots=True)
class _Values:
    """What a parameter's column holds. texts: in order of appearance, while they are few."""

    whole: bool = True
    numeric: bool = True
    least: float = math.inf
    most: float = -math.inf
    texts: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class Scan:
    """objective: its name. own: columns that tell of a trial and are no parameters. values: rows
    with a value. metrics_fit: whether the objective's metrics tell the value by one strategy."""

    objective: str
    own: Sequence[str]
    rows: int = 0
    values: int = 0
    columns: tuple[str, ...] = ()
    metrics: dict[str, None] = field(default_factory=dict)
    _names: tuple[str, ...] = ()
    _found: dict[str, _Values] = field(default_factory=dict)
    _fitting: list[str] = field(default_factory=lambda: list(_PARTS))

    @property
    def metrics_fit(self) -> bool:
        return bool(self._fitting)

    def look(self, row: Row, where: str) -> None:
        """Raises CommandFailed."""
        if not self.rows:
            self.columns = tuple(row)
            self._names = self._parameter_columns(row)
        self.rows += 1
        for name in row:
            if name.startswith(METRICS):
                self.metrics[name.removeprefix(METRICS).rpartition(".")[0]] = None
        if not self._names:
            raise CommandFailed(f"{where}: there is no parameter in {', '.join(row)}", REFUSED)
        for name in self._names:
            self._note(name, row.get(name), where)
        value = self.value(row)
        if value is None:
            return
        self.values += 1
        parts = {part: row.get(f"{METRICS}{self.objective}.{part}") for part in _PARTS}
        if "value" in row:
            self._fitting = [part for part in self._fitting if _jsonable(parts[part]) == value]

    def value(self, row: Row) -> Any:
        """The objective: of an exported file `value`, else the column of its name."""
        for name in ("value", self.objective, f"{METRICS}{self.objective}.latest"):
            found = row.get(name)
            if found is not None:
                return _jsonable(found)
        return None

    def point(self, row: Row) -> Mapping[str, Any]:
        return {name.removeprefix(PARAMETERS): _jsonable(row[name]) for name in self._names}

    def judged(self, objective: Mapping[str, Any]) -> Mapping[str, Any]:
        """The objective, judged as the file's values were, with the file's other metrics."""
        more = [name for name in self.metrics if name != self.objective]
        usual = "min" if objective["type"] == "minimize" else "max"
        judged = {**objective, **({"additionalMetricNames": more} if more else {})}
        if usual not in self._fitting and self._fitting:
            strategy = {"name": self.objective, "value": self._fitting[-1]}
            judged["metricStrategies"] = [strategy]
        return judged

    def parameters(self) -> list[dict[str, Any]]:
        """As an Experiment has them."""
        return [
            {"name": name.removeprefix(PARAMETERS), **_space(self._found[name])}
            for name in self._names
        ]

    def _parameter_columns(self, row: Row) -> tuple[str, ...]:
        marked = tuple(name for name in row if name.startswith(PARAMETERS))
        others = (*self.own, self.objective)
        return marked or tuple(
            name for name in row if name not in others and not name.startswith(METRICS)
        )

    def _note(self, name: str, value: Any, where: str) -> None:
        if value is None or isinstance(value, dict | list):
            message = (
                f"{where}: {name} has no value" if value is None else f"{where}: {name} is nested"
            )
            raise CommandFailed(message[:MAX_MESSAGE_CHARS], REFUSED)
        seen = self._found.setdefault(name, _Values())
        text = str(value).lower() if isinstance(value, bool) else str(value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        finite = number and math.isfinite(value)
        seen.numeric, seen.whole = seen.numeric and finite, seen.whole and isinstance(value, int)
        if finite:
            seen.least, seen.most = min(seen.least, value), max(seen.most, value)
        if len(seen.texts) <= MAX_CATEGORIES:
            seen.texts[text] = None
        if not seen.numeric and len(seen.texts) > MAX_CATEGORIES:
            raise CommandFailed(
                f"{where}: {name} has over {MAX_CATEGORIES} different texts: it is no parameter "
                "(leave the column out, or say with --like what was tuned)",
                REFUSED,
            )


def _space(seen: _Values) -> dict[str, Any]:
    if not seen.numeric or seen.least == seen.most:
        return {"parameterType": "categorical", "feasibleSpace": {"list": list(seen.texts)}}
    kind = "int" if seen.whole else "double"
    return {
        "parameterType": kind,
        "feasibleSpace": {"min": str(seen.least), "max": str(seen.most)},
    }


def _jsonable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
