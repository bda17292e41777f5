"""Trials that an async worker asked for."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextvars import Token
from types import TracebackType
from typing import Any, Self

from trialbus.client.async_desks import AsyncDesk, AsyncGroupDesk
from trialbus.client.current import CURRENT, Current
from trialbus.client.failures import NothingTold, TrialbusError
from trialbus.client.held import Held, TrialFacts, message_of, read_result
from trialbus.client.words import ASK_WAIT_S


class AsyncAskedTrial(TrialFacts):
    """A trial that this worker holds until it tells how it ended.

    As an async context manager: an exception in the block tells that the trial failed, and goes on
    up; KeyboardInterrupt, SystemExit and a cancellation give the trial back. A block that ends
    without `tell` tells what was reported last.
    """

    def __init__(self, held: Held, desk: AsyncDesk) -> None:
        super().__init__(held, desk.place.namespace, desk.place.name)
        self._desk = desk
        self._outside: Token[Current | None] | None = None

    async def report(
        self,
        step: int | Mapping[str, float] | None = None,
        metrics: Mapping[str, float] | None = None,
        /,
        **values: float,
    ) -> None:
        """`report(3, loss=0.1)` or `report({"f1/a": 0.1})`: stored when it comes back. The same
        step is taken once. Raises LeaseLost."""
        await self._desk.report(self._held, self._held.report(step, metrics, values))

    async def tell(
        self, value: float | Mapping[str, float] | None = None, /, **values: float
    ) -> None:
        """It succeeded: `tell(loss=0.1)`, or `tell(0.1)` for the objective alone; with nothing,
        what was reported last counts. Of a trial that the experiment itself has stopped nothing is
        wanted any more, so nothing is sent. Raises NothingTold without a value of
        the objective, LeaseLost, Refused."""
        self._held.check()
        if self._held.ended:
            self._held.done = True
            return
        objective = await self._desk.objective()
        found = read_result(value, values, self._held.last, objective)
        await self._desk.tell(self._held, self._held.success(found))

    async def fail(self, message: str) -> None:
        """It failed, and counts as failed. Raises LeaseLost."""
        self._held.check()
        await self._desk.tell(self._held, self._held.failure(message))

    async def release(self) -> None:
        """Give it back undone: somebody gets it as its next attempt."""
        if not self._held.is_over:
            await self._desk.release(self._held)

    async def __aenter__(self) -> Self:
        self._outside = CURRENT.set(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._outside is not None:
            CURRENT.reset(self._outside)
            self._outside = None
        if self._held.is_over:
            return
        if error is None:
            await self.leave()
            return
        # What is raised in the block is the news; that it could not be told is not.
        with contextlib.suppress(TrialbusError):
            if isinstance(error, Exception):
                await self.fail(message_of(error))
            else:
                await self.release()

    async def leave(self) -> None:
        """Tell what was reported last. Raises NothingTold if that is not enough."""
        try:
            await self.tell()
        except NothingTold as error:
            with contextlib.suppress(TrialbusError):
                await self.fail(f"its worker left it: {error}")
            raise


class Asking:
    """A trial that is being asked for: `await` it, or enter it with `async with`."""

    def __init__(self, ask: Callable[[], Awaitable[AsyncAskedTrial]]) -> None:
        self._ask = ask
        self._trial: AsyncAskedTrial | None = None

    def __await__(self) -> Generator[Any, None, AsyncAskedTrial]:
        return self._ask().__await__()

    async def __aenter__(self) -> AsyncAskedTrial:
        self._trial = await self._ask()
        return await self._trial.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._trial is not None
        await self._trial.__aexit__(kind, error, trace)


async def trials_of(desk: AsyncGroupDesk) -> AsyncIterator[AsyncAskedTrial]:
    """One after the other until the experiment is over."""
    trial: AsyncAskedTrial | None = None
    try:
        while True:
            if trial is not None:
                await _leave(trial)
            held = desk.take()
            if held is not None:
                trial = AsyncAskedTrial(held, desk)
                if trial.should_stop():
                    await trial.release()
                else:
                    yield trial
                continue
            trial = None
            if desk.batch.over and not desk.batch.results:
                return
            await desk.exchange(ASK_WAIT_S)
    finally:
        if trial is not None:
            with contextlib.suppress(TrialbusError):
                await trial.release()
        with contextlib.suppress(TrialbusError):
            await desk.close()


async def _leave(trial: AsyncAskedTrial) -> None:
    if not trial._held.is_over:
        await trial.leave()
