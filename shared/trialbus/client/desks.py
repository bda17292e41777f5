"""Where a sync worker's trials are held: their leases are renewed until they are told."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from trialbus.client import words
from trialbus.client.batches import Batch
from trialbus.client.calls import Flow
from trialbus.client.failures import LeaseLost, Refused, TrialbusError
from trialbus.client.held import Held
from trialbus.client.patience import Patience
from trialbus.client.ticking import RETRY_S, Ticker
from trialbus.client.words import Workplace
from trialbus.contracts.work import Answered, Report, Result, WorkVerb

T = TypeVar("T")

log = logging.getLogger("trialbus")


class Runner(Protocol):
    """Runs a conversation to its end."""

    def __call__(self, flow: Flow[T], /) -> T: ...


class Leases:
    """All trials that a client holds. flush: also called when its time has come."""

    def __init__(self, run: Runner, patience: Patience) -> None:
        self._run = run
        self._patience = patience
        self._held: dict[Workplace, dict[int, Held]] = {}
        self._batches: list[Callable[[], float | None]] = []
        self._lock = threading.Lock()
        self._ticker = Ticker(self.tick)

    def hold(self, place: Workplace, trials: Sequence[Held]) -> None:
        with self._lock:
            self._held.setdefault(place, {}).update({id(held): held for held in trials})
        for held in trials:
            self._ticker.due(held.beat_at)

    def drop(self, place: Workplace, held: Held) -> None:
        with self._lock:
            self._held.get(place, {}).pop(id(held), None)

    def due(self, at: float) -> None:
        self._ticker.due(at)

    def join(self, flush: Callable[[], float | None]) -> None:
        with self._lock:
            self._batches.append(flush)

    def leave(self, flush: Callable[[], float | None]) -> None:
        with self._lock:
            self._batches.remove(flush)

    def close(self) -> None:
        self._ticker.close()

    def tick(self) -> float | None:
        """Do what is due; when to look again."""
        with self._lock:
            batches = tuple(self._batches)
            held: dict[Workplace, tuple[Held, ...]] = {}
            for place, those in self._held.items():
                for key in [key for key, it in those.items() if it.is_over]:
                    del those[key]
                held[place] = tuple(those.values())
        times = [at for flush in batches if (at := flush()) is not None]
        now = time.monotonic()
        for place, alive in held.items():
            due = [it for it in alive if it.beat_at <= now]
            if due:
                self._beat(place, due)
            times += [it.beat_at for it in alive if not it.is_over]
        return min(times, default=None)

    def _beat(self, place: Workplace, due: Sequence[Held]) -> None:
        try:
            self._run(words.beat(place, due, self._patience))
        except TrialbusError as error:
            log.warning("leases of %s/%s not renewed: %s", place.namespace, place.name, error)
            for held in due:
                held.postpone()


class Desk:
    """Each word is said at once."""

    def __init__(
        self,
        run: Runner,
        leases: Leases,
        place: Workplace,
        patience: Patience,
        objective: Callable[[], str | None],
    ) -> None:
        self.run = run
        self.leases = leases
        self.place = place
        self.patience = patience
        self.objective = objective

    def report(self, held: Held, report: Report) -> None:
        """Raises LeaseLost."""
        if held.ended:
            return
        self.run(words.report_one(self.place, held, report, self.patience))
        if held.is_over:
            self.leases.drop(self.place, held)
        held.check()
        held.reported(report)

    def tell(self, held: Held, result: Result) -> None:
        """Raises LeaseLost, Refused."""
        if held.ended:
            held.done = True
            return
        answers, _ = self.run(words.tell(self.place, [result], None, self.patience))
        conclude(held, answers[0], WorkVerb.TELL)
        self.leases.drop(self.place, held)

    def release(self, held: Held) -> None:
        self.run(words.release(self.place, [held], self.patience))
        held.done = True
        self.leases.drop(self.place, held)


def conclude(held: Held, answered: Answered, verb: WorkVerb) -> None:
    """Raises LeaseLost if the trial has ended otherwise, Refused if only this word is wrong: it
    may be said again, and better."""
    if answered.accepted:
        held.done = True
        return
    reason = answered.refused or ""
    if not answered.stop:
        raise Refused(f"{verb.value} of {held.given.trial} is refused: {reason}")
    held.heard(answered)
    if held.lost is not None:
        raise LeaseLost(held.given.trial, reason)


class GroupDesk(Desk):
    """Results wait for others, and go with the next ask."""

    def __init__(
        self,
        run: Runner,
        leases: Leases,
        place: Workplace,
        patience: Patience,
        objective: Callable[[], str | None],
        batch: Batch,
    ) -> None:
        super().__init__(run, leases, place, patience, objective)
        self.batch = batch
        # Held while one exchange is on its way: by the worker, or beside it.
        self._exchanging = threading.Lock()
        leases.join(self.flush)

    def tell(self, held: Held, result: Result) -> None:
        if held.ended:
            held.done = True
            return
        with self._exchanging:
            self.batch.add(held, result)
        self.leases.drop(self.place, held)
        if (at := self.batch.tell_at) is not None:
            self.leases.due(at)

    def take(self) -> Held | None:
        with self._exchanging:
            return self.batch.take()

    def exchange(self, wait_s: float) -> None:
        """Tell what is to be told, and ask for what is missing; wait only if there is nothing to
        tell."""
        with self._exchanging:
            self._exchange(wait_s)

    def flush(self) -> float | None:
        """Beside the worker: when results have waited long enough. When to come again."""
        at = self.batch.tell_at
        if at is None or at > time.monotonic():
            return at
        if not self._exchanging.acquire(blocking=False):
            return time.monotonic() + RETRY_S / 10
        try:
            if self.batch.results:
                self._exchange(0.0)
        except TrialbusError as error:
            log.warning("results of %s wait: %s", self.place.name, error)
            return time.monotonic() + RETRY_S
        finally:
            self._exchanging.release()
        return self.batch.tell_at

    def close(self) -> None:
        """Tell what is to be told, and give back what was not begun."""
        self.leases.leave(self.flush)
        with self._exchanging:
            waiting = self.batch.waiting
            for held in waiting:
                self.leases.drop(self.place, held)
            if results := self.batch.results:
                told = [result for _, result in results]
                answers, _ = self.run(words.tell(self.place, told, None, self.patience))
                self.batch.told(results, answers)
            if waiting:
                self.run(words.release(self.place, waiting, self.patience))

    def _exchange(self, wait_s: float) -> None:
        results = self.batch.results
        wanted = self.batch.wanted(0.0 if results else wait_s)
        if results:
            told = [result for _, result in results]
            answers, given = self.run(words.tell(self.place, told, wanted, self.patience))
            self.batch.told(results, answers)
        elif wanted is not None:
            given = self.run(words.ask(self.place, wanted, self.patience))
        else:
            return
        self.leases.hold(self.place, self.batch.given(given))
