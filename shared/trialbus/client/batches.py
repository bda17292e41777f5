"""The book-keeping of a worker that leases ahead and tells in groups. No I/O; a lock around an
exchange is its owner's business."""

import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence

from trialbus.client.held import Held
from trialbus.client.words import Given
from trialbus.contracts.work import Answered, Ask, Result
from trialbus.kernel.limits import MAX_ASKED_TRIALS, MAX_WORK_ITEMS

# A result is told at the latest after this long, also while its worker computes on: the algorithm
# may be waiting for it.
TELL_WITHIN_S = 0.2

log = logging.getLogger("trialbus")


class Batch:
    """ahead: so many trials are leased beside the one in hand, and so many results told at
    once."""

    def __init__(
        self,
        *,
        ahead: int,
        lease_s: float,
        worker: str,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 1 <= ahead <= min(MAX_ASKED_TRIALS, MAX_WORK_ITEMS):
            raise ValueError(f"ahead is 1 to {min(MAX_ASKED_TRIALS, MAX_WORK_ITEMS)}")
        self._ahead = ahead
        self._lease_s = lease_s
        self._worker = worker
        self._now = now
        self._queue: deque[Held] = deque()
        self._results: list[tuple[Held, Result]] = []
        self._oldest_at = 0.0
        self._ask: Ask | None = None
        self.over = False
        self.phase = ""

    @property
    def waiting(self) -> Sequence[Held]:
        """Leased and not begun."""
        return tuple(self._queue)

    @property
    def results(self) -> Sequence[tuple[Held, Result]]:
        """Not told yet."""
        return tuple(self._results)

    @property
    def tell_at(self) -> float | None:
        """When the results must be told, by this clock; None: there are none."""
        return self._oldest_at + TELL_WITHIN_S if self._results else None

    def take(self) -> Held | None:
        """The next trial to work on; those that were lost meanwhile are passed over."""
        while self._queue:
            held = self._queue.popleft()
            if not held.is_over:
                return held
        return None

    def add(self, held: Held, result: Result) -> None:
        if not self._results:
            self._oldest_at = self._now()
        held.done = True
        self._results.append((held, result))

    def wanted(self, wait_s: float) -> Ask | None:
        """What to ask for; the same, under the same id, until it is answered."""
        if self.over:
            return None
        missing = self._ahead - len(self._queue)
        if self._ask is None and missing > 0:
            self._ask = Ask(
                id=uuid.uuid4().hex, worker=self._worker, count=missing, lease=self._lease_s
            )
        return None if self._ask is None else self._ask.model_copy(update={"wait": wait_s})

    def told(self, results: Sequence[tuple[Held, Result]], answers: Sequence[Answered]) -> None:
        """They are known to be stored or refused."""
        del self._results[: len(results)]
        self._oldest_at = self._now()
        for (held, _), answered in zip(results, answers, strict=True):
            held.heard(answered)
            if held.lost is not None:
                log.warning("the result of %s was not taken: %s", held.given.trial, held.lost)

    def given(self, given: Given) -> list[Held]:
        """The trials that came, in the order of their opening."""
        self._ask = None
        self.over = self.over or given.over
        self.phase = given.phase or self.phase
        new = [Held(it, self._now) for it in given.trials]
        self._queue.extend(new)
        return new
