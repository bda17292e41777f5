"""What `tune` found."""

import csv
import io
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from trialbus.client.records import Observed, Trial
from trialbus.client.space import Described


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedTrial:
    """One row. number: 0-based, in the order of opening. value: of the objective, NaN without one.
    metrics: the latest value of each. seconds: from its start to its end, None if it has none.
    state and message: as `trialbus.Trial` has them."""

    number: int
    name: str
    state: str
    value: float
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """parameters, value: of the best trial, which is called `trial`. trials: all of them. name: of
    the experiment."""

    parameters: Mapping[str, Any]
    value: float
    trial: str
    trials: tuple[TunedTrial, ...] = field(repr=False)
    name: str
    message: str = ""

    def rows(self) -> list[dict[str, Any]]:
        """The table: a dict for each trial, with parameters and metrics as columns."""
        parameters = list(dict.fromkeys(name for it in self.trials for name in it.parameters))
        metrics = list(dict.fromkeys(name for it in self.trials for name in it.metrics))
        taken = {*_COLUMNS, *parameters}
        columns = {name: name if name not in taken else f"metric {name}" for name in metrics}
        return [
            {
                **{name: getattr(it, name) for name in _COLUMNS},
                **{name: it.parameters.get(name) for name in parameters},
                **{column: it.metrics.get(name) for name, column in columns.items()},
            }
            for it in self.trials
        ]

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """The table as CSV, which is also written to `path`, if one is given."""
        rows = self.rows()
        text = io.StringIO()
        names = list(rows[0]) if rows else list(_COLUMNS)
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        if path is not None:
            Path(path).write_text(text.getvalue(), encoding="utf-8")
        return text.getvalue()

    def to_pandas(self) -> Any:
        """The table as a pandas.DataFrame. Raises ImportError without pandas."""
        # By name: it is nothing that this library needs or knows.
        return import_module("pandas").DataFrame(self.rows())


_COLUMNS = ("number", "name", "state", "value", "seconds")


def tuned_trial(number: int, trial: Trial, space: Described, objective: str, *, smallest: bool) -> (
    TunedTrial
):  # fmt: skip
    observed = trial.metrics.get(objective)
    ended, started = trial.ended, trial.started
    took = (ended - started).total_seconds() if ended and started else None
    return TunedTrial(
        number=number,
        name=trial.name,
        state=trial.state,
        value=_counted(observed, smallest),
        parameters=space.values(trial.parameters),
        metrics={
            name: it.latest for name, it in trial.metrics.items() if not math.isnan(it.latest)
        },
        seconds=took,
        message=trial.message,
    )


def _counted(observed: Observed | None, smallest: bool) -> float:
    if observed is None:
        return math.nan
    return observed.min if smallest else observed.max
