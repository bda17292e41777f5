"""Experiments to look at, each at most once at a time and no sooner than it may be."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from trialbus.ports.clock import Clock


class Key(NamedTuple):
    namespace: str
    name: str


class ResourceQueue:
    """rest_s: from the end of one look at an experiment to the next."""

    def __init__(self, clock: Clock, *, rest_s: float) -> None:
        self._clock = clock
        self._rest_s = rest_s
        self._due: dict[Key, float] = {}
        # Until when those that were looked at rest.
        self._rested: dict[Key, float] = {}
        self._in_hand: set[Key] = set()
        self._grown = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due) + len(self._in_hand)

    def add(self, keys: Iterable[Key], delay_s: float = 0.0) -> None:
        now = self._clock.monotonic()
        for key in keys:
            at = max(now + delay_s, self._rested.get(key, 0.0))
            self._due[key] = min(at, self._due.get(key, at))
        self._grown.set()

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[Key]:
        """The next one; it is in hand until the block is left."""
        key = await self._next()
        self._in_hand.add(key)
        try:
            yield key
        finally:
            self._in_hand.discard(key)
            now = self._clock.monotonic()
            self._rested = {it: at for it, at in self._rested.items() if at > now}
            self._rested[key] = now + self._rest_s
            if key in self._due:
                self._due[key] = max(self._due[key], self._rested[key])
            self._grown.set()

    async def _next(self) -> Key:
        while True:
            free = {key: at for key, at in self._due.items() if key not in self._in_hand}
            key = min(free, key=free.__getitem__, default=None)
            now = self._clock.monotonic()
            if key is not None and free[key] <= now:
                del self._due[key]
                return key
            self._grown.clear()
            await self._wait(None if key is None else free[key] - now)

    async def _wait(self, within_s: float | None) -> None:
        """Until something comes, at most so long."""
        waits: set[asyncio.Future[Any]] = {asyncio.ensure_future(self._grown.wait())}
        if within_s is not None:
            waits.add(asyncio.ensure_future(self._clock.sleep(within_s)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for it in waits:
                it.cancel()
