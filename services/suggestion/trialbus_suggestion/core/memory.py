"""Algorithm instances as caches: per experiment one, at a watermark, the least used dropped."""

import traceback
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialbus.kernel.errors import Problem, Refused, Transient
from trialbus.kernel.proposals import History, Proposal, ProposalRequest, Study
from trialbus_suggestion.core.algorithm import Algorithm
from trialbus_suggestion.core.registry import Registry

if TYPE_CHECKING:
    from random import Random

# An instance of 10,000 trials takes some MB.
MAX_EXPERIMENTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryNeeded:
    """The answer needs the points from `first` on and the trials that finished after `after`
    (None: it does not look at results)."""

    first: int
    after: int | None


@dataclass(slots=True)
class _Remembered:
    algorithm: Algorithm
    points: int = 0
    watermark: int = 0


class Memory:
    """Answers requests, or says which part of the past it lacks.

    `generator` makes a random generator from a seed.
    """

    def __init__(
        self,
        registry: Registry,
        generator: Callable[[int], "Random"],
        capacity: int = MAX_EXPERIMENTS,
    ) -> None:
        self._registry = registry
        self._generator = generator
        self._capacity = capacity
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()

    def answer(
        self, uid: str, study: Study, request: ProposalRequest, history: History | None
    ) -> Proposal | HistoryNeeded:
        """Take in `history`, then answer. Raises Transient when finish numbers are missing in it,
        Refused when there is no such algorithm or it fails."""
        try:
            return self._answer(uid, study, request, history)
        except Exception as error:
            # Half told is worse than nothing known.
            self.forget(uid)
            if isinstance(error, Transient):
                raise
            raise _refusal(error) from error

    def forget(self, uid: str) -> None:
        self._remembered.pop(uid, None)

    def _answer(
        self, uid: str, study: Study, request: ProposalRequest, history: History | None
    ) -> Proposal | HistoryNeeded:
        looks_back = self._registry.describe(study.algorithm.name).look_ahead != "free"
        remembered = self._recall(uid, study, request)
        if history is not None:
            _take_in(remembered, history, request, looks_back=looks_back)
        lacks_results = looks_back and remembered.watermark < request.watermark
        if remembered.points < request.first or lacks_results:
            after = remembered.watermark if looks_back else None
            return HistoryNeeded(first=remembered.points, after=after)
        proposal = remembered.algorithm.propose(request, self._generator(request.seed))
        remembered.points += len(proposal.points)
        return proposal

    def _recall(self, uid: str, study: Study, request: ProposalRequest) -> _Remembered:
        """What is known of the experiment, unless it knows more than the request may see."""
        known = self._remembered.pop(uid, None)
        if known is None or known.points > request.first or known.watermark > request.watermark:
            known = _Remembered(self._registry.create(study))
        self._remembered[uid] = known
        if len(self._remembered) > self._capacity:
            self._remembered.popitem(last=False)
        return known


def _take_in(
    remembered: _Remembered, history: History, request: ProposalRequest, *, looks_back: bool
) -> None:
    """What is known already, and what the request may not see, is passed over."""
    if history.first <= remembered.points:
        known, end = remembered.points - history.first, request.first - history.first
        new = history.points[known:end]
        remembered.algorithm.restore(new, history.marks[known:end])
        remembered.points += len(new)
    if not looks_back:
        return
    finished = [
        trial
        for trial in history.finished
        if remembered.watermark < trial.number <= request.watermark
    ]
    expected = range(remembered.watermark + 1, request.watermark + 1)
    if [trial.number for trial in finished] != list(expected):
        raise Transient(f"the history up to finish number {request.watermark} is not written yet")
    remembered.algorithm.tell(finished)
    remembered.watermark = request.watermark


def _refusal(error: Exception) -> Refused:
    """An algorithm is pure: what failed once would fail for ever."""
    if isinstance(error, Refused):
        return error
    refused = Refused([Problem(field="algorithm", message=f"{type(error).__name__}: {error}")])
    refused.add_note("".join(traceback.format_exception(error)))
    return refused
