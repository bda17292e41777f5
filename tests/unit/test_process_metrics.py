"""What every service tells of its outbox, its event loop and the bus, made to happen."""

import asyncio
from dataclasses import replace

import pytest

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.messages import Message
from trialbus.kernel.errors import Transient
from trialbus.kernel.events import Event
from trialbus.kernel.limits import MAX_PAYLOAD_BYTES, OUTBOX_IDLE_S
from trialbus.runtime import metrics
from trialbus.runtime.parts import Behaviour, Parts, ServiceDefinition
from trialbus.runtime.service import RunningService
from trialbus.runtime.shared_gauges import MAX_FAILED_LOOKS
from trialbus.runtime.store_and_bus import ObservedBus
from trialbus.runtime.telemetry import Telemetry
from trialbus.runtime.watching import BUS_EVERY_S, LOOP_EVERY_S, Watching
from trialbus.testkit.bus_probes import event, partition_of, receive
from trialbus.testkit.memory_queues import Fate, Faults
from trialbus.testkit.still_world import UID, StillWorld, WokenClock, experiment
from trialbus.testkit.told_metrics import series, told, told_seconds
from trialbus.testkit.waits import until


def changed(name: str, *, message: str = "") -> Event:
    return Event(
        id=f"{UID}@{name}",
        type=f"experiment.{name}",
        uid=UID,
        namespace="team",
        experiment="tune",
        at=1000.0,
        message=message,
    )


class Away(Faults):
    """No publication is confirmed."""

    def on_publish(self, message: Message) -> Fate:
        return Fate(delays_s=(), confirmed=False)


async def test_events_that_wait_for_the_bus_are_counted_and_their_age_grows() -> None:
    world = StillWorld(clock=WokenClock())
    world.bus.faults = Away()
    parts = world.parts()
    outbox, telemetry = parts.outbox, parts.telemetry
    relay = asyncio.create_task(outbox.relay())

    def waiting() -> tuple[float, float]:
        return told(telemetry, metrics.OUTBOX_EVENTS), told(telemetry, metrics.OUTBOX_AGE)

    assert waiting() == (0.0, 0.0)
    outbox.offer(EXPERIMENTS.name, UID, (changed("created"),), urgent=True)
    world.clock.time += 10.0
    outbox.offer(EXPERIMENTS.name, UID, (changed("created"), changed("edited")), urgent=False)
    world.clock.time += 5.0
    assert waiting() == (2.0, 15.0)
    assert isinstance(world.clock, WokenClock)
    retry_s = await world.clock.wake()
    assert waiting() == (2.0, 15.0 + retry_s)
    world.bus.faults = Faults()
    await until(lambda: waiting() == (0.0, 0.0), "published")
    assert told(telemetry, metrics.PUBLISHED) == 2.0
    relay.cancel()


async def test_an_event_that_no_stream_takes_is_a_dead_letter_and_does_not_wait() -> None:
    parts = StillWorld().parts()
    huge = changed("failed", message="x" * (MAX_PAYLOAD_BYTES + 1))
    parts.outbox.offer(EXPERIMENTS.name, UID, (huge,), urgent=True)
    await parts.outbox.publish_notices([huge])
    assert told(parts.telemetry, metrics.DEAD_LETTERS) == 2.0
    assert told(parts.telemetry, metrics.OUTBOX_EVENTS) == 0.0


async def test_events_that_a_process_left_behind_are_repairs_once() -> None:
    world = StillWorld()
    left = (changed("created"), changed("edited"))
    state = replace(experiment(1), outbox=left, outbox_at=left[0].at)
    await world.prepare(state)
    parts = world.parts()
    repaired = metrics.SWEEP_REPAIRS
    await parts.outbox.sweep([EXPERIMENTS.name])
    assert told(parts.telemetry, repaired) == 0.0  # their owner may be about to publish them
    world.clock.time += 6 * OUTBOX_IDLE_S
    await parts.outbox.sweep([EXPERIMENTS.name])
    await parts.outbox.sweep([EXPERIMENTS.name])
    assert told(parts.telemetry, repaired, what="event") == 2.0
    assert told(parts.telemetry, repaired, what="experiment") == 0.0


