"""The bus while its server is killed, loses its disk, or loses what we made in it."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from nats.aio.client import Client

from trialbus.adapters.nats_bus import ConnectionOptions, NatsBus, connection
from trialbus.contracts import subjects
from trialbus.contracts.messages import Message, Request
from trialbus.kernel import limits
from trialbus.kernel.errors import Transient
from trialbus.local.servers import NatsServerSpec, ServerProcess, find_nats_server, require
from trialbus.ports.bus import Delivery, Inbox
from trialbus.testkit import bus_probes
from trialbus.testkit.waits import until

pytestmark = pytest.mark.servers

DEADLINE_S = 30.0
# After the server is back, everything goes on within this.
RECOVERY_S = 10.0
ACK_WAIT_S = 2.0
SERVICE = "experiment"
TYPES = ["trial.created"]


class Server:
    """A nats-server of one test, which may be killed and started again on its port and folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._spec = NatsServerSpec(binary=require(find_nats_server()), folder=folder)
        self._process: ServerProcess | None = None

    @property
    def url(self) -> str:
        assert self._process is not None
        return self._process.url

    async def start(self) -> None:
        self._process = await self._spec.start()
        await self._process.ready()

    def signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    async def kill(self) -> None:
        assert self._process is not None
        self.signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            await self._process.stop()

    def wipe(self) -> None:
        shutil.rmtree(self.folder / "data")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(tmp_path / "nats")
    await made.start()
    yield made
    await made.stop()


Connect = Callable[..., Awaitable[NatsBus]]


@pytest.fixture
async def connect(server: Server) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        async def connect(*, publish_deadline_s: float = 2.0) -> NatsBus:
            bus = await NatsBus.open(
                ConnectionOptions(servers=[server.url], name="test"),
                publish_deadline_s=publish_deadline_s,
                ack_wait_s=ACK_WAIT_S,
            )
            stack.push_async_callback(bus.close)
            return bus

        yield connect


def event(number: int, experiment: str = "e") -> Message:
    return Message(
        subject=subjects.event("n", experiment, "trial.created"),
        data=b"{}",
        id=f"{experiment}:{number}",
    )


PARTITION = subjects.partition_of("n", "e")


