"""Tree-structured Parzen estimators: points that are likelier among good ones than among others."""

import math
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trialbus.kernel.axes import Axis
from trialbus.kernel.catalogue import read_settings
from trialbus.kernel.proposals import (
    FinishedTrial,
    PointTexts,
    Proposal,
    ProposalRequest,
    Study,
)
from trialbus.kernel.space import Point, SearchSpace
from trialbus.kernel.suggestion import Mark
from trialbus_suggestion.core.descriptions.modelling import MULTIVARIATE_TPE, TPE
from trialbus_suggestion.core.losses import loss_of
from trialbus_suggestion.core.parzen import (
    Column,
    Estimator,
    Floats,
    IndependentEstimator,
    Indexes,
    JointEstimator,
    Sample,
)
from trialbus_suggestion.core.seen import SeenPoints, draw, draw_unseen

if TYPE_CHECKING:
    from random import Random

# More good points than this would blur where the best ones are (hyperopt, Optuna).
MAX_GOOD = 25
# A share of the root: 2 of 10 trials, 6 of 100, 19 of 1,000. Greedier than a tenth once there are
# fifty, which finds better points on most of the functions of docs/benchmarks.
MULTIVARIATE_GAMMA = 0.6
# A heavier prior, or one lighter than the inverse, changes nothing but overflows.
MAX_PRIOR = 1e9
# Draws of candidates that are all seen before the model is not asked any more.
MAX_ROUNDS = 4

Fit = Callable[[Sequence[Column], Sample], Estimator]


class ParzenSearch:
    """Points that are proposed and not finished count as running, which are taken for bad (a
    constant liar that lies the worst): a batch spreads, and no two points are the same.
    `good` says how many of so many ended trials are.

    The order in which trials finish does not matter, only which have.
    """

    def __init__(
        self,
        study: Study,
        *,
        startup: int,
        candidates: int,
        avoids: bool,
        good: Callable[[int], int],
        fit: Fit,
    ) -> None:
        self._startup, self._candidates, self._avoids = max(startup, 1), candidates, avoids
        self._good_of, self._fit = good, fit
        self._objective = study.objective
        self._space = SearchSpace(study.parameters)
        self._seen = SeenPoints(self._space)
        self._coding = Coding(self._space)
        self._table = Table(len(self._coding.columns))
        self._ranked: list[tuple[float, int]] = []
        self._uninformative: list[int] = []

    def restore(self, points: Sequence[PointTexts], _marks: Sequence[Mark] = (), /) -> None:
        for texts in points:
            self._remember(self._space.parse(texts))

    def tell(self, finished: Sequence[FinishedTrial]) -> None:
        for trial in finished:
            loss = loss_of(trial, self._objective)
            if loss is None:
                self._uninformative.append(trial.index)
            else:
                insort(self._ranked, (loss, trial.index))

    def propose(self, request: ProposalRequest, rng: "Random") -> Proposal:
        points: list[PointTexts] = []
        for _ in range(request.count):
            point = self._next(rng)
            if point is None:
                break
            self._remember(point)
            points.append(self._space.key(point))
        return Proposal(points=tuple(points), exhausted=len(points) < request.count)

    def _remember(self, point: Point) -> None:
        self._table.append(self._coding.encode(point))
        self._seen.add(point)

    def _next(self, rng: "Random") -> Point | None:
        if self._avoids and self._seen.is_spent:
            return None
        good = self._good()
        if good and self._coding.columns:
            for point in self._promising(good, rng):
                if not self._avoids or point not in self._seen:
                    return point
        return draw_unseen(self._space, self._seen, rng) if self._avoids else draw(self._space, rng)

    def _good(self) -> list[int]:
        """The trials with the lowest losses; empty: too little is known yet."""
        count = len(self._ranked)
        if count < self._startup:
            return []
        best = self._ranked[: min(self._good_of(count), MAX_GOOD)]
        return [index for loss, index in best if loss < math.inf]

    def _promising(self, good: list[int], rng: "Random") -> Iterator[Point]:
        """Points by falling gain; drawn anew, some times, when nobody wants them."""
        chosen, others = self._samples(good)
        likely, unlikely = (self._fit(self._coding.columns, it) for it in (chosen, others))
        for _ in range(MAX_ROUNDS):
            places = self._coding.snapped(likely.draw(self._candidates, rng))
            gains = likely.log_densities(places) - unlikely.log_densities(places)
            yield self._coding.decode(_best_of_each(places, gains))
            for row in np.argsort(-gains.sum(axis=1), kind="stable"):
                yield self._coding.decode(places[row])

    def _samples(self, good: list[int]) -> tuple[Sample, Sample]:
        is_good = np.zeros(len(self._table), dtype=bool)
        is_good[good] = True
        is_other = ~is_good
        is_other[self._uninformative] = False
        return self._table.sample(is_good), self._table.sample(is_other)


