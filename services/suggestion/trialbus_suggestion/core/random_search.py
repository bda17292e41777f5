"""Random search: independent draws, no point twice while others are left."""

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
from trialbus_suggestion.core.descriptions.sampling import RANDOM
from trialbus_suggestion.core.seeds import point_seed
from trialbus_suggestion.core.seen import SeenPoints, draw, draw_unseen

if TYPE_CHECKING:
    from random import Random


class RandomSearch:
    """The i-th point is a function of seed, i and, to avoid duplicates, the points before it: the
    same however many are asked for at a time. With `duplicates=allow` it forgets what it drew, as
    Katib does."""

    def __init__(self, study: Study) -> None:
        settings = read_settings(RANDOM, study.algorithm.settings)
        self._seed = study.seed
        self._space = SearchSpace(study.parameters)
        self._seen = SeenPoints(self._space)
        self._avoids = settings["duplicates"] == "avoid"

    def restore(self, points: Sequence[PointTexts], _marks: Sequence[Mark] = (), /) -> None:
        if self._avoids:
            for texts in points:
                self._seen.add(self._space.parse(texts))

    def tell(self, finished: Sequence[FinishedTrial]) -> None:
        """Nothing to learn."""

    def propose(self, request: ProposalRequest, rng: "Random") -> Proposal:
        points: list[PointTexts] = []
        for index in range(request.first, request.first + request.count):
            rng.seed(point_seed(self._seed, index))
            point = self._next(rng)
            if point is None:
                break
            points.append(self._space.key(point))
        return Proposal(points=tuple(points), exhausted=len(points) < request.count)

    def _next(self, rng: "Random") -> Point | None:
        if not self._avoids:
            return draw(self._space, rng)
        point = draw_unseen(self._space, self._seen, rng)
        if point is not None:
            self._seen.add(point)
        return point
