"""How fast we may ask, whatever the number of tasks that want to."""

import asyncio
import time
from types import TracebackType

from trialbus.ports.clock import Clock


class LoopClock:
    """The real clock, where the composition root gives none."""

    def now(self) -> float:
        return round(time.time(), 3)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


class Pace:
    """A turn is taken with `async with`. Turns begin at most `per_second` a second, after a pause
    up to a quarter of a second's worth at once; at most `at_once` are open."""

    def __init__(self, clock: Clock, *, per_second: float, at_once: int) -> None:
        self._clock = clock
        self._interval_s = 1 / per_second
        self._burst_s = 0.25
        self._slots = asyncio.Semaphore(at_once)
        # When the next turn would begin if all came evenly.
        self._next = 0.0

    async def __aenter__(self) -> None:
        await self._slots.acquire()
        try:
            await self._wait()
        except BaseException:
            self._slots.release()
            raise

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._slots.release()

    async def _wait(self) -> None:
        now = self._clock.monotonic()
        turn = max(self._next, now - self._burst_s)
        self._next = turn + self._interval_s
        if turn > now:
            await self._clock.sleep(turn - now)
