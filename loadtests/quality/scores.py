"""Scores of runs: normalised regret, ranks, and whether one entrant is worse than another.

The regret of a run is its least loss minus the least known loss of the task. It is divided by the
median regret of random search after as many evaluations, one at a time: 1 is as good as random, 0
is the best known point.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, wilcoxon

from loadtests.quality.results import Line
from loadtests.quality.tasks import Task

Floats = NDArray[np.float64]
BASELINE = "random"
RESAMPLES = 4000
# Of the evaluations: where the median of random search is the best point already.
EARLY = 10
# One run counts no worse than this, so that a mean is not about a single unlucky run.
WORST_REGRET = 2.0
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Which runs are compared: after so many evaluations, of the seeds below a number."""

    in_flight: int
    evaluations: int
    seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean, and where it may lie with other seeds."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """One entrant against another over some tasks. difference: of the mean regrets, above 0 the
    first is worse. won: the share of tasks and seeds in which the first is better, ties half.
    better, worse: tasks in which it is so by Wilcoxon's signed-rank test."""

    tasks: int
    difference: Interval
    won: float
    better: int
    worse: int


def value_at(curve: Sequence[tuple[int, float]], evaluations: int) -> float:
    """The least loss after so many evaluations; the curve begins at the first."""
    return [loss for at, loss in curve if at <= evaluations][-1]


class Scores:
    """All lines of the tasks, ready to be compared."""

    def __init__(self, lines: Iterable[Line], tasks: Sequence[Task]) -> None:
        self.tasks = {task.name: task for task in tasks}
        self._curves: dict[tuple[str, str, int], dict[int, Line]] = defaultdict(dict)
        for line in lines:
            job = line.job
            if job.task in self.tasks:
                known = self._curves[job.entrant, job.task, job.in_flight].get(job.seed)
                if known is None or known.job.evaluations < job.evaluations:
                    self._curves[job.entrant, job.task, job.in_flight][job.seed] = line
        self._least = {name: self._least_of(name) for name in self.tasks}

    def losses(self, entrant: str, task: str, field: Field, at: int | None = None) -> Floats | None:
        """(seeds,): the regrets before they are normalised; None: runs are missing."""
        lines = self._curves.get((entrant, task, field.in_flight), {})
        chosen = [lines[seed] for seed in range(field.seeds) if seed in lines]
        whole = [line for line in chosen if line.job.evaluations >= field.evaluations]
        if len(whole) < field.seeds:
            return None
        found = [value_at(line.played.curve, at or field.evaluations) for line in whole]
        return np.array(found) - self._least[task]

    def regrets(
        self, entrant: str, task: str, field: Field, at: int | None = None
    ) -> Floats | None:
        """(seeds,): normalised; None: runs are missing."""
        losses, scale = self.losses(entrant, task, field, at), self._scale(task, field)
        if losses is None or scale is None:
            return None
        return np.minimum(losses / scale, WORST_REGRET)

    def complete(self, tasks: Sequence[str], field: Field, names: Sequence[str]) -> list[str]:
        """The entrants that have all runs."""
        return [
            name
            for name in names
            if all(self.regrets(name, task, field) is not None for task in tasks)
        ]

    def table(self, entrant: str, tasks: Sequence[str], field: Field) -> Floats:
        """(tasks, seeds): normalised regrets. KeyError: runs are missing."""
        rows = [self.regrets(entrant, task, field) for task in tasks]
        if any(row is None for row in rows):
            raise KeyError(entrant)
        return np.array(rows)

    def seconds_per_point(self, entrant: str, tasks: Sequence[str], field: Field) -> float:
        lines = [
            line
            for task in tasks
            for line in self._curves.get((entrant, task, field.in_flight), {}).values()
        ]
        return float(np.mean([line.played.seconds / line.job.evaluations for line in lines]))

    def versions(self, entrant: str) -> set[str]:
        return {
            line.version
            for (name, _, _), lines in self._curves.items()
            if name == entrant
            for line in lines.values()
        }

    def _least_of(self, task: str) -> float:
        if self.tasks[task].has_known_best:
            return 0.0
        found = [
            line.played.curve[-1][1]
            for (_, name, _), lines in self._curves.items()
            if name == task
            for line in lines.values()
        ]
        return min(found, default=0.0)

    def _scale(self, task: str, field: Field) -> float | None:
        sequential = Field(in_flight=1, evaluations=field.evaluations, seeds=field.seeds)
        for at in (field.evaluations, EARLY):
            losses = self.losses(BASELINE, task, sequential, at)
            if losses is None:
                return None
            if np.median(losses) > 0:
                return float(np.median(losses))
        return 1.0


def interval(table: Floats, share: float = 0.95) -> Interval:
    """Of the mean over tasks and seeds; the seeds of each task are drawn anew."""
    return _interval(float(table.mean()), _resampled(table), share)


def ranks(tables: Mapping[str, Floats]) -> dict[str, float]:
    """Mean rank over tasks and seeds, 1 is the best; equals share their ranks."""
    stacked = np.array(list(tables.values()))
    means = rankdata(stacked, axis=0).mean(axis=(1, 2))
    return dict(zip(tables, means.tolist(), strict=True))


def duel(first: Floats, second: Floats, share: float) -> Duel:
    """Both (tasks, seeds), in the same order: a seed stands for the same instance in both."""
    differences = first - second
    won = (np.sign(-differences).mean(axis=1) + 1) / 2
    clear = np.array([_is_clear(row) for row in differences])
    mean = float(differences.mean())
    return Duel(
        tasks=len(first),
        difference=_interval(mean, _resampled(differences), share),
        won=float(won.mean()),
        better=int((clear & (won > 0.5)).sum()),
        worse=int((clear & (won < 0.5)).sum()),
    )


def _is_clear(differences: Floats) -> bool:
    return (
        bool(differences.any())
        and float(wilcoxon(differences, method="asymptotic").pvalue) < SIGNIFICANT
    )


def _resampled(table: Floats) -> Floats:
    """(RESAMPLES,): means of the table with each task's seeds drawn with replacement."""
    seeds = table.shape[1]
    rng = np.random.default_rng(0)
    sums = np.zeros(RESAMPLES)
    for row in table:
        sums += rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES) @ row
    return sums / table.size


def _interval(mean: float, resampled: Floats, share: float) -> Interval:
    low, high = np.quantile(resampled, [(1 - share) / 2, (1 + share) / 2])
    return Interval(mean=mean, low=float(low), high=float(high))
