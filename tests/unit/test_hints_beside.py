"""What takes long goes on beside its group: in hand, and acknowledged when it is over."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from trialbus.contracts.envelope import encode_event
from trialbus.contracts.messages import Message
from trialbus.kernel.errors import Transient
from trialbus.kernel.events import Event
from trialbus.kernel.limits import MAX_DELIVERIES
from trialbus.runtime.hints import HintLoop
from trialbus.runtime.parts import Beside, Reactor
from trialbus.testkit.memory_bus import MemoryDelivery
from trialbus.testkit.memory_queues import Fate
from trialbus.testkit.still_world import StillClock, StillWorld
from trialbus.testkit.waits import until


class BusyClock(StillClock):
    """Waiting takes a turn of the loop."""

    async def sleep(self, delay_s: float) -> None:
        self.time += delay_s
        await asyncio.sleep(0)


@dataclass
class Service:
    """`slow...` go on beside the others until their gate opens."""

    world: StillWorld = field(default_factory=lambda: StillWorld(clock=BusyClock()))
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    log: list[tuple[str, str]] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    breaks_at: str = ""

    async def react(self, uids: Sequence[str]) -> Mapping[str, Exception | Beside]:
        if self.breaks_at in uids:
            raise KeyError(self.breaks_at)
        self.log += [("committed", uid) for uid in uids if not uid.startswith("slow")]
        return {uid: self.beside(uid) for uid in uids if uid.startswith("slow")}

    def beside(self, uid: str) -> Beside:
        async def work() -> None:
            self.begun.append(uid)
            await self.gate.wait()
            if self.failures:
                raise self.failures.pop()
            self.log.append(("committed", uid))

        return Beside(work=work)

    async def sweep(self) -> Sequence[str]:
        return ()

    def acked(self, uid: str) -> bool:
        return ("acked", uid) in self.log


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    made, ack = Service(), MemoryDelivery.ack

    async def logged(delivery: MemoryDelivery) -> None:
        made.log.append(("acked", delivery.message.id.partition("/")[0]))
        await ack(delivery)

    monkeypatch.setattr(MemoryDelivery, "ack", logged)
    monkeypatch.setattr("trialbus.runtime.hints._FIRST_RETRY_S", 0.001)
    return made


def hint(uid: str, number: int = 0) -> Message:
    return encode_event(
        Event(
            id=f"{uid}/{number}",
            type="suggestion.proposed",
            uid=uid,
            namespace="team",
            experiment="tune",
            at=1000.0,
        )
    )


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[tuple[HintLoop, Callable[..., None]]]:
    reactor = Reactor(
        listens=("suggestion.proposed",), react=service.react, sweep=service.sweep, max_groups=1
    )
    loop = HintLoop("experiment", reactor, service.world.parts())
    task = asyncio.create_task(loop.run())

    def send(*messages: Message) -> None:
        for message in messages:
            service.world.bus.accept(message, Fate())

    try:
        yield loop, send
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_group_does_not_wait_for_its_slow_member(service: Service) -> None:
    async with running(service) as (_, send):
        send(hint("slow"), hint("a"), hint("b"))
        await until(lambda: service.acked("a") and service.acked("b"), "the others")
        # The only handler of groups is free.
        send(hint("c"))
        await until(lambda: service.acked("c"), "the next")
        assert not service.acked("slow")
        service.gate.set()
        await until(lambda: service.acked("slow"), "the slow one")
    slow = [what for what, uid in service.log if uid == "slow"]
    assert slow == ["committed", "acked"]


async def test_one_experiment_is_worked_on_once_at_a_time(service: Service) -> None:
    async with running(service) as (_, send):
        send(hint("slow"))
        await until(lambda: service.begun == ["slow"], "begun")
        send(hint("slow", 1), hint("a"))
        await until(lambda: service.acked("a"), "the others")
        assert service.begun == ["slow"]
        service.gate.set()
        await until(lambda: service.log.count(("acked", "slow")) == 2, "both hints")
    assert service.begun == ["slow", "slow"]


async def test_what_fails_comes_again(service: Service) -> None:
    service.gate.set()
    service.failures = [Transient("away"), ValueError("broken")]
    async with running(service) as (_, send):
        send(hint("slow"))
        await until(lambda: service.acked("slow"), "the third time")
    assert service.begun == ["slow"] * 3


async def test_a_group_that_is_taken_apart_works_on_nothing_twice(service: Service) -> None:
    service.breaks_at = "broken"
    async with running(service) as (_, send):
        send(hint("slow"), hint("broken"), hint("a"))
        await until(lambda: service.acked("a"), "the others")
        assert service.begun == ["slow"]


async def test_draining_waits_for_what_goes_on(service: Service) -> None:
    async with running(service) as (loop, send):
        send(hint("slow"))
        await until(lambda: bool(service.begun), "begun")
        draining = asyncio.create_task(loop.drain())
        send(hint("a"))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not draining.done()
        service.gate.set()
        await draining
        assert service.acked("slow")
        assert not service.acked("a")


async def test_the_end_of_the_service_ends_what_goes_on(service: Service) -> None:
    async with running(service) as (_, send):
        send(hint("slow"))
        await until(lambda: bool(service.begun), "begun")
    assert service.log == []


async def test_a_message_given_out_again_and_again_meanwhile_is_not_buried(
    service: Service,
) -> None:
    service.world.bus.ack_wait_s = 0.001
    async with running(service) as (loop, send):
        send(hint("slow"))
        again = loop._pending
        await until(lambda: len(again.get("slow", ())) > MAX_DELIVERIES, "given out often")
        service.gate.set()
        await until(lambda: service.acked("slow"), "acknowledged")
    assert service.world.bus.dead_letters == []
