"""The bus on a healthy server: what it makes there, what it refuses, and what it bounds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from trialbus.adapters.nats_bus import ConnectionOptions, NatsBus, connection, pulling
from trialbus.contracts import subjects
from trialbus.contracts.messages import Message, Request
from trialbus.kernel import limits
from trialbus.kernel.errors import Poison, Transient
from trialbus.ports.bus import Delivery, Inbox
from trialbus.testkit.bus_probes import DEADLINE_S
from trialbus.testkit.bus_worlds import forget_streams, provision

pytestmark = pytest.mark.servers

RECOVERY_S = 10.0
ACK_WAIT_S = 10.0
SERVICE = "experiment"
TYPES = ["trial.created"]
PARTITION = subjects.partition_of("n", "e")


@pytest.fixture
async def connect(nats_url: str) -> AsyncIterator[Callable[[], Awaitable[NatsBus]]]:
    await forget_streams(nats_url)
    async with AsyncExitStack() as stack:

        async def connect() -> NatsBus:
            bus = await NatsBus.open(
                ConnectionOptions(servers=[nats_url], name="test"),
                publish_deadline_s=DEADLINE_S,
                ack_wait_s=ACK_WAIT_S,
            )
            stack.push_async_callback(bus.close)
            return bus

        yield connect


Connect = Callable[[], Awaitable[NatsBus]]


def event(number: int) -> Message:
    return Message(subject=subjects.event("n", "e", "trial.created"), data=b"{}", id=f"e:{number}")


async def receive(inbox: Inbox, wanted: set[str], within_s: float) -> list[Delivery]:
    """Acknowledges whatever comes until every id of `wanted` has come."""
    missing, received = set(wanted), list[Delivery]()
    async with asyncio.timeout(within_s):
        while missing:
            batch = await inbox.fetch(max_messages=256, timeout_s=1.0)
            for delivery in batch:
                await acknowledge(delivery)
            received += batch
            missing -= {it.message.id for it in batch}
    return received


async def acknowledge(delivery: Delivery) -> bool:
    try:
        await delivery.ack()
    except Transient:
        return False
    return True


async def test_a_consumer_deleted_behind_our_back_is_made_again_without_a_full_replay(
    nats_url: str, connect: Connect
) -> None:
    bus = await connect()
    admin = await nats.connect(nats_url)
    async with bus.inbox(SERVICE, TYPES, PARTITION) as inbox:
        await bus.publish([event(1)])
        await receive(inbox, {event(1).id}, DEADLINE_S)
        fetching = asyncio.create_task(receive(inbox, {event(2).id}, DEADLINE_S))
        durable = subjects.durable(SERVICE, PARTITION)
        await admin.jetstream().delete_consumer(subjects.EVENT_STREAM, durable)
        await bus.publish([event(2)])
        async with asyncio.timeout(RECOVERY_S):
            await fetching
        remade = await admin.jetstream().consumer_info(subjects.EVENT_STREAM, durable)
        assert remade.config.deliver_policy == "by_start_time"
    await admin.close()


async def test_a_stream_deleted_behind_our_back_is_made_again(
    nats_url: str, connect: Connect
) -> None:
    bus = await connect()
    await provision(bus)
    admin = await nats.connect(nats_url)
    async with bus.inbox(SERVICE, TYPES, PARTITION) as inbox:
        assert await inbox.fetch(max_messages=1, timeout_s=0.1) == []
        await admin.jetstream().delete_stream(subjects.EVENT_STREAM)
        await bus.publish([event(1)])
        await receive(inbox, {event(1).id}, RECOVERY_S)
        info = await admin.jetstream().stream_info(subjects.EVENT_STREAM)
        assert info.state.messages == 1
    await admin.close()


async def test_provisioning_twice_changes_nothing_and_a_new_size_is_taken(nats_url: str) -> None:
    admin = await nats.connect(nats_url)
    await forget_streams(nats_url)
    with pytest.raises(NotFoundError):
        await admin.jetstream().stream_info(subjects.EVENT_STREAM)
    for size in (10_000_000, 10_000_000, 20_000_000):
        bus = await NatsBus.open(
            ConnectionOptions(servers=[nats_url], name="test"), event_stream_bytes=size
        )
        await provision(bus)
        config = (await admin.jetstream().stream_info(subjects.EVENT_STREAM)).config
        assert (config.max_bytes, config.discard) == (size, "old")
        await bus.close()
    await admin.close()


async def test_an_inbox_makes_what_it_needs_on_an_empty_server(
    nats_url: str, connect: Connect
) -> None:
    bus, admin = await connect(), await nats.connect(nats_url)
    async with bus.inbox(SERVICE, TYPES, PARTITION) as inbox:
        assert await inbox.fetch(max_messages=1, timeout_s=0.5) == []
        info = await admin.jetstream().stream_info(subjects.EVENT_STREAM)
        assert info.state.consumer_count == 1
    await admin.close()


async def test_what_was_brought_but_never_handed_out_goes_back_when_leaving(
    nats_url: str, connect: Connect
) -> None:
    bus, admin = await connect(), await nats.connect(nats_url)
    loop = asyncio.get_running_loop()
    async with bus.inbox(SERVICE, TYPES, PARTITION) as inbox:
        assert await inbox.fetch(max_messages=10, timeout_s=0.5) == []
        await bus.publish([event(1), event(2), event(3)])
        (first,) = await receive_one(inbox)
        # The others are sent, and with the next answer on the same connection they are here.
        await until_async(lambda: given_out(admin), 2)
        await bus.backlog(SERVICE)
        left_at = loop.time()
    async with bus.inbox(SERVICE, TYPES, PARTITION) as inbox:
        await receive(inbox, {it.id for it in (event(1), event(2), event(3))} - {first}, 5.0)
    # Well before the acknowledgement wait is over.
    assert loop.time() - left_at < ACK_WAIT_S / 2
    await admin.close()


async def receive_one(inbox: Inbox) -> list[str]:
    (delivery,) = await inbox.fetch(max_messages=1, timeout_s=DEADLINE_S)
    await delivery.ack()
    return [delivery.message.id]


async def test_a_lost_pull_is_noticed_by_the_silence_and_repeated(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "SILENCE_S", 0.3)
    bus = await connect()
    pulls: list[str] = []
    send = connection.Connection.publish

    async def lose_the_first_pull(
        self: connection.Connection, subject: str, data: bytes, **more: Any
    ) -> None:
        if ".MSG.NEXT." in subject:
            pulls.append(subject)
            if len(pulls) == 1:
                return
        await send(self, subject, data, **more)

    async with bus.inbox(SERVICE, TYPES, PARTITION) as inbox:
        await bus.publish([event(1)])
        monkeypatch.setattr(connection.Connection, "publish", lose_the_first_pull)
        await receive(inbox, {event(1).id}, RECOVERY_S)
    assert len(pulls) >= 2


async def test_what_nobody_handles_stops_after_some_deliveries_beyond_the_limit(
    nats_url: str, connect: Connect
) -> None:
    bus = await connect()
    await bus.publish([event(1)])
    attempts = []
    async with bus.inbox(SERVICE, TYPES, PARTITION) as inbox:
        while batch := await inbox.fetch(max_messages=1, timeout_s=1.0):
            attempts.append(batch[0].attempt)
            await batch[0].retry(0.0)
    assert attempts == list(range(1, limits.MAX_DELIVERIES + limits.BURIAL_DELIVERIES + 1))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a", "b\r\nNats-Msg-Id: evil"),
        ("a", "b\nc"),
        ("a\r\nNats-Msg-Id: evil", "b"),
        ("a: b", "c"),
        ("Nats-Msg-Id", "evil"),
        ("nats-expected-stream", "evil"),
    ],
)
async def test_a_header_cannot_bring_another_with_it(
    connect: Connect, name: str, value: str
) -> None:
    bus = await connect()
    with pytest.raises(ValueError, match="header"):
        await bus.publish(
            [Message(subject=event(1).subject, data=b"", id="x", headers={name: value})]
        )


async def test_an_id_cannot_bring_a_header_with_it(connect: Connect) -> None:
    bus = await connect()
    with pytest.raises(ValueError, match="header"):
        await bus.publish([Message(subject=event(1).subject, data=b"", id="x\r\nNats-TTL: 1")])


async def test_too_large_a_message_is_poison_and_the_largest_is_taken(connect: Connect) -> None:
    bus = await connect()
    largest = b"x" * limits.MAX_PAYLOAD_BYTES
    await provision(bus)
    await bus.publish([Message(subject=event(1).subject, data=largest, id="largest")])
    with pytest.raises(Poison, match="bytes"):
        await bus.publish([Message(subject=event(1).subject, data=largest + b"x", id="larger")])
    async with bus.inbox(SERVICE, TYPES, PARTITION) as inbox:
        (delivery,) = await receive(inbox, {"largest"}, DEADLINE_S)
    assert delivery.message.data == largest


async def test_a_fetch_does_not_bring_more_bytes_than_its_limit_into_memory(
    nats_url: str, connect: Connect
) -> None:
    bus, admin = await connect(), await nats.connect(nats_url)
    await provision(bus)
    data = b"x" * limits.MAX_PAYLOAD_BYTES
    sent = [Message(subject=event(1).subject, data=data, id=str(number)) for number in range(100)]
    await bus.publish(sent)

    async with bus.inbox(SERVICE, TYPES, PARTITION) as inbox:
        batch = await inbox.fetch(max_messages=256, timeout_s=DEADLINE_S)
        most = pulling.MAX_PULL_BYTES // limits.MAX_PAYLOAD_BYTES
        await until_async(lambda: given_out(admin), most - 1)
        # It would grow on while these go to and fro.
        assert max([await given_out(admin) for _ in range(50)]) <= most
        rest = {it.id for it in sent} - {it.message.id for it in batch}
        assert len(await receive(inbox, rest, DEADLINE_S)) >= len(rest)
    await admin.close()


async def test_a_call_that_is_cancelled_at_any_moment_leaves_the_connection_as_it_was(
    connect: Connect,
) -> None:
    bus = await connect()
    await provision(bus)

    async def answer(group: Sequence[Request]) -> Sequence[bytes]:
        return [b"" for _ in group]

    async def serve() -> None:
        async with bus.serve(subjects.commands("stop"), SERVICE, answer, max_group=1):
            await asyncio.Event().wait()

    for turns in range(40):
        serving = asyncio.create_task(serve())
        for _ in range(turns):
            await asyncio.sleep(0)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await bus.backlog(SERVICE)
    # Nor is anything left of what was cancelled.
    subject = subjects.command("n", "e", "stop")
    with pytest.raises(Transient, match="nobody answers"):
        await bus.request(Request(subject=subject, data=b""), timeout_s=DEADLINE_S)
    assert bus.reconnects == 0


async def given_out(admin: Client) -> int:
    durable = subjects.durable(SERVICE, PARTITION)
    info = await admin.jetstream().consumer_info(subjects.EVENT_STREAM, durable)
    return info.num_ack_pending or 0


async def until_async(count: Callable[[], Awaitable[int]], at_least: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while await count() < at_least:
            continue