async def publish_until_stored(bus: NatsBus, messages: Sequence[Message]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await bus.publish(messages)
            except Transient:
                continue


async def receive(inbox: Inbox, wanted: set[str], within_s: float) -> list[Delivery]:
    """Acknowledges whatever comes until every id of `wanted` has come."""
    missing, received = set(wanted), list[Delivery]()
    async with asyncio.timeout(within_s):
        while missing:
            batch = await inbox.fetch(max_messages=256, timeout_s=1.0)
            await asyncio.gather(*(acknowledge(it) for it in batch))
            received += batch
            missing -= {it.message.id for it in batch}
    return received


async def acknowledge(delivery: Delivery) -> bool:
    try:
        await delivery.ack()
    except Transient:
        return False
    return True


async def test_killing_the_server_under_load_loses_nothing_that_it_took(
    server: Server, connect: Connect
) -> None:
    publisher, reader = await connect(), await connect()
    stored: list[str] = []
    enough, milestones = asyncio.Event(), asyncio.Semaphore(0)
    kills, messages_between = 3, 2000

    async def publish_all() -> None:
        number = 0
        while not enough.is_set():
            batch = [event(number + offset) for offset in range(50)]
            number += len(batch)
            await publish_until_stored(publisher, batch)
            stored.extend(it.id for it in batch)
            if len(stored) % messages_between == 0:
                milestones.release()

    async def kill_now_and_then() -> None:
        for _ in range(kills):
            await milestones.acquire()
            await server.kill()
            await server.start()
        enough.set()

    async with asyncio.timeout(2 * DEADLINE_S):
        await asyncio.gather(publish_all(), kill_now_and_then())
    assert len(stored) >= kills * messages_between
    async with reader.inbox(SERVICE, TYPES, PARTITION) as inbox:
        received = await receive(inbox, set(stored), DEADLINE_S)
    # The stream's memory of ids survives a kill, so that repeats were not stored again.
    assert len({it.message.id for it in received}) == len(stored)
    assert len([it for it in received if it.attempt == 1]) == len(stored)


async def test_an_inbox_goes_on_after_the_server_was_killed(
    server: Server, connect: Connect
) -> None:
    bus = await connect()
    async with bus.inbox(SERVICE, TYPES, PARTITION) as inbox:
        await publish_until_stored(bus, [event(1), event(2)])
        first, second = await bus_probes.receive(inbox, 2)
        await first.ack()
        fetching = asyncio.create_task(receive(inbox, {event(3).id}, DEADLINE_S))
        await server.kill()
        with pytest.raises(Transient):
            await second.ack()
        await server.start()
        await publish_until_stored(bus, [event(3)])
        async with asyncio.timeout(RECOVERY_S):
            received = await fetching
        # Those from before the kill may come again, the acknowledged one too: the server writes
        # its consumers' state after it has answered, and a kill can fall between the two.
        assert event(3).id in {it.message.id for it in received}


async def test_a_server_that_lost_its_disk_is_provisioned_again(
    server: Server, connect: Connect
) -> None:
    bus = await connect()
    pattern = subjects.events(namespace="n")
    async with AsyncExitStack() as stack:
        experiments = [f"e{number}" for number in range(40)]
        inboxes = {
            partition: await stack.enter_async_context(bus.inbox(SERVICE, TYPES, partition))
            for partition in range(limits.PARTITIONS)
        }
        tail = await stack.enter_async_context(bus.tail(pattern, from_start=False))
        await publish_until_stored(bus, [event(1, name) for name in experiments])
        await receive_all(inboxes, [event(1, name) for name in experiments])
        assert [await anext(tail) for _ in experiments] == [event(1, it) for it in experiments]

        await server.kill()
        server.wipe()
        await server.start()
        after = [event(2, name) for name in experiments]
        async with asyncio.timeout(RECOVERY_S):
            await publish_until_stored(bus, after)
            await receive_all(inboxes, after)
            assert [await anext(tail) for _ in experiments] == after


async def receive_all(inboxes: Mapping[int, Inbox], messages: Sequence[Message]) -> None:
    wanted: dict[int, set[str]] = {partition: set() for partition in inboxes}
    for message in messages:
        named = subjects.parse_event(message.subject)
        partition = subjects.partition_of(named.namespace, named.experiment)
        wanted[partition].add(message.id)
    await asyncio.gather(
        *(receive(inboxes[it], ids, DEADLINE_S) for it, ids in wanted.items() if ids)
    )


async def test_publishing_while_the_server_is_away_fails_in_time_and_works_after(
    server: Server, connect: Connect
) -> None:
    bus = await connect(publish_deadline_s=1.0)
    await bus.publish([event(1)])
    await server.kill()
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(Transient, match="not published"):
        await bus.publish([event(2)])
    # Soon after its deadline of a second.
    assert loop.time() - started < 5.0
    with pytest.raises(Transient):
        await bus.request(Request(subject="trialbus.v1.cmd.n.e.stop", data=b""), timeout_s=1.0)
    assert not bus.connected
    await server.start()
    await publish_until_stored(bus, [event(2)])
    async with bus.inbox(SERVICE, TYPES, PARTITION) as inbox:
        received = await receive(inbox, {event(1).id, event(2).id}, RECOVERY_S)
    assert len(received) == 2


async def test_publishing_waits_for_a_server_that_comes_within_the_deadline(
    server: Server, connect: Connect
) -> None:
    bus = await connect(publish_deadline_s=DEADLINE_S)
    await bus.publish([event(1)])
    await server.kill()
    publishing = asyncio.create_task(bus.publish([event(2)]))
    await server.start()
    async with asyncio.timeout(RECOVERY_S):
        await publishing
    async with bus.inbox(SERVICE, TYPES, PARTITION) as inbox:
        assert len(await receive(inbox, {event(1).id, event(2).id}, RECOVERY_S)) == 2


async def test_a_frozen_server_is_noticed_and_used_again_when_it_thaws(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PING_INTERVAL_S", 0.2)
    bus = await NatsBus.open(
        ConnectionOptions(servers=[server.url], name="test"), publish_deadline_s=0.5
    )
    await publish_until_stored(bus, [event(1)])
    async with bus.inbox(SERVICE, TYPES, PARTITION) as inbox:
        await receive(inbox, {event(1).id}, DEADLINE_S)
        server.signal(signal.SIGSTOP)
        async with asyncio.timeout(RECOVERY_S):
            while bus.connected:
                assert await inbox.fetch(max_messages=1, timeout_s=0.1) == []
        with pytest.raises(Transient):
            await bus.publish([event(2)])
        server.signal(signal.SIGCONT)
        await publish_until_stored(bus, [event(2)])
        await receive(inbox, {event(2).id}, RECOVERY_S)
    await bus.close()


async def test_leaving_a_frozen_server_takes_seconds_and_leaves_nothing_running(
    server: Server, connect: Connect
) -> None:
    before = asyncio.all_tasks()
    bus = await connect()
    await bus.publish([event(1)])
    server.signal(signal.SIGSTOP)
    publishing = asyncio.create_task(bus.publish([event(2)]))
    await asyncio.sleep(0)
    async with asyncio.timeout(RECOVERY_S):
        await bus.close()
        with pytest.raises(Transient):
            await publishing
    server.signal(signal.SIGCONT)
    await until(lambda: asyncio.all_tasks() <= before, "no task is left")


async def test_a_supervisor_whose_cancellation_was_swallowed_ends_all_the_same(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = await connect()
    closing = asyncio.Event()

    async def close_and_swallow(self: Client) -> None:
        closing.set()
        with suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(Client, "close", close_and_swallow)
    await server.kill()
    async with asyncio.timeout(RECOVERY_S):
        await closing.wait()
        await bus.close()
    assert not bus.connected


async def test_a_request_under_way_fails_at_once_when_the_server_dies(
    server: Server, connect: Connect
) -> None:
    responder, asker = await connect(), await connect()
    in_hand = asyncio.Event()

    async def never(group: Sequence[Request]) -> Sequence[bytes]:
        in_hand.set()
        answers: asyncio.Future[Sequence[bytes]] = asyncio.get_running_loop().create_future()
        return await answers

    request = Request(subject=subjects.command("n", "e", "stop"), data=b"")
    serving = responder.serve(subjects.commands("stop"), SERVICE, never, max_group=8)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving)
        asking = asyncio.create_task(asker.request(request, timeout_s=DEADLINE_S))
        await in_hand.wait()
        await server.kill()
        async with asyncio.timeout(DEADLINE_S / 3):
            with pytest.raises(Transient, match="lost"):
                await asking
        stack.pop_all()


async def test_a_process_may_start_before_its_server(server: Server) -> None:
    await server.kill()
    options = ConnectionOptions(servers=[server.url], name="test")
    bus = await NatsBus.open(options, wait_s=0.1)
    assert not bus.connected
    await server.start()
    await publish_until_stored(bus, [event(1)])
    assert bus.connected
    await bus.close()


async def test_a_responder_serves_again_after_the_server_was_killed(
    server: Server, connect: Connect
) -> None:
    responder, asker = await connect(), await connect()

    async def answer(group: Sequence[Request]) -> Sequence[bytes]:
        return [b"ok" for _ in group]

    request = Request(subject=subjects.command("n", "e", "stop"), data=b"")
    async with responder.serve(subjects.commands("stop"), SERVICE, answer, max_group=8):
        await server.kill()
        await server.start()
        async with asyncio.timeout(RECOVERY_S):
            while True:
                try:
                    assert await asker.request(request, timeout_s=1.0) == b"ok"
                    break
                except Transient:
                    await asyncio.sleep(0)


async def test_every_connection_in_place_of_a_lost_one_is_counted(
    server: Server, connect: Connect
) -> None:
    bus = await connect()
    for count in (1, 2):
        await server.kill()
        await until(lambda: not bus.connected, "the loss is noticed")
        assert bus.reconnects == count - 1
        await server.start()
        await until(lambda: bus.connected, "connected again")
        assert bus.reconnects == count
