"""The queue of experiments to look at, on a clock that a test moves."""

import asyncio
import random
import time

import pytest

from trialbus_gateway.app.resource_queue import Key, ResourceQueue

A, B = Key("lab", "a"), Key("lab", "b")


class SteppedClock:
    def __init__(self) -> None:
        self.at = 100.0
        self._waiting: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, delay_s: float) -> None:
        due = asyncio.Event()
        self._waiting.append((self.at + delay_s, due))
        await due.wait()

    async def advance(self, seconds: float) -> None:
        self.at += seconds
        for at, due in self._waiting:
            if at <= self.at:
                due.set()
        await settled()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def looked_at(queue: ResourceQueue, seen: list[Key], held: asyncio.Event | None) -> None:
    while True:
        async with queue.taken() as key:
            seen.append(key)
            if held is not None:
                await held.wait()


async def test_what_comes_twice_is_looked_at_once_and_rests() -> None:
    clock, seen = SteppedClock(), list[Key]()
    queue = ResourceQueue(clock, rest_s=1.0)
    worker = asyncio.create_task(looked_at(queue, seen, None))
    queue.add([A, A, B])
    await settled()
    assert sorted(seen) == [A, B]
    queue.add([A])
    await clock.advance(0.9)
    assert len(seen) == 2
    await clock.advance(0.2)
    assert seen[2:] == [A]
    worker.cancel()


async def test_what_is_in_hand_is_not_taken_by_another_and_comes_again() -> None:
    clock, seen, held = SteppedClock(), list[Key](), asyncio.Event()
    queue = ResourceQueue(clock, rest_s=1.0)
    workers = [asyncio.create_task(looked_at(queue, seen, held)) for _ in range(2)]
    queue.add([A])
    await settled()
    queue.add([A])
    await clock.advance(5.0)
    assert seen == [A]
    held.set()
    await settled()
    assert seen == [A]
    await clock.advance(1.1)
    assert seen == [A, A]
    for worker in workers:
        worker.cancel()


async def test_a_delay_is_kept_unless_it_comes_sooner() -> None:
    clock, seen = SteppedClock(), list[Key]()
    queue = ResourceQueue(clock, rest_s=1.0)
    worker = asyncio.create_task(looked_at(queue, seen, None))
    queue.add([A], delay_s=5.0)
    queue.add([B], delay_s=5.0)
    await clock.advance(2.0)
    assert seen == []
    queue.add([B])
    await settled()
    assert seen == [B]
    await clock.advance(3.1)
    assert seen == [B, A]
    worker.cancel()


@pytest.mark.parametrize("seed", range(20))
async def test_every_change_is_followed_by_a_look_and_looks_are_apart(seed: int) -> None:
    chance, clock = random.Random(seed), SteppedClock()
    queue = ResourceQueue(clock, rest_s=1.0)
    keys = [Key("lab", str(number)) for number in range(5)]
    changed, looked = dict.fromkeys(keys, -1.0), dict.fromkeys(keys, -1.0)
    ended, under_way = dict.fromkeys(keys, -1.0), set[Key]()

    async def look() -> None:
        while True:
            async with queue.taken() as key:
                assert key not in under_way
                assert ended[key] < 0 or clock.at >= ended[key] + 1.0
                under_way.add(key)
                looked[key] = clock.at
                if chance.random() < 0.5:
                    await clock.sleep(chance.choice([0.2, 1.5]))
                ended[key] = clock.at
                under_way.discard(key)

    workers = [asyncio.create_task(look()) for _ in range(2)]
    for _ in range(60):
        for key in chance.sample(keys, chance.randrange(3)):
            delay_s = chance.choice([0.0, 0.0, 2.0])
            queue.add([key], delay_s)
            changed[key] = clock.at
        await clock.advance(chance.choice([0.1, 0.5, 3.0]))
    for _ in range(40):
        await clock.advance(0.5)
    assert all(not worker.done() for worker in workers)
    assert len(queue) == 0
    assert all(looked[key] >= changed[key] for key in keys)
    for worker in workers:
        worker.cancel()


async def test_many_are_taken_in_the_order_of_their_coming_in_little_time() -> None:
    """20,000 took half a minute when each was searched for."""
    clock, seen = SteppedClock(), list[Key]()
    queue = ResourceQueue(clock, rest_s=1.0)
    every = [Key("lab", str(number)) for number in range(20_000)]
    queue.add(every)
    worker = asyncio.create_task(looked_at(queue, seen, None))
    began = time.perf_counter()
    await settled()
    assert time.perf_counter() - began < 5.0
    assert seen == every
    worker.cancel()
