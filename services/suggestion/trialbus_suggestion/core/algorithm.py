"""What an algorithm is: a cache of the past, and a pure function from it to new points."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from trialbus.kernel.proposals import (
    FinishedTrial,
    PointTexts,
    Proposal,
    ProposalRequest,
    Study,
)

if TYPE_CHECKING:
    from random import Random


class Algorithm(Protocol):
    """The law: an instance that was told the same past, in whatever portions, answers the same
    request, with generators in the same state, with the same points."""

    def restore(self, points: Sequence[PointTexts]) -> None:
        """Take in points that were proposed earlier, in order, behind those already known."""

    def tell(self, finished: Sequence[FinishedTrial]) -> None:
        """Take in finished trials, in order of their numbers. Each is told once."""

    def propose(self, request: ProposalRequest, rng: "Random") -> Proposal:
        """Draw points, and remember them as `restore` would. `rng` is seeded by the request.

        An algorithm that does not look at results makes its i-th point a function of i and the
        study's seed, not of how requests are cut: `rng.seed(point_seed(study.seed, i))`.
        """


Factory = Callable[[Study], Algorithm]
