"""Hints: grouped, handled, and only then acknowledged; what fails comes again, or is buried."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from trialbus.contracts.envelope import encode_event
from trialbus.contracts.messages import Message
from trialbus.kernel.errors import Poison, Transient
from trialbus.kernel.events import Event
from trialbus.kernel.limits import MAX_DELIVERIES
from trialbus.runtime.hints import HintLoop
from trialbus.runtime.parts import Parts, Reactor
from trialbus.testkit.memory_bus import MemoryDelivery
from trialbus.testkit.memory_queues import Fate
from trialbus.testkit.still_world import StillClock, StillWorld
from trialbus.testkit.waits import until


class BusyClock(StillClock):
    """Waiting takes a turn of the loop."""

    async def sleep(self, delay_s: float) -> None:
        self.time += delay_s
        await asyncio.sleep(0)


async def some_turns() -> None:
    """Long enough for whatever could happen to happen."""
    for _ in range(200):
        await asyncio.sleep(0)


@dataclass
class Service:
    """Reacts as it is told and keeps what happened, in order."""

    world: StillWorld
    failures: dict[str, list[Exception]] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    groups: list[list[str]] = field(default_factory=list)
    swept: list[str] = field(default_factory=list)
    breaking: str = ""
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def react(self, uids: Sequence[str]) -> Mapping[str, Exception]:
        self.groups.append(list(uids))
        await self.gate.wait()
        if self.breaking in uids:
            raise KeyError(self.breaking)
        self.log += [("committed", uid) for uid in uids]
        failed = {uid: self.failures[uid].pop(0) for uid in uids if self.failures.get(uid)}
        if any(isinstance(error, Transient) and str(error) == "away" for error in failed.values()):
            raise Transient("away")
        return failed

    async def sweep(self) -> Sequence[str]:
        swept, self.swept = self.swept, []
        return swept

    def loop(self, parts: Parts, *, max_groups: int = 1, max_group_keys: int = 256) -> HintLoop:
        reactor = Reactor(
            listens=("suggestion.proposed",),
            react=self.react,
            sweep=self.sweep,
            max_groups=max_groups,
            max_group_keys=max_group_keys,
        )
        return HintLoop("experiment", reactor, parts)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    world = StillWorld(clock=BusyClock())
    made = Service(world)
    made.gate.set()
    ack = MemoryDelivery.ack

    async def logged(delivery: MemoryDelivery) -> None:
        made.log.append(("acked", delivery.message.id.partition("/")[0]))
        await ack(delivery)

    monkeypatch.setattr(MemoryDelivery, "ack", logged)
    monkeypatch.setattr("trialbus.runtime.hints._FIRST_RETRY_S", 0.001)
    return made


def hint(uid: str, number: int = 0, experiment: str = "tune") -> Message:
    return encode_event(
        Event(
            id=f"{uid}/{number}",
            type="suggestion.proposed",
            uid=uid,
            namespace="team",
            experiment=experiment,
            at=1000.0,
        )
    )


@asynccontextmanager
async def running(
    service: Service, **options: int
) -> AsyncIterator[tuple[HintLoop, Callable[..., None]]]:
    parts = service.world.parts()
    loop = service.loop(parts, **options)
    task = asyncio.create_task(loop.run())
    sender = service.world.bus

    def send(*messages: Message) -> None:
        for message in messages:
            sender.accept(message, Fate())

    try:
        yield loop, send
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_hint_is_acknowledged_after_its_commit(service: Service) -> None:
    async with running(service) as (_, send):
        send(hint("u"))
        await until(lambda: ("acked", "u") in service.log, "handled")
    assert service.log == [("committed", "u"), ("acked", "u")]


async def test_many_hints_of_one_experiment_are_one_look(service: Service) -> None:
    service.gate.clear()
    async with running(service) as (_, send):
        send(hint("first"))
        await until(lambda: bool(service.groups), "handled")
        send(*(hint("u", number) for number in range(5)), hint("v"))
        await some_turns()
        service.gate.set()
        await until(lambda: service.log.count(("acked", "u")) == 5, "handled")
    assert service.groups[:2] == [["first"], ["u", "v"]]


async def test_an_experiment_in_hand_waits_and_others_go_on(service: Service) -> None:
    service.gate.clear()
    async with running(service, max_groups=2) as (_, send):
        send(hint("u", 0))
        await until(lambda: service.groups == [["u"]], "handled")
        send(hint("u", 1), hint("v"))
        await until(lambda: len(service.groups) == 2, "handled")
        assert service.groups == [["u"], ["v"]]
        service.gate.set()
        await until(lambda: len(service.groups) == 3, "handled")
    assert service.groups[2] == ["u"]


async def test_a_group_has_a_largest_size(service: Service) -> None:
    service.gate.clear()
    async with running(service, max_group_keys=2) as (loop, _):
        loop.add(["a", "b", "c", "d", "e"])
        service.gate.set()
        await until(lambda: len(service.groups) == 3, "handled")
    assert service.groups == [["a", "b"], ["c", "d"], ["e"]]


async def test_what_failed_comes_again_and_the_others_are_done(service: Service) -> None:
    service.failures["u"] = [Transient("lost every race")]
    async with running(service) as (_, send):
        send(hint("u"), hint("v"))
        await until(lambda: ("acked", "u") in service.log, "handled")
    assert service.log.count(("committed", "u")) == 2
    assert service.log.count(("acked", "v")) == 1


async def test_a_store_that_is_away_acknowledges_nothing(service: Service) -> None:
    service.failures["u"] = [Transient("away")]
    async with running(service) as (_, send):
        send(hint("u"), hint("v"))
        await until(lambda: {("acked", "u"), ("acked", "v")} <= set(service.log), "handled")
    assert service.log[:2] == [("committed", "u"), ("committed", "v")]
    assert ("acked", "v") not in service.log[:3]


async def test_poison_is_buried_at_once_with_its_reason(service: Service) -> None:
    service.failures["u"] = [Poison("unreadable experiment document")]
    async with running(service) as (_, send):
        send(hint("u"))
        await until(lambda: bool(service.world.bus.dead_letters), "handled")
    [letter] = service.world.bus.dead_letters
    assert "unreadable" in letter.headers["trialbus-reason"]
    assert service.log == [("committed", "u")]


async def test_a_message_that_is_no_event_is_buried_and_holds_up_nothing(
    service: Service,
) -> None:
    async with running(service) as (_, send):
        send(replace(hint("bad"), data=b"no json"), hint("u"))
        await until(lambda: ("acked", "u") in service.log, "handled")
        await until(lambda: len(service.world.bus.dead_letters) == 1, "handled")
    assert ("committed", "bad") not in service.log


async def test_a_fault_of_our_own_is_buried_after_its_last_delivery(service: Service) -> None:
    service.failures["u"] = [RuntimeError("a bug") for _ in range(50)]
    async with running(service) as (_, send):
        send(hint("u"))
        await until(lambda: bool(service.world.bus.dead_letters), "buried")
    assert service.log.count(("committed", "u")) == MAX_DELIVERIES
    assert ("acked", "u") not in service.log


async def test_a_world_that_is_never_ready_is_left_to_the_sweep(service: Service) -> None:
    service.failures["u"] = [Transient("lost every race") for _ in range(50)]
    async with running(service) as (_, send):
        send(hint("u"))
        await until(lambda: ("acked", "u") in service.log, "given up")
    assert service.log.count(("committed", "u")) == MAX_DELIVERIES
    assert not service.world.bus.dead_letters


async def test_an_experiment_that_breaks_the_handler_takes_no_other_with_it(
    service: Service,
) -> None:
    service.breaking = "bad"
    async with running(service) as (_, send):
        send(hint("good"), hint("bad"))
        await until(lambda: bool(service.world.bus.dead_letters), "buried")
    assert service.log.count(("acked", "good")) == 1
    assert ("acked", "bad") not in service.log


async def test_the_sweep_looks_at_what_no_message_tells_of(service: Service) -> None:
    service.swept = ["u"]
    async with running(service):
        await until(lambda: ("committed", "u") in service.log, "handled")
    assert service.groups == [["u"]]


async def test_draining_finishes_what_is_in_hand_and_takes_nothing_new(
    service: Service,
) -> None:
    service.gate.clear()
    async with running(service) as (loop, send):
        send(hint("u"))
        await until(lambda: bool(service.groups), "handled")
        draining = asyncio.create_task(loop.drain())
        await some_turns()
        assert not draining.done()
        loop.add(["v"])
        service.gate.set()
        await draining
        await some_turns()
    assert service.log == [("committed", "u"), ("acked", "u")]
