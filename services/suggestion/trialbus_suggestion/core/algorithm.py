"""What an algorithm is: a cache of the past, and a pure function from it to new points."""

from collections.abc import Callable, Sequence
from typing import Protocol

from trialbus.kernel.proposals import (
    FinishedTrial,
    PointTexts,
    Proposal,
    ProposalRequest,
    Study,
)


class Algorithm(Protocol):
    """The law: an instance that was told the same past, in whatever portions, answers the same
    request with the same points. All randomness comes from the request's seed."""

    def restore(self, points: Sequence[PointTexts]) -> None:
        """Take in points that were proposed earlier, in order, behind those already known."""

    def tell(self, finished: Sequence[FinishedTrial]) -> None:
        """Take in finished trials, in order of their numbers. Each is told once."""

    def propose(self, request: ProposalRequest) -> Proposal:
        """Draw points, and remember them as `restore` would."""


Factory = Callable[[Study], Algorithm]
