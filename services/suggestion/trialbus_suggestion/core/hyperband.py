"""Hyperband: successive halving in brackets that trade breadth against depth.

Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar 2018, "Hyperband: A Novel Bandit-Based Approach to
Hyperparameter Optimization", JMLR 18, algorithm 1; R is r_l, in units of r_min.
"""

import math
from bisect import insort
from typing import TYPE_CHECKING

from trialbus.kernel.proposals import Study
from trialbus_suggestion.core.descriptions.rungs import HYPERBAND
from trialbus_suggestion.core.rung_scale import Scale
from trialbus_suggestion.core.rungs import Job, Level, Place, RungSearch

if TYPE_CHECKING:
    from random import Random


class _Rung:
    """Trials of one bracket with the same resource. Only finite losses are ranked."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self._ranked: list[tuple[float, int]] = []
        self._promoted: set[int] = set()
        self._passed = 0

    def record(self, index: int, loss: float | None) -> None:
        self.ended += 1
        if loss is not None and loss < math.inf:
            insort(self._ranked, (loss, index))

    def promote(self, index: int) -> None:
        self._promoted.add(index)

    def promotable(self, count: int) -> int | None:
        """The best of the `count` best that is not promoted yet; the ranks must be final."""
        while self._passed < min(count, len(self._ranked)):
            index = self._ranked[self._passed][1]
            if index not in self._promoted:
                return index
            self._passed += 1
        return None


class _Bracket:
    """The paper's bracket s: rungs 0 to s, of which one at a time has running trials."""

    def __init__(self, scale: Scale, s: int) -> None:
        self._scale = scale
        self.s = s
        self.size = scale.bracket_size(s)
        self.rungs = [_Rung()]
        self._active = 0

    def rung(self, number: int) -> _Rung:
        while len(self.rungs) <= number:
            self.rungs.append(_Rung())
        return self.rungs[number]

    def promotable(self, *, is_filled: bool) -> tuple[Place, int] | None:
        """The rung to go to (its bracket is not said), and who does. is_filled: no configuration
        will begin here any more."""
        if not is_filled:
            return None
        while self._active < self.s:
            rung = self.rung(self._active)
            if rung.ended < rung.begun:
                return None
            index = rung.promotable(self._survivors(self._active))
            if index is not None:
                return Place(0, self._active + 1), index
            self._active += 1
        return None

    def _survivors(self, rung: int) -> int:
        """How many leave a rung: the paper's floor(n_i / eta)."""
        begun = math.floor(self.rungs[0].begun / self._scale.eta**rung)
        return math.floor(begun / self._scale.eta)


class Hyperband(RungSearch):
    """Synchronous: a rung's best are promoted when all of it has ended. Meanwhile free places are
    given to the brackets after it; nobody waits while any bracket has something to begin."""

    def __init__(self, study: Study) -> None:
        super().__init__(study, HYPERBAND)
        self._brackets = [_Bracket(self._scale, self._scale.top)]
        self._is_spent = False

    def _first_place(self) -> Place:
        if self._is_filled(len(self._brackets) - 1) and self._brackets[-1].s > 0:
            self._brackets.append(_Bracket(self._scale, self._brackets[-1].s - 1))
        return Place(len(self._brackets) - 1, 0)

    def _is_filled(self, number: int) -> bool:
        bracket = self._brackets[number]
        return self._is_spent or bracket.rungs[0].begun >= bracket.size

    def _level(self, place: Place) -> Level:
        s = self._brackets[place.bracket].s
        resource = self._scale.from_above(s - place.rung)
        return Level(resource=resource, bracket=s, is_top=place.rung >= s)

    def _enter(self, place: Place, index: int, parent: int | None) -> None:  # noqa: ARG002
        bracket = self._brackets[place.bracket]
        bracket.rung(place.rung).begun += 1
        if parent is not None:
            bracket.rung(place.rung - 1).promote(parent)

    def _record(self, place: Place, index: int, loss: float | None) -> None:
        self._brackets[place.bracket].rung(place.rung).record(index, loss)

    def _next(self, rng: "Random") -> Job | None:
        return self._promotion() or self._new(rng)

    def _promotion(self) -> Job | None:
        """Of the earliest bracket that has one."""
        for number, bracket in enumerate(self._brackets):
            found = bracket.promotable(is_filled=self._is_filled(number))
            if found is not None:
                place, index = found
                configuration = self._configurations.of_trial(index)
                return Job(configuration, place._replace(bracket=number), index)
        return None

    def _new(self, rng: "Random") -> Job | None:
        if self._is_spent or (self._brackets[-1].s == 0 and self._is_filled(-1)):
            return None
        configuration = self._configurations.draw(rng)
        if configuration is None:
            # A bracket that stays smaller is complete with what it has.
            self._is_spent = True
            return self._promotion()
        return Job(configuration, self._first_place(), None)
