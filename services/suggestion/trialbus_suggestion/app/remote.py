"""Algorithms on other servers: what one is told, and who can be asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.proposals import Proposal, ProposalRequest
from trialbus.kernel.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteQuestion:
    """One request, with the whole past: Katib's protocol resends it each time.

    trials: all that were opened before it, in order; one that finished after the request's
    watermark counts as running. names: by index, what the algorithm itself called its points.
    settings: as it last gave them back, instead of the experiment's; None: it gave none.
    """

    experiment: Experiment
    request: ProposalRequest
    trials: tuple[Trial, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    settings: tuple[tuple[str, str], ...] | None = None


class RemoteAlgorithms(Protocol):
    def serves(self, algorithm: str) -> bool:
        """Whether the algorithm of this name is on another server."""

    async def propose(self, question: RemoteQuestion) -> Proposal:
        """Raises Transient when the server is away or late, Refused when it fails or says that
        the experiment is wrong."""

    async def close(self) -> None:
        """Hang up."""


class NoRemoteAlgorithms:
    def serves(self, algorithm: str) -> bool:  # noqa: ARG002
        return False

    async def propose(self, question: RemoteQuestion) -> Proposal:
        name = question.experiment.spec.algorithm.name
        raise Refused([Problem(field="algorithm", message=f"{name} is on no other server")])

    async def close(self) -> None:
        """Nothing to hang up."""
