"""ASHA: asynchronous successive halving, by promotion; and several brackets of it at once.

Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht, Talwalkar 2020, "A System for Massively
Parallel Hyperparameter Tuning", MLSys, algorithm 2 and section 3.3; R is r_l, r is r_min.
"""

import math
from bisect import bisect_left, bisect_right, insort
from fractions import Fraction
from heapq import heappop, heappush
from itertools import accumulate
from typing import TYPE_CHECKING

from trialbus.kernel.catalogue import AlgorithmDescription, read_settings
from trialbus.kernel.proposals import Study
from trialbus_suggestion.core.descriptions.rungs import ASHA, ASYNC_HYPERBAND
from trialbus_suggestion.core.rung_scale import Scale
from trialbus_suggestion.core.rungs import Job, Level, Place, RungSearch
from trialbus_suggestion.core.seeds import keyed_bits

if TYPE_CHECKING:
    from random import Random

_BITS = 64


class _Rung:
    """The ended trials of one rung: who is among the best is known in logarithmic time."""

    def __init__(self) -> None:
        self._ended = 0
        # (loss, trial) of finite losses; the heap holds all that are not promoted, and some more.
        self._ranked: list[tuple[float, int]] = []
        self._waiting: list[tuple[float, int]] = []
        self._promoted: set[int] = set()

    def record(self, index: int, loss: float | None) -> None:
        """Failed ones count in the size of the rung, and are never promoted."""
        if loss is None:
            return
        self._ended += 1
        if loss < math.inf:
            insort(self._ranked, (loss, index))
            heappush(self._waiting, (loss, index))

    def promote(self, index: int) -> None:
        self._promoted.add(index)

    def promotable(self, eta: Fraction) -> int | None:
        """The best of the best 1/eta that is not promoted yet."""
        while self._waiting and self._waiting[0][1] in self._promoted:
            heappop(self._waiting)
        if not self._waiting:
            return None
        best = self._waiting[0]
        is_among = bisect_left(self._ranked, best) < math.floor(self._ended / eta)
        return best[1] if is_among else None


class AsynchronousHalving(RungSearch):
    """Never waits while a configuration is left to begin.

    early_stopping_rates: of the brackets, the paper's s: the rungs of bracket s begin with the
    resource r_min * eta**s. shares: of the new configurations, that each bracket gets.
    """

    def __init__(
        self,
        study: Study,
        description: AlgorithmDescription,
        early_stopping_rates: range,
        shares: list[Fraction],
    ) -> None:
        super().__init__(study, description)
        self._rates = early_stopping_rates
        self._bounds = list(accumulate(shares))
        self._seed = study.seed
        self._brackets: list[list[_Rung]] = [[] for _ in early_stopping_rates]

    def _first_place(self) -> Place:
        if len(self._rates) == 1:
            return Place(0, 0)
        bits = keyed_bits(_BITS, "bracket", self._seed, len(self._configurations))
        share = Fraction(bits, 2**_BITS) * self._bounds[-1]
        return Place(bisect_right(self._bounds, share), 0)

    def _level(self, place: Place) -> Level:
        rate = self._rates[place.bracket]
        height = rate + place.rung
        return Level(
            resource=self._scale.from_below(height),
            bracket=rate,
            is_top=height >= self._scale.top,
        )

    def _rung(self, place: Place) -> _Rung:
        rungs = self._brackets[place.bracket]
        while len(rungs) <= place.rung:
            rungs.append(_Rung())
        return rungs[place.rung]

    def _enter(self, place: Place, index: int, parent: int | None) -> None:  # noqa: ARG002
        if parent is not None:
            self._rung(place._replace(rung=place.rung - 1)).promote(parent)

    def _record(self, place: Place, index: int, loss: float | None) -> None:
        self._rung(place).record(index, loss)

    def _next(self, rng: "Random") -> Job | None:
        promotion = self._promotion()
        if promotion is not None:
            return promotion
        configuration = self._configurations.draw(rng)
        return None if configuration is None else Job(configuration, self._first_place(), None)

    def _promotion(self) -> Job | None:
        """From the rung with the most resource, and of equal ones from the earlier bracket."""
        highest = max(
            rate + len(rungs) for rate, rungs in zip(self._rates, self._brackets, strict=True)
        )
        for height in range(min(highest, self._scale.top) - 1, -1, -1):
            for bracket, (rate, rungs) in enumerate(zip(self._rates, self._brackets, strict=True)):
                if not 0 <= height - rate < len(rungs):
                    continue
                index = rungs[height - rate].promotable(self._scale.eta)
                if index is not None:
                    place = Place(bracket, height - rate + 1)
                    return Job(self._configurations.of_trial(index), place, index)
        return None


def asha(study: Study) -> AsynchronousHalving:
    """One bracket, of the minimum early-stopping rate `s`."""
    rate = int(read_settings(ASHA, study.algorithm.settings)["s"])
    return AsynchronousHalving(study, ASHA, range(rate, rate + 1), [Fraction(1)])


def async_hyperband(study: Study) -> AsynchronousHalving:
    """All brackets, or the first few: each gets as many of the configurations as in Hyperband, so
    that all are given the same budget."""
    settings = read_settings(ASYNC_HYPERBAND, study.algorithm.settings)
    scale = Scale.of(settings)
    rates = range(min(int(settings.get("brackets", scale.top + 1)), scale.top + 1))
    sizes = [Fraction(scale.bracket_size(scale.top - rate)) for rate in rates]
    return AsynchronousHalving(study, ASYNC_HYPERBAND, rates, sizes)
