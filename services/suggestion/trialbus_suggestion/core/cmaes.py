"""CMA-ES with any number of trials at a time: every result is learned from, however late."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import islice
from typing import TYPE_CHECKING, cast

import numpy as np

from trialbus.kernel.axes import Axis, Grid
from trialbus.kernel.catalogue import read_settings
from trialbus.kernel.proposals import (
    FinishedTrial,
    PointTexts,
    Proposal,
    ProposalRequest,
    Study,
)
from trialbus.kernel.space import Point, SearchSpace
from trialbus.kernel.suggestion import UNMARKED, Mark
from trialbus_suggestion.core.cmaes_marks import (
    distances,
    generation_of,
    is_random,
    marked,
    passed_over_by,
)
from trialbus_suggestion.core.cmaes_runs import SEED_BITS, Evolution, Floats, Strategy
from trialbus_suggestion.core.descriptions.cmaes import CMAES
from trialbus_suggestion.core.losses import loss_of
from trialbus_suggestion.core.seeds import point_seed
from trialbus_suggestion.core.seen import SeenPoints, draw, draw_unseen

if TYPE_CHECKING:
    from random import Random

DEFAULT_SIGMA = 1 / 6
# With more, nearly all first points would lie on the bounds.
MAX_SIGMA = 1.0
# A distribution that has nothing new in so many draws has converged.
MAX_TRIES = 16
# Results of distributions before that many updates are left out: with trials of very different
# durations they draw the mean back to where it came from.
MAX_AGE = 4
# Of more values, no step of the search is as small as their distance.
MAX_CELLS = 2**20


class CmaEs:
    """Points are samples of the distribution of the moment, one after another. Before one is drawn,
    the distribution learns from the first `population` results by index that it has not learned
    from, once there are so many. So nobody waits, and results of the last few distributions count,
    too: leaving them out, as Optuna and goptuna do, loses much (decision 0009).

    A point's mark says how many updates came before it, and which running trials the last of them
    passed over. So the state is a function of points, marks and results, in whatever order they
    came; a sample is a function of its index and the distribution, and is drawn anew by `restore`.
    """

    def __init__(self, study: Study) -> None:
        settings = read_settings(CMAES, study.algorithm.settings)
        self._objective = study.objective
        self._seed = study.seed
        self._space = SearchSpace(study.parameters)
        self._seen = SeenPoints(self._space)
        self._avoids = settings["duplicates"] == "avoid"
        self._coding = Coding(self._space)
        self._evolution = Evolution(
            steps=self._coding.steps,
            sigma=min(float(settings["sigma"]) or DEFAULT_SIGMA, MAX_SIGMA),
            population=int(settings["population_size"]) or None,
            strategy=cast(Strategy, settings["restart_strategy"]),
            seed=study.seed,
        )
        self._count = 0
        self._restored: deque[tuple[PointTexts, Mark]] = deque()
        # Of this run, in order, what no update has learned from: its generation and itself.
        self._samples: dict[int, tuple[int, Floats]] = {}
        # None: the trial says nothing.
        self._losses: dict[int, float | None] = {}

    def restore(self, points: Sequence[PointTexts], marks: Sequence[Mark] = (), /) -> None:
        # Taken in with the next request: by then all results are known that they came from.
        self._restored.extend(zip(points, marks or [UNMARKED] * len(points), strict=True))

    def tell(self, finished: Sequence[FinishedTrial]) -> None:
        for trial in finished:
            self._losses[trial.index] = loss_of(trial, self._objective)

    def propose(self, request: ProposalRequest, rng: "Random") -> Proposal:
        while self._restored:
            self._repeat(*self._restored.popleft(), rng)
        self._forget_losses()
        drawn: list[tuple[Point, Mark]] = []
        while len(drawn) < request.count and (new := self._next(rng)) is not None:
            drawn.append(new)
        return Proposal(
            points=tuple(self._space.key(point) for point, _ in drawn),
            marks=tuple(mark for _, mark in drawn),
            exhausted=len(drawn) < request.count,
        )

    def _next(self, rng: "Random") -> tuple[Point, Mark] | None:
        if self._avoids and self._seen.is_spent:
            return None
        index, evolution = self._count, self._evolution
        passed_over = self._learn_when_ready()
        sampled = self._sampled(rng, self._is_wanted)
        if sampled is None:
            point = self._at_random(rng)
            if point is None:
                return None
            self._give_up()
        else:
            point = sampled[0]
            self._samples[index] = (evolution.updates, sampled[1])
        self._remember(point)
        return point, marked(
            generation=evolution.updates,
            restart=evolution.restarts,
            passed_over=passed_over,
            at_random=sampled is None,
        )

    def _repeat(self, texts: PointTexts, mark: Mark, rng: "Random") -> None:
        """What `_next` did for this point."""
        point, generation = self._space.parse(texts), generation_of(mark)
        if generation is not None:
            if generation > self._evolution.updates:
                self._learn(self._results(passed_over_by(mark, self._count)))
            if is_random(mark):
                self._give_up()
            else:
                sampled = self._sampled(rng, point.__eq__)
                # On a machine that computes differently: where it lies is known all the same.
                sample = self._coding.encode(point) if sampled is None else sampled[1]
                self._samples[self._count] = (generation, sample)
        self._remember(point)

    def _remember(self, point: Point) -> None:
        self._seen.add(point)
        self._count += 1

    def _is_wanted(self, point: Point) -> bool:
        return not self._avoids or point not in self._seen

    def _sampled(
        self, rng: "Random", is_wanted: Callable[[Point], bool]
    ) -> tuple[Point, Floats] | None:
        """The first of a few samples that is wanted, and as the distribution is told of it."""
        rng.seed(point_seed(self._seed, self._count))
        if self._evolution.is_over:
            return None
        samples = self._evolution.samples(rng.getrandbits(SEED_BITS))
        for evaluated, told in islice(samples, MAX_TRIES):
            point = self._coding.decode(evaluated, rng)
            if is_wanted(point):
                return point, told
        return None

    def _at_random(self, rng: "Random") -> Point | None:
        return draw_unseen(self._space, self._seen, rng) if self._avoids else draw(self._space, rng)

    def _learn_when_ready(self) -> str:
        """Which running trials were passed over, for the mark; empty: none, or it is not ready."""
        members = self._results()
        if not members or len(members) < self._evolution.population:
            return ""
        running = [i for i in self._samples if i < members[-1] and i not in self._losses]
        passed_over = distances(running, self._count)
        if passed_over is None:  # too many to be noted: it waits for some of them
            return ""
        self._learn(members)
        return passed_over

    def _results(self, passed_over: Collection[int] = ()) -> list[int]:
        """The trials that the next update learns from; fewer than it needs: it is not ready."""
        if self._evolution.is_over:
            return []
        told = (
            index
            for index in self._samples
            if self._losses.get(index) is not None and index not in passed_over
        )
        return list(islice(told, self._evolution.population))

    def _learn(self, members: list[int]) -> None:
        if len(members) < self._evolution.population:
            raise ValueError(f"results are missing that point {self._count} was drawn after")
        solutions = [(self._samples.pop(i)[1], cast(float, self._losses.pop(i))) for i in members]
        if self._evolution.update(solutions):
            self._samples.clear()
        oldest = self._evolution.updates - MAX_AGE
        for index in [i for i, (generation, _) in self._samples.items() if generation < oldest]:
            del self._samples[index]

    def _give_up(self) -> None:
        """The distribution has converged: all that it would draw has been seen."""
        self._evolution.restart()
        self._samples.clear()

    def _forget_losses(self) -> None:
        """Those that will not be learned from, and the samples of trials that say nothing."""
        silent = [i for i in self._samples if self._losses.get(i, 0.0) is None]
        for index in silent:
            del self._samples[index]
        self._losses = {
            index: loss
            for index, loss in self._losses.items()
            if index in self._samples or index >= self._count
        }


class Coding:
    """Between points and coordinates in [0, 1]: of the parameters with more than one value, numbers
    and lists of numbers. The values of the others are drawn at random.

    steps: the width of a coordinate's cells; 0: a continuum, which numbers that are not equally
    likely count as, too, and are rounded.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._axes = space.axes
        self._searched = [
            i for i, axis in enumerate(space.axes) if axis.is_numeric and axis.size != 1
        ]
        self._drawn = [i for i in range(len(space.axes)) if i not in self._searched]
        self.steps = [_step(space.axes[i]) for i in self._searched]

    def decode(self, row: Floats, rng: "Random") -> Point:
        shares = dict(zip(self._searched, row.tolist(), strict=True))
        shares |= {i: rng.random() for i in self._drawn}
        return tuple(axis.from_unit(shares[i]) for i, axis in enumerate(self._axes))

    def encode(self, point: Point) -> Floats:
        return np.array([self._axes[i].to_unit(point[i]) for i in self._searched])


def _step(axis: Axis) -> float:
    if axis.size is None or axis.size > MAX_CELLS:
        return 0.0
    return 1 / axis.size if not isinstance(axis, Grid) or axis.is_uniform else 0.0
