"""The closed set of series of experiments and trials, which the gateway answers Prometheus'
read API with."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

OF_EXPERIMENT = ("namespace", "experiment")
OF_TRIAL = (*OF_EXPERIMENT, "trial")


class Needs(Enum):
    """What has to be read for a series, beside its experiment's document."""

    NOTHING = "nothing"
    HISTORY = "history"  # what the ended trials came to
    PARAMETERS = "parameters"  # documents of trials
    POINTS = "points"  # chunks of metric points


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesKind:
    """about: one sentence. holds: how long a value is told. unit: of values, "" without one."""

    name: str
    about: str
    labels: tuple[str, ...]
    needs: Needs
    holds: str
    unit: str = ""

    @property
    def is_of_trials(self) -> bool:
        return "trial" in self.labels


_ON = "until it changes; after the experiment's end as it was"
_TRIAL_END = "from the trial's end on"

KINDS: tuple[SeriesKind, ...] = (
    SeriesKind(
        name="experiment_info",
        about="Always 1: what an experiment is. `phase`: its present one.",
        labels=(
            *OF_EXPERIMENT,
            "uid",
            "algorithm",
            "stopping_rule",
            "metric",
            "direction",
            "phase",
        ),
        needs=Needs.NOTHING,
        holds="from the experiment's creation on",
    ),
    SeriesKind(
        name="experiment_best_value",
        about="The best objective so far, of trials that succeeded or were stopped early.",
        labels=(*OF_EXPERIMENT, "metric"),
        needs=Needs.HISTORY,
        holds=_ON,
    ),
    SeriesKind(
        name="experiment_last_value",
        about="The objective of the trial that was the last to end with one.",
        labels=(*OF_EXPERIMENT, "metric"),
        needs=Needs.HISTORY,
        holds=_ON,
    ),
    SeriesKind(
        name="experiment_goal",
        about="The goal of the objective, where there is one.",
        labels=(*OF_EXPERIMENT, "metric"),
        needs=Needs.NOTHING,
        holds="from the experiment's creation on",
    ),
    SeriesKind(
        name="experiment_trials",
        about="Trials that have ended so far, by how: `Succeeded`, `Failed`, `Killed`, "
        "`EarlyStopped`, `MetricsUnavailable`.",
        labels=(*OF_EXPERIMENT, "state"),
        needs=Needs.HISTORY,
        holds=_ON,
    ),
    SeriesKind(
        name="experiment_opened_trials",
        about="Trials that have been opened so far.",
        labels=OF_EXPERIMENT,
        needs=Needs.HISTORY,
        holds=_ON,
    ),
    SeriesKind(
        name="experiment_open_trials",
        about="Trials that have been opened and have not ended.",
        labels=OF_EXPERIMENT,
        needs=Needs.HISTORY,
        holds=_ON,
    ),
    SeriesKind(
        name="experiment_parallel_trials",
        about="How many trials may be open at once (`parallelTrialCount`), as it is now.",
        labels=OF_EXPERIMENT,
        needs=Needs.NOTHING,
        holds="from the experiment's creation on",
    ),
    SeriesKind(
        name="experiment_budget_trials",
        about="How many trials there may be (`maxTrialCount`), as it is now; none without a limit.",
        labels=OF_EXPERIMENT,
        needs=Needs.NOTHING,
        holds="from the experiment's creation on",
    ),
    SeriesKind(
        name="experiment_trial_seconds",
        about="What the ended trials took, together: from the start of each to its end.",
        labels=OF_EXPERIMENT,
        needs=Needs.HISTORY,
        holds=_ON,
        unit="seconds",
    ),
    SeriesKind(
        name="trial_objective",
        about="The objective of an ended trial; `phase`: how it ended. NaN where it is no number.",
        labels=(*OF_TRIAL, "metric", "phase"),
        needs=Needs.HISTORY,
        holds=_TRIAL_END,
    ),
    SeriesKind(
        name="trial_duration_seconds",
        about="How long an ended trial took, from its start to its end.",
        labels=(*OF_TRIAL, "phase"),
        needs=Needs.HISTORY,
        holds=_TRIAL_END,
        unit="seconds",
    ),
    SeriesKind(
        name="trial_parameter",
        about="A parameter of a trial: its number. Of a value that is a text, which is then the "
        "label `text`, the place in the feasible list, from 0.",
        labels=(*OF_TRIAL, "parameter", "text"),
        needs=Needs.PARAMETERS,
        holds="from the trial's opening on",
    ),
    SeriesKind(
        name="trial_metric",
        about="What the newest attempt of a trial reported, at the times of the reports.",
        labels=(*OF_TRIAL, "metric"),
        needs=Needs.POINTS,
        holds="until the next report, at the longest to the trial's end",
    ),
    SeriesKind(
        name="trial_metric_step",
        about="The number of the newest report of a metric, from 1: the step of `trial_metric`.",
        labels=(*OF_TRIAL, "metric"),
        needs=Needs.POINTS,
        holds="until the next report, at the longest to the trial's end",
    ),
)
BY_NAME: Mapping[str, SeriesKind] = {kind.name: kind for kind in KINDS}
ALL_LABELS = tuple(sorted({label for kind in KINDS for label in kind.labels}))
