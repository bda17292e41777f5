"""The relay: what was committed with its events is published, whatever happens between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.messages import Message, Request
from trialbus.kernel.events import Event
from trialbus.kernel.limits import MAX_PAYLOAD_BYTES, OUTBOX_IDLE_S
from trialbus.runtime.outbox import Outbox
from trialbus.testkit.memory_queues import Fate, Faults
from trialbus.testkit.still_world import UID, StillClock, StillWorld
from trialbus.testkit.still_world import experiment as living

KEY = "experiments"


def event(name: str, *, at: float = 1000.0, message: str = "") -> Event:
    return Event(
        id=f"{UID}@{name}",
        type=name,
        uid=UID,
        namespace="team",
        experiment="tune",
        at=at,
        message=message,
    )


CREATED, EDITED, STARTED = (
    event(f"experiment.{name}") for name in ("created", "edited", "started")
)


class PatientClock(StillClock):
    """Waiting takes a turn of the loop."""

    async def sleep(self, delay_s: float) -> None:
        self.time += delay_s
        await asyncio.sleep(0)


@dataclass
class Unsure(Faults):
    """Loses so many confirmations, then none."""

    lost: int = 0
    sizes: list[str] = field(default_factory=list)

    def on_publish(self, message: Message) -> Fate:
        self.sizes.append(message.id)
        if self.lost > 0:
            self.lost -= 1
            return Fate(delays_s=(), confirmed=False)
        return Fate()

    def on_request(self, request: Request) -> Fate:
        return Fate()


@asynccontextmanager
async def relaying(world: StillWorld) -> AsyncIterator[Outbox]:
    outbox = world.parts().outbox
    task = asyncio.create_task(outbox.relay())
    try:
        yield outbox
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def ids(world: StillWorld) -> list[str]:
    return [it.id for it in world.events]


async def test_what_is_offered_is_published_and_then_no_longer_unsent() -> None:
    world = StillWorld(clock=PatientClock())
    async with relaying(world) as outbox:
        outbox.offer(KEY, UID, (CREATED, EDITED), urgent=True)
        assert outbox.unsent(KEY, UID, (CREATED, EDITED)) == (CREATED, EDITED)
        await outbox.flush()
        assert ids(world) == [CREATED.id, EDITED.id]
        assert outbox.unsent(KEY, UID, (CREATED, EDITED)) == ()


async def test_an_event_that_is_offered_twice_is_published_once() -> None:
    world = StillWorld(clock=PatientClock())
    async with relaying(world) as outbox:
        outbox.offer(KEY, UID, (CREATED,), urgent=True)
        outbox.offer(KEY, UID, (CREATED,), urgent=True)
        await outbox.flush()
        outbox.offer(KEY, UID, (CREATED, EDITED), urgent=True)
        await outbox.flush()
        assert ids(world) == [CREATED.id, EDITED.id]


async def test_what_services_wait_for_goes_first() -> None:
    world = StillWorld(clock=PatientClock())
    outbox = world.parts().outbox
    outbox.offer(KEY, "later", (CREATED,), urgent=False)
    outbox.offer(KEY, "urgent", (EDITED,), urgent=True)
    task = asyncio.create_task(outbox.relay())
    await outbox.flush()
    task.cancel()
    assert ids(world) == [EDITED.id, CREATED.id]


async def test_events_wait_for_a_bus_that_is_away_and_keep_their_ids() -> None:
    faults = Unsure(lost=5)
    world = StillWorld(clock=PatientClock())
    world.bus.faults = faults
    async with relaying(world) as outbox:
        outbox.offer(KEY, UID, (CREATED, EDITED, STARTED), urgent=True)
        await outbox.flush()
    assert sorted(ids(world)) == sorted([CREATED.id, EDITED.id, STARTED.id])
    # Three at once, then one by one until they are through.
    assert faults.sizes[:5] == [CREATED.id, EDITED.id, STARTED.id, CREATED.id, CREATED.id]


async def test_an_event_that_no_stream_takes_holds_up_nothing() -> None:
    world = StillWorld(clock=PatientClock())
    huge = event("experiment.failed", message="x" * (MAX_PAYLOAD_BYTES + 1))
    async with relaying(world) as outbox:
        outbox.offer(KEY, UID, (huge, CREATED), urgent=True)
        await outbox.flush()
        assert ids(world) == [CREATED.id]
        # The next commit leaves it out.
        assert outbox.unsent(KEY, UID, (huge,)) == ()


async def stored_outbox(world: StillWorld) -> tuple[list[str], float | None]:
    documents = world.store.documents(EXPERIMENTS.name)
    return [it["id"] for it in documents[0]["outbox"]], documents[0]["outbox_at"]


async def with_stored(world: StillWorld, *events: Event) -> None:
    await world.prepare(replace(living(uid=UID), outbox=events, outbox_at=events[0].at))


async def test_an_idle_document_is_cleared_after_a_while() -> None:
    world = StillWorld(clock=PatientClock())
    await with_stored(world, CREATED, EDITED)
    async with relaying(world) as outbox:
        outbox.offer(KEY, UID, (CREATED,), urgent=True)
        await outbox.flush()
        await outbox.clear_idle()
        assert await stored_outbox(world) == ([CREATED.id, EDITED.id], 1000.0)
        world.clock.time += OUTBOX_IDLE_S
        await outbox.clear_idle()
        # What is not known to be out stays.
        assert await stored_outbox(world) == ([EDITED.id], 1000.0)
    version = world.store.documents(EXPERIMENTS.name)[0]["version"]
    assert version == 1


async def test_what_is_sent_and_cleared_is_unsent_in_no_older_copy() -> None:
    world = StillWorld(clock=PatientClock())
    await with_stored(world, CREATED)
    async with relaying(world) as outbox:
        outbox.offer(KEY, UID, (CREATED,), urgent=True)
        await outbox.flush()
        world.clock.time += OUTBOX_IDLE_S
        await outbox.clear_idle()
        assert outbox.unsent(KEY, UID, (CREATED, EDITED)) == (EDITED,)


async def test_of_what_is_cleared_the_newest_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trialbus.runtime.outbox._KEPT_CLEARED", 2)
    world = StillWorld(clock=PatientClock())
    await with_stored(world, CREATED)
    async with relaying(world) as outbox:
        for it in (CREATED, EDITED, STARTED):
            outbox.offer(KEY, UID, (it,), urgent=True)
            await outbox.flush()
            world.clock.time += OUTBOX_IDLE_S
            await outbox.clear_idle()
        assert outbox.unsent(KEY, UID, (CREATED, EDITED, STARTED)) == (CREATED,)


async def test_what_a_crashed_process_left_is_published_under_the_same_ids() -> None:
    world = StillWorld(clock=PatientClock())
    await with_stored(world, CREATED, EDITED)
    async with relaying(world) as outbox:
        await outbox.sweep([EXPERIMENTS.name])
        await outbox.flush()
        assert ids(world) == []  # young: its owner may be about to publish it
        world.clock.time += 5 * OUTBOX_IDLE_S
        await outbox.sweep([EXPERIMENTS.name])
        await outbox.sweep([EXPERIMENTS.name])
        await outbox.flush()
        assert ids(world) == [CREATED.id, EDITED.id]
        world.clock.time += OUTBOX_IDLE_S
        await outbox.clear_idle()
        assert await stored_outbox(world) == ([], None)


async def test_notices_are_dropped_when_the_bus_is_away() -> None:
    world = StillWorld(clock=PatientClock())
    world.bus.faults = Unsure(lost=1)
    outbox = world.parts().outbox
    await outbox.publish_notices([CREATED])
    await outbox.publish_notices([EDITED])
    assert ids(world) == [EDITED.id]
