"""Where an async worker's trials are held; as `desks`, with a task instead of a thread."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

from trialbus.client import words
from trialbus.client.batches import Batch
from trialbus.client.calls import Flow
from trialbus.client.desks import conclude
from trialbus.client.failures import TrialbusError
from trialbus.client.held import Held
from trialbus.client.patience import Patience
from trialbus.client.ticking import RETRY_S
from trialbus.client.words import Workplace
from trialbus.contracts.work import Report, Result, WorkVerb

T = TypeVar("T")

log = logging.getLogger("trialbus")


class AsyncRunner(Protocol):
    """Runs a conversation to its end."""

    def __call__(self, flow: Flow[T], /) -> Awaitable[T]: ...


class AsyncLeases:
    """All trials that a client holds; what is due is done by a task that is there only while
    there is something."""

    def __init__(self, run: AsyncRunner, patience: Patience) -> None:
        self._run = run
        self._patience = patience
        self._held: dict[Workplace, dict[int, Held]] = {}
        self._batches: list[Callable[[], Awaitable[float | None]]] = []
        self._planned: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    def hold(self, place: Workplace, trials: Sequence[Held]) -> None:
        self._held.setdefault(place, {}).update({id(held): held for held in trials})
        for held in trials:
            self.due(held.beat_at)

    def drop(self, place: Workplace, held: Held) -> None:
        self._held.get(place, {}).pop(id(held), None)

    def due(self, at: float) -> None:
        if self._task is None or self._task.done():
            self._planned, self._wake = at, asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._serve())
        elif self._planned is None or at < self._planned:
            self._planned = at
            self._wake.set()

    def join(self, flush: Callable[[], Awaitable[float | None]]) -> None:
        self._batches.append(flush)

    def leave(self, flush: Callable[[], Awaitable[float | None]]) -> None:
        self._batches.remove(flush)

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def tick(self) -> float | None:
        """Do what is due; when to look again."""
        times = [at for flush in tuple(self._batches) if (at := await flush()) is not None]
        now = time.monotonic()
        for place, held in list(self._held.items()):
            for key in [key for key, it in held.items() if it.is_over]:
                del held[key]
            alive = tuple(held.values())
            due = [it for it in alive if it.beat_at <= now]
            if due:
                await self._beat(place, due)
            times += [it.beat_at for it in alive if not it.is_over]
        return min(times, default=None)

    async def _serve(self) -> None:
        while self._planned is not None:
            self._wake.clear()
            left = self._planned - time.monotonic()
            if left > 0:
                # Woken before it is due: look again when that is.
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._wake.wait()
                continue
            self._planned = None
            again = await self.tick()
            known = [at for at in (again, self._planned) if at is not None]
            self._planned = min(known, default=None)

    async def _beat(self, place: Workplace, due: Sequence[Held]) -> None:
        try:
            await self._run(words.beat(place, due, self._patience))
        except TrialbusError as error:
            log.warning("leases of %s/%s not renewed: %s", place.namespace, place.name, error)
            for held in due:
                held.postpone()


class AsyncDesk:
    """Each word is said at once."""

    def __init__(
        self,
        run: AsyncRunner,
        leases: AsyncLeases,
        place: Workplace,
        patience: Patience,
        objective: Callable[[], Awaitable[str | None]],
    ) -> None:
        self.run = run
        self.leases = leases
        self.place = place
        self.patience = patience
        self.objective = objective

    async def report(self, held: Held, report: Report) -> None:
        """Raises LeaseLost."""
        if held.ended:
            return
        await self.run(words.report_one(self.place, held, report, self.patience))
        if held.is_over:
            self.leases.drop(self.place, held)
        held.check()
        held.reported(report)

    async def tell(self, held: Held, result: Result) -> None:
        """Raises LeaseLost, Refused."""
        if held.ended:
            held.done = True
            return
        answers, _ = await self.run(words.tell(self.place, [result], None, self.patience))
        conclude(held, answers[0], WorkVerb.TELL)
        self.leases.drop(self.place, held)

    async def release(self, held: Held) -> None:
        await self.run(words.release(self.place, [held], self.patience))
        held.done = True
        self.leases.drop(self.place, held)


class AsyncGroupDesk(AsyncDesk):
    """Results wait for others, and go with the next ask."""

    def __init__(
        self,
        run: AsyncRunner,
        leases: AsyncLeases,
        place: Workplace,
        patience: Patience,
        objective: Callable[[], Awaitable[str | None]],
        batch: Batch,
    ) -> None:
        super().__init__(run, leases, place, patience, objective)
        self.batch = batch
        # Held while one exchange is on its way: by the worker, or beside it.
        self._exchanging = asyncio.Lock()
        leases.join(self.flush)

    async def tell(self, held: Held, result: Result) -> None:
        if held.ended:
            held.done = True
            return
        self.batch.add(held, result)
        self.leases.drop(self.place, held)
        if (at := self.batch.tell_at) is not None:
            self.leases.due(at)

    def take(self) -> Held | None:
        return self.batch.take()

    async def exchange(self, wait_s: float) -> None:
        """Tell what is to be told, and ask for what is missing; wait only if there is nothing to
        tell."""
        async with self._exchanging:
            await self._exchange(wait_s)

    async def flush(self) -> float | None:
        """Beside the worker: when results have waited long enough. When to come again."""
        at = self.batch.tell_at
        if at is None or at > time.monotonic():
            return at
        if self._exchanging.locked():
            return time.monotonic() + RETRY_S / 10
        try:
            async with self._exchanging:
                await self._exchange(0.0)
        except TrialbusError as error:
            log.warning("results of %s wait: %s", self.place.name, error)
            return time.monotonic() + RETRY_S
        return self.batch.tell_at

    async def close(self) -> None:
        """Tell what is to be told, and give back what was not begun."""
        self.leases.leave(self.flush)
        async with self._exchanging:
            waiting = self.batch.waiting
            for held in waiting:
                self.leases.drop(self.place, held)
            if results := self.batch.results:
                told = [result for _, result in results]
                answers, _ = await self.run(words.tell(self.place, told, None, self.patience))
                self.batch.told(results, answers)
            if waiting:
                await self.run(words.release(self.place, waiting, self.patience))

    async def _exchange(self, wait_s: float) -> None:
        results = self.batch.results
        wanted = self.batch.wanted(0.0 if results else wait_s)
        if results:
            told = [result for _, result in results]
            answers, given = await self.run(words.tell(self.place, told, wanted, self.patience))
            self.batch.told(results, answers)
        elif wanted is not None:
            given = await self.run(words.ask(self.place, wanted, self.patience))
        else:
            return
        self.leases.hold(self.place, self.batch.given(given))
