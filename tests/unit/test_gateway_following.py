"""Lists of events end when all that is stored has come, however slow the bus is."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

import pytest

from trialbus.contracts.envelope import encode_event
from trialbus.kernel.events import Event
from trialbus.testkit.memory_bus import MemoryClient
from trialbus.testkit.still_world import UID, StillWorld, experiment
from trialbus.testkit.virtual_time import run_virtual
from trialbus_gateway.app.following import QUIET_S, Following

# Of a bus on a machine that is very busy.
PAUSE_S = 5.0
AT_ONCE_S = 0.01


class Listing:
    """The events of one experiment, asked for over a connection that can be cut."""

    def __init__(self) -> None:
        self.world = StillWorld()
        self.client: MemoryClient = self.world.bus.client("gateway")

    async def tell(self, *ids: str, uid: str = UID) -> None:
        state = experiment(1)
        events = [
            Event(
                id=each,
                type="trial.created",
                uid=uid,
                namespace=state.namespace,
                experiment=state.name,
                at=0.0,
            )
            for each in ids
        ]
        await self.world.bus.client("tests").publish([encode_event(each) for each in events])

    def pause(self) -> None:
        self.client.cut()
        asyncio.get_running_loop().call_later(PAUSE_S, self.client.mend)

    async def events(self, *, pauses: Sequence[int] = (), after: str = "") -> list[str]:
        """The ids. pauses: after how many of them the bus pauses."""
        following = Following(replace(self.world.parts(), bus=self.client))
        found: list[str] = []
        async for event in following.events(experiment(1), follow=False, after=after):
            if event is not None:
                found.append(event["id"])
            if len(found) in pauses:
                self.pause()
        return found


def timed(look: Coroutine[Any, Any, list[str]]) -> tuple[list[str], float]:
    """What it found, and when."""

    async def main() -> tuple[list[str], float]:
        found = await look
        return found, asyncio.get_running_loop().time()

    return run_virtual(main(), limit_s=1000.0)


def test_a_bus_that_pauses_cuts_no_list_short() -> None:
    async def look() -> list[str]:
        listing = Listing()
        await listing.tell("one", "two", "three")
        return await listing.events(pauses=(0, 2))

    found, took_s = timed(look())
    assert found == ["one", "two", "three"]
    assert took_s == pytest.approx(2 * PAUSE_S, abs=AT_ONCE_S)


@pytest.mark.parametrize("told", [[], ["one", "two"]], ids=["none", "some"])
def test_a_list_ends_at_once_with_the_last_that_is_stored(told: list[str]) -> None:
    async def look() -> list[str]:
        listing = Listing()
        await listing.tell(*told)
        await listing.tell("of-another-life", uid="22222222-2222-4222-8222-222222222222")
        return await listing.events()

    found, took_s = timed(look())
    assert found == told
    assert took_s < AT_ONCE_S


def test_what_comes_after_an_event_that_is_not_known_is_all_at_once() -> None:
    async def look() -> list[str]:
        listing = Listing()
        await listing.tell("one", "two")
        assert await listing.events(after="one") == ["two"]
        assert await listing.events(after="two") == []
        return await listing.events(after="of-another-stream")

    found, took_s = timed(look())
    assert found == ["one", "two"]
    assert took_s < AT_ONCE_S


def test_a_list_whose_rest_is_lost_ends_all_the_same() -> None:
    async def look() -> list[str]:
        listing = Listing()
        await listing.tell("one", "two")
        events = Following(listing.world.parts()).events(experiment(1), follow=False)
        assert await anext(events) is None
        listing.world.bus.wipe()
        return [event["id"] async for event in events if event is not None]

    found, took_s = timed(look())
    assert found == []
    assert took_s == pytest.approx(QUIET_S, abs=AT_ONCE_S)