class Table:
    """Coded points, also sorted by each column: sorted once, each new point is only merged in."""

    def __init__(self, columns: int) -> None:
        self._rows = np.empty((64, columns))
        self._count = 0
        self._order = np.empty((columns, 0), dtype=np.intp)

    def __len__(self) -> int:
        return self._count

    def append(self, row: Sequence[float]) -> None:
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._count] = row
        self._count += 1

    def sample(self, members: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Sample:
        """The points at `members`, in the order of their trials."""
        order = self._merged()
        places = np.cumsum(members) - 1
        ordered = places[order[members[order]]].reshape(len(order), -1)
        return Sample(points=self._rows[: self._count][members], order=ordered)

    def _merged(self) -> Indexes:
        known = self._order.shape[1]
        if known < self._count:
            new = np.tile(np.arange(known, self._count), (len(self._order), 1))
            order = np.concatenate([self._order, new], axis=1)
            values = np.take_along_axis(self._rows[: self._count].T, order, axis=1)
            # Stable: equal values stay in the order of their trials, however they came.
            moves = np.argsort(values, axis=1, kind="stable")
            self._order = np.take_along_axis(order, moves, axis=1)
        return self._order


class Coding:
    """Between points and coded points; parameters with a single value have no column."""

    def __init__(self, space: SearchSpace) -> None:
        self._axes = space.axes
        self._free = [i for i, axis in enumerate(space.axes) if axis.size != 1]
        # Right where there is but one value, written over elsewhere.
        self._fixed = [axis.from_unit(0.5) for axis in space.axes]
        self.columns = [_column(space.axes[i]) for i in self._free]

    def encode(self, point: Point) -> list[float]:
        return [
            float(self._axes[i].index_of(point[i]))
            if column.choices
            else self._axes[i].to_unit(point[i])
            for i, column in zip(self._free, self.columns, strict=True)
        ]

    def decode(self, row: Floats) -> Point:
        values = list(self._fixed)
        for i, column, code in zip(self._free, self.columns, row.tolist(), strict=True):
            axis = self._axes[i]
            values[i] = axis.value_at(int(code)) if column.choices else axis.from_unit(code)
        return tuple(values)

    def snapped(self, rows: list[list[float]]) -> Floats:
        """Every number that lies between two values of a grid moved to the middle of its own."""
        for at, (i, column) in enumerate(zip(self._free, self.columns, strict=True)):
            axis = self._axes[i]
            if axis.size is not None and not column.choices:
                for row in rows:
                    row[at] = axis.to_unit(axis.from_unit(row[at]))
        return np.array(rows)


def univariate(study: Study) -> ParzenSearch:
    """Each parameter by itself (Bergstra, Bardenet, Bengio, Kégl 2011)."""
    settings = read_settings(TPE, study.algorithm.settings)
    gamma = float(settings["gamma"])
    prior_weight = min(max(float(settings["prior_weight"]), 1 / MAX_PRIOR), MAX_PRIOR)
    return ParzenSearch(
        study,
        startup=int(settings["n_startup_trials"]),
        candidates=int(settings["n_EI_candidates"]),
        avoids=settings["duplicates"] == "avoid",
        good=lambda count: math.ceil(gamma * count),
        fit=lambda columns, sample: IndependentEstimator(columns, sample, prior_weight),
    )


def multivariate(study: Study) -> ParzenSearch:
    """All parameters together (Falkner, Klein, Hutter 2018; Watanabe 2023)."""
    settings = read_settings(MULTIVARIATE_TPE, study.algorithm.settings)
    return ParzenSearch(
        study,
        startup=int(settings["n_startup_trials"]),
        candidates=max(int(settings["n_ei_candidates"]), 1),
        avoids=settings["duplicates"] == "avoid",
        good=lambda count: math.ceil(MULTIVARIATE_GAMMA * math.sqrt(count)),
        fit=lambda columns, sample: JointEstimator(columns, sample, prior_weight=1.0),
    )


def _best_of_each(places: Floats, gains: Floats) -> Floats:
    """With a gain for each column: the best value of each; with one for all: the best row."""
    best = gains.argmax(axis=0)
    columns = np.arange(places.shape[1])
    point: Floats = places[best if len(best) == len(columns) else best[0], columns]
    return point


def _column(axis: Axis) -> Column:
    if not axis.is_numeric:
        return Column(choices=axis.size or 0)
    return Column(narrowest=0.5 / axis.size if axis.size else 0.0)
