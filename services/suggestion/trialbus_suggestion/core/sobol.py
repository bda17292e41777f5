"""Sobol' search: a scrambled low-discrepancy sequence instead of independent draws."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
from trialbus_suggestion.core.descriptions.sampling import SOBOL
from trialbus_suggestion.core.seeds import point_seed
from trialbus_suggestion.core.seen import SeenPoints, draw_unseen
from trialbus_suggestion.core.sobol_sequence import ScrambledSobol

if TYPE_CHECKING:
    from random import Random


class SobolSearch:
    """The i-th point is that of the sequence, a function of seed and i. Where a step or a list
    makes it one that was proposed before, an unseen one is drawn at random in its place."""

    def __init__(self, study: Study) -> None:
        settings = read_settings(SOBOL, study.algorithm.settings)
        self._seed = study.seed
        self._space = SearchSpace(study.parameters)
        self._seen = SeenPoints(self._space)
        self._avoids = settings["duplicates"] == "avoid"
        self._sequence = ScrambledSobol(len(study.parameters), study.seed)

    def restore(self, points: Sequence[PointTexts], _marks: Sequence[Mark] = (), /) -> None:
        if self._avoids:
            for texts in points:
                self._seen.add(self._space.parse(texts))

    def tell(self, finished: Sequence[FinishedTrial]) -> None:
        """Nothing to learn."""

    def propose(self, request: ProposalRequest, rng: "Random") -> Proposal:
        points: list[PointTexts] = []
        for index in range(request.first, request.first + request.count):
            point = self._next(index, rng)
            if point is None:
                break
            points.append(self._space.key(point))
        return Proposal(points=tuple(points), exhausted=len(points) < request.count)

    def _next(self, index: int, rng: "Random") -> Point | None:
        point = self._space.from_unit(self._sequence.at(index))
        if not self._avoids:
            return point
        if point in self._seen:
            rng.seed(point_seed(self._seed, index))
            unseen = draw_unseen(self._space, self._seen, rng)
            if unseen is None:
                return None
            point = unseen
        self._seen.add(point)
        return point
