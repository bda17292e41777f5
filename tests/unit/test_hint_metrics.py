"""What a hint loop tells of its messages and sweeps, made to happen."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trialbus.adapters.opentelemetry.tracing import SdkTracing
from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.envelope import encode_event
from trialbus.contracts.messages import Message
from trialbus.kernel.errors import Poison, Transient
from trialbus.kernel.events import Event
from trialbus.kernel.limits import ACK_WAIT_S
from trialbus.kernel.traces import TraceContext
from trialbus.ports.store import Write
from trialbus.ports.tracing import Tracing
from trialbus.runtime import metrics
from trialbus.runtime.hints import HintLoop
from trialbus.runtime.parts import Beside, Parts, Reactor
from trialbus.runtime.store_and_bus import ObservedStore
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.memory_queues import Fate
from trialbus.testkit.still_world import UID, StillWorld, WokenClock, experiment
from trialbus.testkit.told_metrics import told, told_seconds
from trialbus.testkit.waits import until

TRACE = TraceContext(trace_id="a" * 32, span_id="b" * 16)


def hint(
    uid: str, *, at: float = 999.0, number: int = 0, trace: TraceContext | None = None
) -> Message:
    return encode_event(
        Event(
            id=f"{uid}/{number}",
            type="suggestion.proposed",
            uid=uid,
            namespace="team",
            experiment="tune",
            at=at,
            traceparent=None if trace is None else str(trace),
        )
    )


@dataclass
class Service:
    """Commits each experiment that it looks at once more with an event, unless it is told not to
    (idle), or without one (tidies)."""

    world: StillWorld
    parts: Parts
    swept: list[str] = field(default_factory=list)
    groups: list[list[str]] = field(default_factory=list)
    failing: list[Exception] = field(default_factory=list)
    idle: bool = False
    tidies: bool = False
    beside: bool = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def react(self, uids: Sequence[str]) -> Mapping[str, Exception | Beside]:
        self.groups.append(list(uids))
        await self.gate.wait()
        if self.failing:
            return dict.fromkeys(uids, self.failing.pop(0))
        if self.beside:
            return {uid: Beside(work=partial(self.commit, [uid])) for uid in uids}
        await self.commit(uids)
        return {}

    async def commit(self, uids: Sequence[str]) -> None:
        if self.idle:
            return
        there = await self.parts.store.get_many(EXPERIMENTS.name, uids)
        after = [{**base, "version": base["version"] + 1} for base in there.values()]
        if not self.tidies:
            after = [{**it, "outbox": [{"id": str(it["version"])}]} for it in after]
        writes = [
            Write(base=base, document=document)
            for base, document in zip(there.values(), after, strict=True)
        ]
        await self.parts.store.commit(EXPERIMENTS.name, writes)

    async def sweep(self) -> Sequence[str]:
        swept, self.swept = self.swept, []
        return swept

    @property
    def telemetry(self) -> Telemetry:
        return self.parts.telemetry

    def send(self, message: Message) -> None:
        self.world.bus.accept(message, Fate())

    async def sweep_now(self, *uids: str) -> None:
        assert isinstance(self.world.clock, WokenClock)
        clock = self.world.clock
        self.swept = list(uids)
        assert await clock.wake() == self.parts.settings.sweep_interval_s
        await until(lambda: clock.asleep == 1, "the sweep is over")

    @property
    def repairs(self) -> float:
        return told(self.telemetry, metrics.SWEEP_REPAIRS, what="experiment")


@asynccontextmanager
async def running(
    tracing: Tracing | None = None, *, ack_wait_s: float = ACK_WAIT_S
) -> AsyncIterator[Service]:
    """A hint loop over one experiment in the store; its gate is open."""
    world = StillWorld(clock=WokenClock())
    world.bus.ack_wait_s = ack_wait_s
    await world.prepare(experiment(1))
    parts = world.parts()
    if tracing is not None:
        parts.telemetry.tracing = tracing
    seen = ObservedStore(parts.store, parts.telemetry, parts.clock)
    service = Service(world, replace(parts, store=seen))
    service.gate.set()
    reactor = Reactor(listens=("suggestion.proposed",), react=service.react, sweep=service.sweep)
    hints = HintLoop("experiment", reactor, service.parts)
    service.parts.nudge.target = hints.add
    loop = asyncio.create_task(hints.run())
    try:
        yield service
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


async def handled(service: Service, groups: int) -> None:
    """So many groups are over: nobody is in hand."""
    await until(lambda: told(service.telemetry, metrics.GROUPS) == groups, f"{groups} groups")


async def test_a_hint_is_counted_with_its_age() -> None:
    async with running() as service:
        service.send(hint(UID, at=997.5))
        await handled(service, 1)
        assert told(service.telemetry, metrics.HINTS, source="bus") == 1.0
        assert told(service.telemetry, metrics.HINT_DELAY) == 1.0
        assert told_seconds(service.telemetry, metrics.HINT_DELAY) == 2.5
        assert told(service.telemetry, metrics.HINTS, source="sweep") == 0.0


async def test_a_traced_hint_leads_from_its_delay_and_its_handling_to_its_trace() -> None:
    tracing = SdkTracing("experiment", SimpleSpanProcessor(InMemorySpanExporter()), ratio=0.0)
    async with running(tracing) as service:
        service.send(hint(UID, trace=TRACE))
        service.send(hint("another"))
        await until(lambda: told(service.telemetry, metrics.HINT_DELAY) == 2.0, "both came")
        await handled(service, len(service.groups))
    tracing.close()
    found = {
        sample.name: sample.exemplar.labels["trace_id"]
        for family in service.telemetry.registry.collect()
        for sample in family.samples
        if sample.exemplar is not None
    }
    assert found.keys() >= {
        f"{metrics.HINT_DELAY.name}_bucket",
        f"{metrics.GROUPS.name}_bucket",
        f"{metrics.STORE.name}_bucket",
    }
    assert set(found.values()) == {TRACE.trace_id}


async def test_experiments_wait_until_they_are_looked_at() -> None:
    async with running() as service:
        service.gate.clear()
        service.send(hint("first"))
        await until(lambda: bool(service.groups), "in hand")
        for number in range(3):
            service.send(hint(UID, number=number))
        service.send(hint("third"))
        waiting = metrics.HINTS_WAITING
        await until(lambda: told(service.telemetry, waiting) == 2.0, "two experiments wait")
        service.gate.set()
        await until(lambda: told(service.telemetry, waiting) == 0.0, "none waits")


async def test_a_message_that_comes_again_is_a_redelivery_and_no_second_delay() -> None:
    async with running() as service:
        service.failing = [Transient("lost every race")]
        service.send(hint(UID))
        await handled(service, 2)
        assert told(service.telemetry, metrics.REDELIVERIES) == 1.0
        assert told(service.telemetry, metrics.RETRIES_ASKED) == 1.0
        assert told(service.telemetry, metrics.HINTS, source="bus") == 2.0
        assert told(service.telemetry, metrics.HINT_DELAY) == 1.0
        assert told(service.telemetry, metrics.FAILURES, error="Transient") == 1.0


async def test_a_message_that_comes_again_for_want_of_an_answer_was_not_asked_for() -> None:
    async with running(ack_wait_s=0.2) as service:
        service.gate.clear()
        service.send(hint(UID))
        again = metrics.REDELIVERIES
        await until(lambda: told(service.telemetry, again) >= 1.0, "the ack wait is over")
        service.gate.set()
        await until(lambda: told(service.telemetry, metrics.GROUPS) >= 1.0, "handled")
        assert told(service.telemetry, metrics.RETRIES_ASKED) == 0.0


async def test_a_message_that_can_never_be_handled_is_a_dead_letter() -> None:
    async with running() as service:
        service.failing = [Poison("unreadable")]
        service.send(hint(UID))
        service.send(replace(hint("bad"), data=b"no json"))
        await until(lambda: len(service.world.bus.dead_letters) == 2, "buried")
        await until(lambda: told(service.telemetry, metrics.DEAD_LETTERS) == 2.0, "counted")


async def test_a_burial_that_fails_is_no_dead_letter_yet() -> None:
    async with running(ack_wait_s=0.2) as service:
        client = service.parts.bus
        service.gate.clear()
        service.failing = [Poison("unreadable") for _ in range(9)]
        service.send(hint(UID))
        await until(lambda: bool(service.groups), "in hand")
        client.cut()  # type: ignore[attr-defined]
        service.gate.set()
        # It may have come again before the cut.
        await until(lambda: told(service.telemetry, metrics.GROUPS) >= 1, "handled")
        assert told(service.telemetry, metrics.DEAD_LETTERS) == 0.0
        client.mend()  # type: ignore[attr-defined]
        await until(lambda: told(service.telemetry, metrics.DEAD_LETTERS) == 1.0, "buried")


@pytest.mark.parametrize("beside", [False, True], ids=["here", "beside"])
async def test_a_change_that_only_the_sweep_led_to_is_a_repair(beside: bool) -> None:
    async with running() as service:
        service.beside = beside
        await service.sweep_now(UID)
        await handled(service, 1)
        assert told(service.telemetry, metrics.HINTS, source="sweep") == 1.0
        assert service.repairs == 0.0  # a message may be on its way
        await service.sweep_now()
        await until(lambda: service.repairs == 1.0, "repaired")
        await service.sweep_now()
        assert service.repairs == 1.0


async def test_a_look_that_only_tidies_up_is_no_repair() -> None:
    async with running() as service:
        service.tidies = True
        await service.sweep_now(UID)
        await handled(service, 1)
        await service.sweep_now()
        service.tidies = False
        await service.sweep_now(UID)
        await handled(service, 2)
        await service.sweep_now()
        await until(lambda: service.repairs == 1.0, "the second one is")


async def test_a_look_that_changes_nothing_is_no_repair() -> None:
    async with running() as service:
        service.idle = True
        await service.sweep_now(UID)
        await handled(service, 1)
        await service.sweep_now(UID)
        await handled(service, 2)
        assert service.repairs == 0.0


async def test_a_change_whose_message_comes_after_the_sweep_is_no_repair() -> None:
    async with running() as service:
        await service.sweep_now(UID)
        await handled(service, 1)
        service.send(hint(UID, at=service.world.clock.time - 0.01))
        await handled(service, 2)
        await service.sweep_now()
        assert service.repairs == 0.0


async def test_a_change_whose_message_comes_during_the_look_is_no_repair() -> None:
    async with running() as service:
        service.gate.clear()
        await service.sweep_now(UID)
        await until(lambda: bool(service.groups), "in hand")
        service.send(hint(UID, at=service.world.clock.time - 0.01))
        waiting = metrics.HINTS_WAITING
        await until(lambda: told(service.telemetry, waiting) == 1.0, "it came")
        service.gate.set()
        await handled(service, 2)
        await service.sweep_now()
        assert service.repairs == 0.0


async def test_what_a_repair_itself_led_to_does_not_explain_it() -> None:
    async with running() as service:
        await service.sweep_now(UID)
        await handled(service, 1)
        service.send(hint(UID, at=service.world.clock.time + 0.01))
        await handled(service, 2)
        await service.sweep_now()
        await until(lambda: service.repairs == 1.0, "repaired")


async def test_a_look_that_a_message_led_to_as_well_is_no_repair() -> None:
    async with running() as service:
        service.gate.clear()
        service.send(hint("first"))
        await until(lambda: bool(service.groups), "in hand")
        service.send(hint(UID))
        waiting = metrics.HINTS_WAITING
        await until(lambda: told(service.telemetry, waiting) == 1.0, "it waits")
        await service.sweep_now(UID)
        service.gate.set()
        await handled(service, 2)
        await service.sweep_now()
        assert service.repairs == 0.0


async def test_a_look_that_was_to_come_later_anyway_is_no_repair() -> None:
    async with running() as service:
        service.parts.nudge([UID], after_s=60.0)
        await service.sweep_now(UID)
        await handled(service, 1)
        await service.sweep_now()
        assert service.repairs == 0.0


async def test_a_look_asked_for_later_comes_once_however_often_it_was_asked_for() -> None:
    async with running() as service:
        for _ in range(3):
            service.parts.nudge([UID], after_s=0.02)
        assert not service.groups
        await handled(service, 1)
        service.parts.nudge([UID])
        await handled(service, 2)
        assert service.groups == [[UID], [UID]]
