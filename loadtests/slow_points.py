"""An algorithm that burns the processor for each point, as a package of somebody else brings one.

`fairness` puts this file and an entry point for it onto the import path of a stack.
"""

import time
from collections.abc import Sequence
from random import Random

from trialbus.kernel.catalogue import AlgorithmDescription, Setting, read_settings
from trialbus.kernel.proposals import (
    FinishedTrial,
    PointTexts,
    Proposal,
    ProposalRequest,
    Study,
)
from trialbus.kernel.space import SearchSpace
from trialbus.kernel.suggestion import Mark


class SlowPoints:
    """Random points, at the price of a model's."""

    def __init__(self, study: Study) -> None:
        self._space = SearchSpace(study.parameters)
        self._burn_s = float(read_settings(DESCRIPTION, study.algorithm.settings)["burn_s"])

    def restore(self, points: Sequence[PointTexts], marks: Sequence[Mark] = (), /) -> None:
        """Nothing to remember."""

    def tell(self, finished: Sequence[FinishedTrial]) -> None:
        """Nothing to learn."""

    def propose(self, request: ProposalRequest, rng: Random) -> Proposal:
        points = []
        for _ in range(request.count):
            until = time.monotonic() + self._burn_s
            while time.monotonic() < until:
                pass
            cube = [rng.random() for _ in self._space.axes]
            points.append(self._space.key(self._space.from_unit(cube)))
        return Proposal(points=tuple(points))


DESCRIPTION = AlgorithmDescription(
    name="slow-points",
    meaning="burns the processor for every point",
    implementation="slow_points:SlowPoints",
    look_ahead="pending",
    parameter_types=frozenset({"double"}),
    distributions=frozenset({"uniform"}),
    settings=(Setting(name="burn_s", kind="float", default=5.0),),
)