async def test_a_service_is_ready_while_it_works_and_has_its_servers() -> None:
    world, stop = StillWorld(), asyncio.Event()
    parts = world.parts()

    async def build(_: Parts) -> Behaviour:
        return Behaviour()

    definition = ServiceDefinition(name="experiment", owns=(EXPERIMENTS,), build=build)
    service = RunningService(definition, parts)
    ready = metrics.READY
    assert told(parts.telemetry, ready) == 0.0
    running = asyncio.create_task(service.run(stop))
    await until(lambda: told(parts.telemetry, ready) == 1.0, "ready")
    parts.bus.cut()  # type: ignore[attr-defined]
    assert told(parts.telemetry, ready) == 0.0
    parts.bus.mend()  # type: ignore[attr-defined]
    assert told(parts.telemetry, ready) == 1.0
    stop.set()
    await running
    assert told(parts.telemetry, ready) == 0.0


async def test_a_loop_that_is_busy_comes_late_to_its_tasks() -> None:
    clock, telemetry = WokenClock(), Telemetry("experiment")
    bus = ObservedBus(StillWorld().bus.client("seen"), telemetry, clock)
    watch_loop, _ = Watching(bus, telemetry, clock, lambda: 0).tasks
    watching = asyncio.ensure_future(watch_loop())
    delay = metrics.LOOP_DELAY
    assert await clock.wake(late_s=0.25) == LOOP_EVERY_S
    await until(lambda: told(telemetry, delay) == 1.0, "seen")
    assert told_seconds(telemetry, delay) == 0.25
    assert await clock.wake() == LOOP_EVERY_S
    await until(lambda: told(telemetry, delay) == 2.0, "seen")
    assert told_seconds(telemetry, delay) == 0.25
    watching.cancel()


async def test_a_backlog_that_is_not_known_for_some_looks_is_not_told() -> None:
    telemetry, world = Telemetry("experiment"), StillWorld()
    client = world.bus.client("seen")
    bus = ObservedBus(client, telemetry, world.clock)
    bus.queues.add("experiment")
    watching = Watching(bus, telemetry, world.clock, lambda: 0)

    def told_gauges() -> int:
        gauges = (metrics.CONSUMER_PENDING, metrics.CONSUMER_IN_HAND)
        return sum(len(series(telemetry, it)) for it in gauges)

    await watching.look_at_bus()
    client.cut()
    for _ in range(MAX_FAILED_LOOKS - 1):
        with pytest.raises(Transient):
            await watching.look_at_bus()
    assert told_gauges() == 2
    with pytest.raises(Transient):
        await watching.look_at_bus()
    assert told_gauges() == 0
    client.mend()
    await watching.look_at_bus()
    assert told_gauges() == 2


async def test_the_backlog_and_the_reconnects_are_looked_at_again_and_again() -> None:
    clock, telemetry, world = WokenClock(), Telemetry("experiment"), StillWorld()
    client, reconnects = world.bus.client("seen"), [2, 2, 5]
    bus = ObservedBus(client, telemetry, clock)
    _, watch_bus = Watching(bus, telemetry, clock, lambda: reconnects.pop(0)).tasks
    watching = asyncio.ensure_future(watch_bus())

    def seen() -> tuple[float, float, float]:
        pending, in_hand = metrics.CONSUMER_PENDING, metrics.CONSUMER_IN_HAND
        return (
            told(telemetry, pending),
            told(telemetry, in_hand),
            told(telemetry, metrics.RECONNECTS),
        )

    async with bus.inbox("experiment", ["trial.created"], partition_of("team")) as inbox:
        await bus.publish([event("team", number) for number in range(5)])
        held = await receive(inbox, 2)
        assert await clock.wake() == BUS_EVERY_S
        await until(lambda: seen() == (3.0, 2.0, 2.0), "the lag is seen")
        client.cut()
        await clock.wake()
        client.mend()
        for delivery in (*held, *await receive(inbox, 3)):
            await delivery.ack()
        await clock.wake()
        await until(lambda: seen() == (0.0, 0.0, 5.0), "back to nothing")
    watching.cancel()
