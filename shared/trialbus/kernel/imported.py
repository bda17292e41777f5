"""Trials that ended elsewhere, as they come into an experiment."""

from dataclasses import dataclass

from trialbus.kernel.trial import Assignment, MetricValues, TrialPhase


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedTrial:
    """What is not known of it is made up the same way whenever it is told again: its times are
    those of the experiment then."""

    assignments: tuple[Assignment, ...]
    phase: TrialPhase
    metrics: tuple[MetricValues, ...] = ()
    attempt: int = 1
    started_at: float | None = None
    completed_at: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedSeries:
    """What trial `index` had reported of one metric. values: (n_points,), in the order of their
    times; times: (n_points,), seconds since the epoch."""

    index: int
    metric: str
    values: tuple[float, ...]
    times: tuple[float, ...]
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """first: index of its first trial. series: of these trials, or of earlier ones. last: no more
    follow, the experiment is complete."""

    first: int
    trials: tuple[ImportedTrial, ...]
    series: tuple[ImportedSeries, ...] = ()
    last: bool = False
