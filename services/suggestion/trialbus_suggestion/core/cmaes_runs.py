"""Runs of CMA-ES in the unit cube, one after another, by a strategy of restarts."""

import math
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Literal, TypeAlias, cast

import cmaes
import numpy as np

from trialbus_suggestion.core.seeds import keyed_bits

Floats: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.float64]]"
Solution = tuple[Floats, float]
Strategy = Literal["none", "ipop", "bipop"]

# A numpy generator is seeded by 32 bits.
SEED_BITS = 32
# As many as a double holds.
SHARE_BITS = 53
POPULATION_GROWTH = 2
# As in Hansen 2009; by then nobody has so many trials.
MAX_DOUBLINGS = 9


class Restarts:
    """Population, step size and start of each run: ipop after Auger and Hansen 2005, bipop after
    Hansen 2009 (section 2), which spends as many trials on small populations as on large ones."""

    def __init__(self, strategy: Strategy, population: int, sigma: float) -> None:
        self._strategy = strategy
        self._population, self._sigma = population, sigma
        self._last = population, sigma
        self._doublings = 0
        # Trials by regime. The first run counts as small: large ones begin with the first doubling.
        self._spent = {"small": 0, "large": 0}
        self._regime = "small"

    def after(self, spent: int, uniform: Iterator[float]) -> tuple[int, float] | None:
        """Population and step size of the run after one that took `spent` trials; None: there is
        none. uniform: draws from [0, 1)."""
        if self._strategy == "none":
            return None
        if spent == 0:  # it found nothing new to begin with: that says nothing about its size
            return self._last
        self._last = self._sized(spent, uniform)
        return self._last

    def _sized(self, spent: int, uniform: Iterator[float]) -> tuple[int, float]:
        self._spent[self._regime] += spent
        if self._strategy == "bipop" and self._spent["small"] < self._spent["large"]:
            self._regime = "small"
            # Half the last large population, to the power of U^2, in units of the first one.
            largest = float(POPULATION_GROWTH ** (self._doublings - 1))
            factor = largest ** (next(uniform) ** 2)
            return math.floor(self._population * factor), self._sigma * 10 ** (-2 * next(uniform))
        self._regime = "large"
        self._doublings = min(self._doublings + 1, MAX_DOUBLINGS)
        return self._population * POPULATION_GROWTH**self._doublings, self._sigma


class Evolution:
    """A search distribution over `len(steps)` coordinates in [0, 1].

    steps: the width of the cells of a coordinate that has finitely many values, all alike; 0: a
    continuum. Distributions with such coordinates keep a margin of probability for the cells beside
    the mean's own (Hamano, Saito, Nomura, Shirakawa 2022), so that they cannot get stuck in one.
    A function of the updates, in their order: samples leave no trace.
    """

    def __init__(
        self,
        *,
        steps: Sequence[float],
        sigma: float,
        population: int | None,
        strategy: Strategy,
        seed: int,
    ) -> None:
        self._steps = np.array(steps)
        self._bounds = np.array([[step / 2, 1 - step / 2] for step in steps])
        self._seed = seed
        self.updates = 0
        self.restarts = 0
        # Without a coordinate there is nothing to search.
        self.is_over = not steps
        if steps:
            self._cma = self._run(np.full(len(steps), 0.5), sigma, population)
            self._restarts = Restarts(strategy, self._cma.population_size, sigma)

    @property
    def population(self) -> int:
        """How many solutions an update takes."""
        return int(self._cma.population_size)

    def samples(self, seed: int) -> Iterator[tuple[Floats, Floats]]:
        """Without end: a sample as it is to be evaluated, in the middle of a cell where there are
        cells, and as it is told of. The first `n` are a function of seed and distribution."""
        self._cma.reseed_rng(seed)
        while True:
            yield self._cma.ask()

    def update(self, solutions: Sequence[Solution]) -> bool:
        """Learn from `population` samples and their losses, +inf: failed. True: it was the last of
        its run, and the distribution is a new one.

        Nothing is learned where all have failed.
        """
        self.updates += 1
        if all(loss == math.inf for _, loss in solutions):
            return False
        # Losses may be infinite or nearly so; only their order tells.
        with np.errstate(over="ignore", invalid="ignore"):
            self._cma.tell(list(solutions))
            has_converged = bool(self._cma.should_stop())
        if has_converged:
            self.restart()
        return has_converged

    def restart(self) -> None:
        """Give up the run, and begin the next one from anywhere, if there is one."""
        if self.is_over:
            return
        uniform = (
            keyed_bits(SHARE_BITS, "restart", self._seed, self.restarts, i) / 2**SHARE_BITS
            for i in count()
        )
        upcoming = self._restarts.after(self._cma.population_size * self._cma.generation, uniform)
        if upcoming is None:
            self.is_over = True
            return
        population, sigma = upcoming
        low, high = self._bounds.T
        start = low + (high - low) * np.array(list(islice(uniform, len(low))))
        self._cma = self._run(start, sigma, population)
        self.restarts += 1

    def _run(self, mean: Floats, sigma: float, population: int | None) -> cmaes.CMAwM:
        # Without cells it is CMA-ES as it is.
        return cast(
            cmaes.CMAwM,
            cmaes.CMAwM(
                mean=mean,
                sigma=sigma,
                bounds=self._bounds,
                steps=self._steps,
                population_size=population,
            ),
        )
