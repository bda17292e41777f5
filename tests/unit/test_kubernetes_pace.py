"""How fast an API server is asked, in virtual time."""

import asyncio

from trialbus.adapters.kubernetes_api.pace import LoopClock, Pace
from trialbus.testkit.virtual_time import run_virtual


class VirtualClock(LoopClock):
    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


CLOCK = VirtualClock()


async def _begin_all(pace: Pace, count: int, work_s: float = 0.0) -> list[float]:
    """When each of so many tasks had its turn, seconds from now."""
    loop = asyncio.get_running_loop()
    start, began = loop.time(), []

    async def one() -> None:
        async with pace:
            began.append(loop.time() - start)
            await CLOCK.sleep(work_s)

    await asyncio.gather(*(one() for _ in range(count)))
    return began


def test_requests_keep_to_the_rate_after_a_burst_of_a_quarter_second() -> None:
    async def program() -> list[float]:
        await CLOCK.sleep(10)
        return await _begin_all(Pace(CLOCK, per_second=100, at_once=1000), 225)

    began = run_virtual(program(), limit_s=1000)
    # A quarter of a second's worth at once, 26 with the one that is due; then 100 a second.
    assert sum(each == 0 for each in began) == 26
    assert abs(began[-1] - 1.99) < 1e-6


def test_no_more_requests_are_open_than_allowed() -> None:
    async def program() -> list[float]:
        return await _begin_all(Pace(CLOCK, per_second=1e9, at_once=4), 12, work_s=1.0)

    began = run_virtual(program(), limit_s=1000)
    assert [round(each) for each in began] == [0] * 4 + [1] * 4 + [2] * 4


def test_a_cancelled_wait_gives_its_place_back() -> None:
    async def program() -> float:
        pace = Pace(CLOCK, per_second=0.1, at_once=1)
        async with pace:
            pass
        waiting = asyncio.create_task(pace.__aenter__())
        await CLOCK.sleep(1)
        waiting.cancel()
        async with asyncio.timeout(60), pace:
            return CLOCK.monotonic()

    # Its turn at 10 s stays its own; ours is the next.
    assert run_virtual(program(), limit_s=1000) == 20
