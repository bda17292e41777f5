"""What the server of a `MemoryBus` keeps: durable queues, and the faults that messages meet."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trialbus.contracts import subjects
from trialbus.contracts.messages import Message, Request
from trialbus.kernel import limits
from trialbus.ports.bus import Backlog


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of one message: it arrives once for each delay, in seconds; () loses it.

    `confirmed=False`: the sender is told that the outcome is unknown.
    """

    delays_s: tuple[float, ...] = (0.0,)
    confirmed: bool = True


class Faults:
    """Nothing goes wrong. A simulation overrides what it wants to go wrong."""

    def on_publish(self, message: Message) -> Fate:
        """Copies are stored side by side: deduplication does not help against this fault."""
        del message
        return Fate()

    def on_request(self, request: Request) -> Fate:
        del request
        return Fate()

    def on_reply(self, request: Request) -> Fate:
        del request
        return Fate()


class Signal:
    """Wakes everyone who waits now."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def fire(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter


class Durable:
    """What the server knows about one service and partition."""

    def __init__(
        self, service: str, event_types: Sequence[str], partition: int, *, ack_wait_s: float
    ) -> None:
        self.service = service
        self.event_types = frozenset(event_types)
        self.news = Signal()
        self._partition = partition
        self._ack_wait_s = ack_wait_s
        self._ready: deque[int] = deque()
        self._attempts: dict[int, int] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def offer(self, sequence: int, named: subjects.EventSubject, partition: int) -> None:
        if named.type in self.event_types and partition == self._partition:
            self._attempts[sequence] = 0
            self._make_ready(sequence)

    def take(self, max_messages: int) -> list[tuple[int, int]]:
        """Sequence and attempt of what is given out now."""
        taken: list[tuple[int, int]] = []
        while self._ready and len(taken) < max_messages:
            sequence = self._ready.popleft()
            if sequence not in self._attempts:
                continue
            self._attempts[sequence] += 1
            self.give_back(sequence, self._ack_wait_s)
            taken.append((sequence, self._attempts[sequence]))
        return taken

    @property
    def backlog(self) -> Backlog:
        """Those that were given out, and wait to be given out again too, are in hand."""
        pending = sum(attempts == 0 for attempts in self._attempts.values())
        return Backlog(pending=pending, in_hand=len(self._attempts) - pending)

    def finish(self, sequence: int) -> None:
        self._attempts.pop(sequence, None)
        self._stop_timer(sequence)

    def give_back(self, sequence: int, delay_s: float) -> None:
        """Ready again after `delay_s`, unless it is finished by then."""
        self._stop_timer(sequence)
        loop = asyncio.get_running_loop()
        self._timers[sequence] = loop.call_later(delay_s, self._make_ready, sequence)

    def forget(self) -> None:
        for sequence in list(self._timers):
            self._stop_timer(sequence)
        self._attempts.clear()
        self._ready.clear()

    def _make_ready(self, sequence: int) -> None:
        self._timers.pop(sequence, None)
        attempts = self._attempts.get(sequence)
        if attempts is None or attempts >= limits.MAX_DELIVERIES + limits.BURIAL_DELIVERIES:
            return
        self._ready.append(sequence)
        self.news.fire()

    def _stop_timer(self, sequence: int) -> None:
        timer = self._timers.pop(sequence, None)
        if timer is not None:
            timer.cancel()


def bound(call: Callable[..., None], *args: object) -> Callable[[], None]:
    return lambda: call(*args)


def after_each(delays_s: Sequence[float], act: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for delay_s in delays_s:
        if delay_s > 0:
            loop.call_later(delay_s, act)
        else:
            act()
