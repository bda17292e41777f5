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
from trialbus.kernel.suggestion import Mark

if TYPE_CHECKING:
    from random import Random


class Algorithm(Protocol):
    """The law: an instance that was told the same past, in whatever portions, answers the same
    request, with generators in the same state, with the same points."""

    def restore(self, points: Sequence[PointTexts], marks: Sequence[Mark] = (), /) -> None:
        """Take in points that were proposed earlier, in order, behind those already known, with the
        marks that this algorithm gave them; empty: none of them has any."""

    def tell(self, finished: Sequence[FinishedTrial]) -> None:
        """Take in finished trials, in order of their numbers. Each is told once."""

    def propose(self, request: ProposalRequest, rng: "Random") -> Proposal:
        """Draw points, and remember them as `restore` would. `rng` is seeded by the request.

        Fewer than asked for, and not exhausted: it waits for results; it is asked again when more
        trials have ended. At least one must be running then.

        An algorithm that does not look at results makes its i-th point a function of i and the
        study's seed, not of how requests are cut: `rng.seed(point_seed(study.seed, i))`.
        """


Factory = Callable[[Study], Algorithm]
