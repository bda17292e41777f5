"""Where algorithms compute: off the event loop, with a memory that may be lost at any time.

A memory of an experiment is a cache at a watermark. What it lacks it reads from a `HistorySource`:
usually the last few trials, everything after a restart. So losing it costs time and nothing else.
"""

from typing import Protocol

from trialbus.kernel.proposals import History, Proposal, ProposalRequest, Study


class HistorySource(Protocol):
    """Reads the past of one experiment, as one request may see it."""

    async def __call__(self, *, first: int, after: int | None) -> History:
        """The points from index `first` up to the request's first, and the trials with finish
        numbers in (after, the request's watermark]; None: no trials are needed."""


class Compute(Protocol):
    """The law: the same request over the same past is answered with the same points, whatever
    was asked before and wherever it is computed."""

    def answers_at_once(self, algorithm: str) -> bool:
        """Whether answers of this algorithm take so little that others may wait for them; else
        each is to be asked for on its own."""

    async def propose(
        self, uid: str, study: Study, request: ProposalRequest, history: HistorySource
    ) -> Proposal:
        """Answer a request of the experiment `uid`.

        Raises Transient when the history has a gap (a trial that is not written yet) or nothing
        can be computed now; Refused, with the reason, when the algorithm does not exist, cannot be
        loaded, raises, gives nonsense, gives no answer in time, or ends its process.
        """

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an experiment that has ended."""

    async def close(self) -> None:
        """Stop computing and leave no process behind. May be called twice."""
