"""Algorithm instances as caches: per experiment one, at a watermark, the least used dropped."""

import traceback
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialbus.kernel.errors import Problem, Refused, Transient
from trialbus.kernel.limits import (
    MAX_MESSAGE_CHARS,
    MAX_REMEMBERED_EXPERIMENTS,
    MAX_REMEMBERED_TRIALS,
)
from trialbus.kernel.proposals import History, Proposal, ProposalRequest, Study
from trialbus_suggestion.core.algorithm import Algorithm
from trialbus_suggestion.core.proposal_checks import Nonsense, ProposalChecks
from trialbus_suggestion.core.registry import Registry

if TYPE_CHECKING:
    from random import Random

# Of the traceback in the log: its end says most.
_TRACE_CHARS = 8 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryNeeded:
    """The answer needs the points from `first` on and the trials that finished after `after`
    (None: it does not look at results)."""

    first: int
    after: int | None


@dataclass(slots=True)
class _Remembered:
    algorithm: Algorithm
    checks: ProposalChecks
    points: int = 0
    watermark: int = 0

    @property
    def size(self) -> int:
        return self.points + self.watermark


class Memory:
    """Answers requests, or says which part of the past it lacks.

    `generator` makes a random generator from a seed. capacity, trials: what is remembered at most,
    in experiments and in points and results of all of them, but for the experiment used last.
    """

    def __init__(
        self,
        registry: Registry,
        generator: Callable[[int], "Random"],
        capacity: int = MAX_REMEMBERED_EXPERIMENTS,
        trials: int = MAX_REMEMBERED_TRIALS,
    ) -> None:
        self._registry = registry
        self._generator = generator
        self._capacity = capacity
        self._trials = trials
        self._size = 0
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()

    @property
    def experiments(self) -> tuple[str, ...]:
        """Those that are remembered."""
        return tuple(self._remembered)

    def answer(
        self, uid: str, study: Study, request: ProposalRequest, history: History | None
    ) -> Proposal | HistoryNeeded:
        """Take in `history`, a portion of the past, then answer. Raises Transient when finish
        numbers are missing in it, Refused when there is no such algorithm, when it fails, and when
        what it gives is nonsense."""
        known = self._remembered.pop(uid, None)
        self._size -= known.size if known else 0
        try:
            known = self._recall(known, study, request)
            reply = self._reply(known, study, request, history)
        except Transient:
            raise
        # Half told is worse than nothing known, so it is forgotten. `sys.exit` is no way to leave.
        except (Exception, SystemExit) as error:
            raise refusal(error) from error
        self._remembered[uid] = known
        self._size += known.size
        self._trim()
        return reply

    def load(self, algorithm: str) -> None:
        """Import its code now. Raises Refused when that cannot be done."""
        try:
            self._registry.load(algorithm)
        except (Exception, SystemExit) as error:
            raise refusal(error) from error

    def forget(self, uid: str) -> None:
        known = self._remembered.pop(uid, None)
        self._size -= known.size if known else 0

    def _reply(
        self, known: _Remembered, study: Study, request: ProposalRequest, history: History | None
    ) -> Proposal | HistoryNeeded:
        looks_back = self._registry.describe(study.algorithm.name).look_ahead != "free"
        if history is not None:
            _take_in(known, history, request, looks_back=looks_back)
        lacks_results = looks_back and known.watermark < request.watermark
        if known.points < request.first or lacks_results:
            return HistoryNeeded(first=known.points, after=known.watermark if looks_back else None)
        proposed = known.algorithm.propose(request, self._generator(request.seed))
        proposal = known.checks.checked(proposed, request)
        known.points += len(proposal.points)
        return proposal

    def _recall(
        self, known: _Remembered | None, study: Study, request: ProposalRequest
    ) -> _Remembered:
        """What is known of the experiment, unless it knows more than the request may see."""
        if known and known.points <= request.first and known.watermark <= request.watermark:
            return known
        description = self._registry.describe(study.algorithm.name)
        return _Remembered(self._registry.create(study), ProposalChecks(study, description))

    def _trim(self) -> None:
        while len(self._remembered) > 1 and (
            len(self._remembered) > self._capacity or self._size > self._trials
        ):
            _, dropped = self._remembered.popitem(last=False)
            self._size -= dropped.size


def _take_in(
    remembered: _Remembered, history: History, request: ProposalRequest, *, looks_back: bool
) -> None:
    """What is known already, and what the request may not see, is passed over. So are points behind
    unknown ones, and results before all points are known: the experiment was forgotten between two
    portions, and lacks the first ones again."""
    if history.first <= remembered.points:
        known, end = remembered.points - history.first, request.first - history.first
        new = history.points[known:end]
        remembered.algorithm.restore(new, history.marks[known:end])
        remembered.points += len(new)
    if not looks_back or remembered.points < request.first:
        return
    finished = [
        trial
        for trial in history.finished
        if remembered.watermark < trial.number <= request.watermark
    ]
    end = remembered.watermark + len(finished)
    if [trial.number for trial in finished] != list(range(remembered.watermark + 1, end + 1)):
        raise Transient(f"the history up to finish number {request.watermark} is not written yet")
    remembered.algorithm.tell(finished)
    remembered.watermark = end


def refusal(error: BaseException) -> Refused:
    """An algorithm is pure: what failed once would fail for ever."""
    if isinstance(error, Refused):
        return error
    said = f"the algorithm {error}" if isinstance(error, Nonsense) else _said(error)
    # Half a surrogate pair, of a strange file's name perhaps, cannot be stored.
    storable = said[:MAX_MESSAGE_CHARS].encode(errors="replace").decode()
    refused = Refused([Problem(field="algorithm", message=storable)])
    refused.add_note("".join(traceback.format_exception(error))[-_TRACE_CHARS:])
    return refused


def _said(error: BaseException) -> str:
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - an error of its own kind may fail even here
        message = "(no message)"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
