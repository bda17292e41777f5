"""Grid search: every point of a finite space once, in a shuffled order."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trialbus.kernel.proposals import (
    FinishedTrial,
    PointTexts,
    Proposal,
    ProposalRequest,
    Study,
)
from trialbus.kernel.space import Point, SearchSpace
from trialbus.kernel.suggestion import Mark
from trialbus_suggestion.core.permutation import Permutation
from trialbus_suggestion.core.seen import SeenPoints

if TYPE_CHECKING:
    from random import Random


class GridSearch:
    """The i-th point is a function of seed and i: the grid is never listed."""

    def __init__(self, study: Study) -> None:
        self._space = SearchSpace(study.parameters)
        size = self._space.cardinality()
        if size is None:
            raise ValueError("a grid needs a step for every double")
        self._order = Permutation(size, study.seed)
        self._seen = SeenPoints(self._space)

    def restore(self, points: Sequence[PointTexts], _marks: Sequence[Mark] = (), /) -> None:
        for texts in points:
            self._seen.add(self._space.parse(texts))

    def tell(self, finished: Sequence[FinishedTrial]) -> None:
        """Nothing to learn."""

    def propose(self, request: ProposalRequest, rng: "Random") -> Proposal:  # noqa: ARG002
        points: list[PointTexts] = []
        for index in range(request.first, request.first + request.count):
            if self._seen.is_spent:
                break
            point = self._unseen(index)
            self._seen.add(point)
            points.append(self._space.key(point))
        return Proposal(points=tuple(points), exhausted=len(points) < request.count)

    def _unseen(self, place: int) -> Point:
        """The point at `place`, unless the past, under another seed, had it: then the next one."""
        while True:
            point = self._space.point_at(self._order.at(place % self._order.size))
            if point not in self._seen:
                return point
            place += 1
