"""Experiments to look at, each at most once at a time and no sooner than it may be."""

import asyncio
import heapq
import math
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
        # When each that waits, or waits behind a look under way, is due.
        self._due: dict[Key, float] = {}
        # The same in order, but for those in hand; what `_due` says otherwise is passed over.
        self._order: list[tuple[float, int, Key]] = []
        self._added = 0
        # Until when those that were looked at rest, the next to be rested first.
        self._rested: dict[Key, float] = {}
        self._in_hand: set[Key] = set()
        self._grown = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due) + len(self._in_hand)

    def add(self, keys: Iterable[Key], delay_s: float = 0.0) -> None:
        now = self._clock.monotonic()
        for key in keys:
            at = max(now + delay_s, self._rested.get(key, 0.0))
            if at < self._due.get(key, math.inf):
                self._put(key, at)
        self._grown.set()

    def _put(self, key: Key, at: float) -> None:
        self._due[key] = at
        if key not in self._in_hand:
            self._added += 1
            heapq.heappush(self._order, (at, self._added, key))

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[Key]:
        """The next one; it is in hand until the block is left."""
        key = await self._next()
        self._in_hand.add(key)
        try:
            yield key
        finally:
            self._in_hand.discard(key)
            rested_at = self._rest(key)
            if key in self._due:
                self._put(key, max(self._due[key], rested_at))
            self._grown.set()

    def _rest(self, key: Key) -> float:
        """Until when it rests now."""
        now = self._clock.monotonic()
        self._rested.pop(key, None)
        while self._rested and self._rested[first := next(iter(self._rested))] <= now:
            del self._rested[first]
        self._rested[key] = now + self._rest_s
        return self._rested[key]

    async def _next(self) -> Key:
        while True:
            first, now = self._first(), self._clock.monotonic()
            if first is not None and self._due[first] <= now:
                heapq.heappop(self._order)
                del self._due[first]
                return first
            self._grown.clear()
            await self._wait(None if first is None else self._due[first] - now)

    def _first(self) -> Key | None:
        """Of those that are not in hand."""
        while self._order:
            at, _, key = self._order[0]
            if key not in self._in_hand and self._due.get(key) == at:
                return key
            heapq.heappop(self._order)
        return None

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
