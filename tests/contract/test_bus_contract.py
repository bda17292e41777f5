"""What every bus must do, tried on the real one and on the one in memory."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import nats
import pytest
from nats.js.errors import NotFoundError

from trialbus.adapters.nats_bus import ConnectionOptions, NatsBus
from trialbus.contracts import subjects
from trialbus.contracts.envelope import (
    DEAD_DELIVERIES,
    DEAD_REASON,
    DEAD_SEQUENCE,
    DEAD_SUBJECT,
)
from trialbus.kernel.errors import Transient
from trialbus.ports.bus import Bus, Delivery, Inbox, Message, Request
from trialbus.testkit.memory_bus import MemoryBus

DEADLINE_S = 20.0
ACK_WAIT_S = 0.4
# Long enough for a message to come, if one would.
QUIET_S = 0.2


@dataclass(kw_only=True)
class World:
    """A server, and as many connections to it as a test wants."""

    connect: Callable[[], Awaitable[Bus]]
    dead_letters: Callable[[str], Awaitable[Sequence[Message]]]


@pytest.fixture
async def memory_world() -> AsyncIterator[World]:
    server = MemoryBus(ack_wait_s=ACK_WAIT_S)

    async def connect() -> Bus:
        return server.client("test")

    async def dead_letters(service: str) -> Sequence[Message]:
        return [it for it in server.dead_letters if it.subject == subjects.dead_letter(service)]

    yield World(connect=connect, dead_letters=dead_letters)


@pytest.fixture
async def nats_world(nats_url: str) -> AsyncIterator[World]:
    await forget_streams(nats_url)
    async with AsyncExitStack() as stack:

        async def connect() -> Bus:
            options = ConnectionOptions(servers=[nats_url], name="test")
            bus = await NatsBus.open(options, ack_wait_s=ACK_WAIT_S)
            stack.push_async_callback(bus.close)
            await bus.provision()
            return bus

        async def dead_letters(service: str) -> Sequence[Message]:
            client = await nats.connect(nats_url)
            found = await client.jetstream().get_last_msg(
                subjects.DEAD_LETTER_STREAM, subjects.dead_letter(service)
            )
            await client.close()
            headers = dict(found.headers or {})
            message_id = headers.pop("Nats-Msg-Id")
            data = found.data or b""
            return [Message(subject=found.subject or "", data=data, id=message_id, headers=headers)]

        yield World(connect=connect, dead_letters=dead_letters)


async def forget_streams(nats_url: str) -> None:
    """Tests share a server, and an inbox hears all experiments of its partition."""
    client = await nats.connect(nats_url)
    for stream in (subjects.EVENT_STREAM, subjects.DEAD_LETTER_STREAM):
        with suppress(NotFoundError):
            await client.jetstream().delete_stream(stream)
    await client.close()


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.servers)])
def world(request: pytest.FixtureRequest) -> World:
    made: World = request.getfixturevalue(f"{request.param}_world")
    return made


@pytest.fixture
def service() -> str:
    return unique("service")


@pytest.fixture
def namespace() -> str:
    return unique("namespace")


def unique(prefix: str) -> str:
    digits = str.maketrans("0123456789", "ghijklmnop")
    return prefix + uuid.uuid4().hex.translate(digits)


def event(
    namespace: str, number: int = 0, *, experiment: str = "e", type_: str = "trial.created"
) -> Message:
    return Message(
        subject=subjects.event(namespace, experiment, type_),
        data=b'{"number": %d}' % number,
        id=f"{namespace}.{experiment}.{type_}.{number}",
        headers={"ce-id": str(number)},
    )


def partition_of(namespace: str, experiment: str = "e") -> int:
    return subjects.partition_of(namespace, experiment)


async def receive(inbox: Inbox, count: int) -> list[Delivery]:
    received: list[Delivery] = []
    async with asyncio.timeout(DEADLINE_S):
        while len(received) < count:
            received += await inbox.fetch(max_messages=count, timeout_s=1.0)
    return received


async def nothing_comes(inbox: Inbox) -> bool:
    return not await inbox.fetch(max_messages=1, timeout_s=QUIET_S)


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    return [it.message.id for it in deliveries]


async def test_a_published_message_arrives_as_it_was_sent(
    world: World, service: str, namespace: str
) -> None:
    bus = await world.connect()
    sent = event(namespace, 7)
    async with bus.inbox(service, ["trial.created"], partition_of(namespace)) as inbox:
        await bus.publish([sent])
        (delivery,) = await receive(inbox, 1)
        assert delivery.message == sent
        assert delivery.attempt == 1
        await delivery.ack()


async def test_what_was_published_before_the_first_fetch_is_not_lost(
    world: World, service: str, namespace: str
) -> None:
    bus = await world.connect()
    sent = [event(namespace, number) for number in range(3)]
    await bus.publish(sent)
    async with bus.inbox(service, ["trial.created"], partition_of(namespace)) as inbox:
        assert ids(await receive(inbox, 3)) == [it.id for it in sent]


async def test_one_fetch_brings_all_that_is_there_up_to_its_maximum(
    world: World, service: str, namespace: str
) -> None:
    bus = await world.connect()
    async with bus.inbox(service, ["trial.created"], partition_of(namespace)) as inbox:
        await bus.publish([event(namespace, number) for number in range(600)])
        first = await inbox.fetch(max_messages=200, timeout_s=DEADLINE_S)
        assert 1 <= len(first) <= 200
        rest = await receive(inbox, 600 - len(first))
        assert ids([*first, *rest]) == [event(namespace, number).id for number in range(600)]


async def test_an_empty_inbox_gives_nothing_after_the_timeout(
    world: World, service: str, namespace: str
) -> None:
    bus = await world.connect()
    async with bus.inbox(service, ["trial.created"], partition_of(namespace)) as inbox:
        started = asyncio.get_running_loop().time()
        assert await inbox.fetch(max_messages=1, timeout_s=QUIET_S) == []
        assert asyncio.get_running_loop().time() - started >= QUIET_S * 0.9


async def test_a_cancelled_fetch_loses_nothing(world: World, service: str, namespace: str) -> None:
    bus = await world.connect()
    async with bus.inbox(service, ["trial.created"], partition_of(namespace)) as inbox:
        for number in range(20):
            fetching = asyncio.create_task(inbox.fetch(max_messages=1, timeout_s=DEADLINE_S))
            await bus.publish([event(namespace, number)])
            fetching.cancel()
            done = (await asyncio.gather(fetching, return_exceptions=True))[0]
            if isinstance(done, BaseException):
                done = await receive(inbox, 1)
            assert ids(done) == [event(namespace, number).id]


async def test_an_inbox_hears_only_its_event_types(
    world: World, service: str, namespace: str
) -> None:
    bus = await world.connect()
    await bus.publish(
        [
            event(namespace, type_="trial.created"),
            event(namespace, type_="trial.failed"),
            event(namespace, type_="trials.opened"),
        ]
    )
    types = ["trials.opened", "trial.created"]
    async with bus.inbox(service, types, partition_of(namespace)) as inbox:
        received = await receive(inbox, 2)
        assert [subjects.parse_event(it.message.subject).type for it in received] == [
            "trial.created",
            "trials.opened",
        ]
        assert await nothing_comes(inbox)


async def test_an_experiment_is_always_in_the_partition_that_its_names_give(
    world: World, service: str, namespace: str
) -> None:
    bus = await world.connect()
    experiments = [f"e{number}" for number in range(24)]
    wanted: dict[int, list[str]] = {}
    for name in experiments:
        wanted.setdefault(partition_of(namespace, name), []).append(name)
    for number in range(2):
        await bus.publish([event(namespace, number, experiment=name) for name in experiments])
    assert len(wanted) > 8
    for partition, names in wanted.items():
        async with bus.inbox(service, ["trial.created"], partition) as inbox:
            received = await receive(inbox, 2 * len(names))
            found = [subjects.parse_event(it.message.subject).experiment for it in received]
            assert found == names * 2
            assert await nothing_comes(inbox)


async def test_each_service_gets_its_own_copy_and_its_replicas_share(
    world: World, service: str, namespace: str
) -> None:
    one, two = await world.connect(), await world.connect()
    partition = partition_of(namespace)
    async with (
        one.inbox(service, ["trial.created"], partition) as replica_one,
        two.inbox(service, ["trial.created"], partition) as replica_two,
        one.inbox(unique("other"), ["trial.created"], partition) as other,
    ):
        sent = [event(namespace, number) for number in range(40)]
        await one.publish(sent)
        shared: list[Delivery] = []
        async with asyncio.timeout(DEADLINE_S):
            while len(shared) < len(sent):
                for replica in (replica_one, replica_two):
                    batch = await replica.fetch(max_messages=10, timeout_s=0.05)
                    for delivery in batch:
                        await delivery.ack()
                    shared += batch
        assert sorted(ids(shared)) == sorted(it.id for it in sent)
        assert ids(await receive(other, 40)) == [it.id for it in sent]


async def test_retry_brings_the_message_again_after_the_delay(
    world: World, service: str, namespace: str
) -> None:
    bus = await world.connect()
    async with bus.inbox(service, ["trial.created"], partition_of(namespace)) as inbox:
        await bus.publish([event(namespace)])
        (first,) = await receive(inbox, 1)
        started = asyncio.get_running_loop().time()
        await first.retry(0.15)
        (second,) = await receive(inbox, 1)
        assert asyncio.get_running_loop().time() - started >= 0.14
        assert (second.message.id, second.attempt) == (first.message.id, 2)


async def test_what_a_vanished_consumer_had_in_hand_goes_to_another(
    world: World, service: str, namespace: str
) -> None:
    gone, stays = await world.connect(), await world.connect()
    partition = partition_of(namespace)
    await gone.publish([event(namespace, number) for number in range(3)])
    async with gone.inbox(service, ["trial.created"], partition) as inbox:
        taken = await receive(inbox, 3)
        await taken[0].ack()
    await gone.close()
    async with stays.inbox(service, ["trial.created"], partition) as inbox:
        again = await receive(inbox, 2)
        assert sorted(ids(again)) == sorted(ids(taken[1:]))
        assert {it.attempt for it in again} == {2}


async def test_an_acknowledged_message_never_comes_again(
    world: World, service: str, namespace: str
) -> None:
    bus = await world.connect()
    partition = partition_of(namespace)
    async with bus.inbox(service, ["trial.created"], partition) as inbox:
        await bus.publish([event(namespace, 1), event(namespace, 2)])
        one, two = await receive(inbox, 2)
        await one.ack()
        # The second comes again after the wait; by then so would the first.
        (again,) = await receive(inbox, 1)
        assert again.message.id == two.message.id
        await again.ack()
    async with bus.inbox(service, ["trial.created"], partition) as inbox:
        assert await nothing_comes(inbox)


async def test_a_consumer_that_comes_back_goes_on_where_it_left(
    world: World, service: str, namespace: str
) -> None:
    bus = await world.connect()
    partition = partition_of(namespace)
    await bus.publish([event(namespace, 1)])
    async with bus.inbox(service, ["trial.created"], partition) as inbox:
        for delivery in await receive(inbox, 1):
            await delivery.ack()
    await bus.publish([event(namespace, 2)])
    async with bus.inbox(service, ["trial.created"], partition) as inbox:
        assert ids(await receive(inbox, 1)) == [event(namespace, 2).id]


async def test_a_consumer_may_change_its_event_types(
    world: World, service: str, namespace: str
) -> None:
    bus = await world.connect()
    partition = partition_of(namespace)
    async with bus.inbox(service, ["trial.created"], partition) as inbox:
        assert await nothing_comes(inbox)
    async with bus.inbox(service, ["trial.created", "trial.failed"], partition) as inbox:
        assert await nothing_comes(inbox)
        await bus.publish([event(namespace, type_="trial.failed")])
        assert len(await receive(inbox, 1)) == 1


async def test_the_same_id_is_stored_once(world: World, service: str, namespace: str) -> None:
    bus = await world.connect()
    await bus.publish([event(namespace, 1), event(namespace, 1)])
    await bus.publish([event(namespace, 1), event(namespace, 2)])
    async with bus.inbox(service, ["trial.created"], partition_of(namespace)) as inbox:
        assert ids(await receive(inbox, 2)) == [event(namespace, 1).id, event(namespace, 2).id]
        assert await nothing_comes(inbox)


async def test_a_buried_message_is_in_the_dead_letters_and_blocks_nobody(
    world: World, service: str, namespace: str
) -> None:
    bus = await world.connect()
    bad = event(namespace, 1)
    async with bus.inbox(service, ["trial.created"], partition_of(namespace)) as inbox:
        await bus.publish([bad, event(namespace, 2)])
        first, second = await receive(inbox, 2)
        await first.bury("no such field: 100% wrong\r\nNats-Msg-Id: evil")
        await second.ack()
        assert await inbox.fetch(max_messages=1, timeout_s=ACK_WAIT_S * 2) == []
    (letter,) = await world.dead_letters(service)
    assert (letter.data, letter.subject) == (bad.data, subjects.dead_letter(service))
    sequence = letter.headers[DEAD_SEQUENCE]
    assert letter.id == f"dlq:{subjects.EVENT_STREAM}:{sequence}:{service}"
    assert letter.headers == {
        **bad.headers,
        DEAD_REASON: "no%20such%20field:%20100%25%20wrong%0D%0ANats-Msg-Id:%20evil",
        DEAD_SUBJECT: bad.subject,
        DEAD_SEQUENCE: sequence,
        DEAD_DELIVERIES: "1",
    }


@pytest.mark.parametrize(
    "subject",
    [
        "trialbus.v1.evt.*.e.trial.created",
        "trialbus.v1.evt.n.e.>",
        "trialbus.v1.evt.n.e.trial.created.more",
        "trialbus.v1.evt.n.E.trial.created",
        "trialbus.v1.evt.n.e\r\nPUB x 0\r\n.trial.created",
        "trialbus.v1.cmd.n.e.create",
    ],
)
async def test_only_the_subject_of_one_event_can_be_published(world: World, subject: str) -> None:
    bus = await world.connect()
    with pytest.raises(ValueError, match="not a "):
        await bus.publish([Message(subject=subject, data=b"{}", id="x")])


async def test_a_request_gets_its_own_answer_from_groups_of_limited_size(
    world: World, namespace: str
) -> None:
    bus, asker = await world.connect(), await world.connect()
    groups: list[int] = []
    first_is_in_hand, go_on = asyncio.Event(), asyncio.Event()

    async def answer(group: Sequence[Request]) -> Sequence[bytes]:
        groups.append(len(group))
        first_is_in_hand.set()
        await go_on.wait()
        return [request.data + b"!" + request.headers["n"].encode() for request in group]

    def ask(number: int) -> asyncio.Task[bytes]:
        subject = subjects.command(namespace, f"e{number}", "stop")
        request = Request(subject=subject, data=b"%d" % number, headers={"n": str(number)})
        return asyncio.create_task(asker.request(request, timeout_s=DEADLINE_S))

    pattern = f"trialbus.v1.cmd.{namespace}.*.stop"
    async with bus.serve(pattern, "experiment", answer, max_group=8):
        asked = [ask(0)]
        async with asyncio.timeout(DEADLINE_S):
            await first_is_in_hand.wait()
        asked += [ask(number) for number in range(1, 20)]
        # All are on their way before the first group is answered.
        await asyncio.gather(*(_some_turns() for _ in range(3)))
        await answered_elsewhere(asker, bus, namespace)
        go_on.set()
        answers = await asyncio.gather(*asked)
    assert answers == [b"%d!%d" % (number, number) for number in range(20)]
    assert groups == [1, 8, 8, 3]


async def answered_elsewhere(asker: Bus, bus: Bus, namespace: str) -> None:
    """A round trip on the same two connections: what was asked before has arrived."""

    async def answer(group: Sequence[Request]) -> Sequence[bytes]:
        return [b"" for _ in group]

    subject = subjects.command(namespace, "e", "round_trip")
    async with bus.serve(subject, "other", answer, max_group=1):
        await ask_until_answered(asker, Request(subject=subject, data=b""))


async def _some_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def ask_until_answered(bus: Bus, request: Request) -> bytes:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await bus.request(request, timeout_s=1.0)
            except Transient:
                # Until the server knows of the responder.
                await asyncio.sleep(0)


async def test_each_request_goes_to_one_member_of_a_queue_group(
    world: World, namespace: str
) -> None:
    members = [await world.connect() for _ in range(3)]
    handled = [0, 0, 0]

    def responder(number: int) -> Callable[[Sequence[Request]], Awaitable[Sequence[bytes]]]:
        async def answer(group: Sequence[Request]) -> Sequence[bytes]:
            handled[number] += len(group)
            return [b"ok" for _ in group]

        return answer

    subject = subjects.command(namespace, "e", "stop")
    async with AsyncExitStack() as stack:
        for number, member in enumerate(members):
            serving = member.serve(subject, "experiment", responder(number), max_group=4)
            await stack.enter_async_context(serving)
        for _ in range(60):
            await ask_until_answered(members[0], Request(subject=subject, data=b""))
    assert sum(handled) == 60
    assert all(handled)


async def test_a_request_that_nobody_serves_is_transient_at_once(
    world: World, namespace: str
) -> None:
    bus = await world.connect()
    request = Request(subject=subjects.command(namespace, "e", "stop"), data=b"")
    async with asyncio.timeout(DEADLINE_S / 2):
        with pytest.raises(Transient):
            await bus.request(request, timeout_s=DEADLINE_S)


async def test_a_responder_that_raises_gives_no_answer_and_serves_the_next(
    world: World, namespace: str
) -> None:
    bus = await world.connect()
    failures = [RuntimeError("first"), None, RuntimeError("second")]

    async def answer(group: Sequence[Request]) -> Sequence[bytes]:
        failure = failures.pop()
        if failure is not None:
            raise failure
        return [b"ok" for _ in group]

    subject = subjects.command(namespace, "e", "stop")
    request = Request(subject=subject, data=b"")
    async with bus.serve(subject, "experiment", answer, max_group=4):
        with pytest.raises(Transient):
            await bus.request(request, timeout_s=QUIET_S)
        assert await bus.request(request, timeout_s=DEADLINE_S) == b"ok"


async def test_a_responder_with_the_wrong_number_of_answers_gives_none(
    world: World, namespace: str
) -> None:
    bus = await world.connect()

    async def answer(group: Sequence[Request]) -> Sequence[bytes]:
        return [b"ok", b"ok", *(b"ok" for _ in group)]

    subject = subjects.command(namespace, "e", "stop")
    async with bus.serve(subject, "experiment", answer, max_group=4):
        with pytest.raises(Transient):
            await bus.request(Request(subject=subject, data=b""), timeout_s=QUIET_S)


async def test_leaving_answers_what_has_already_come(world: World, namespace: str) -> None:
    bus, asker = await world.connect(), await world.connect()
    in_hand, go_on = asyncio.Event(), asyncio.Event()

    async def answer(group: Sequence[Request]) -> Sequence[bytes]:
        in_hand.set()
        await go_on.wait()
        return [b"ok" for _ in group]

    subject = subjects.command(namespace, "e", "stop")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(bus.serve(subject, "experiment", answer, max_group=1))
        request = Request(subject=subject, data=b"")
        asked = asyncio.create_task(ask_until_answered(asker, request))
        async with asyncio.timeout(DEADLINE_S):
            await in_hand.wait()
        leaving = asyncio.create_task(stack.aclose())
        await _some_turns()
        go_on.set()
        assert await asked == b"ok"
        await leaving


async def test_a_tail_follows_in_order_from_now_on(world: World, namespace: str) -> None:
    bus = await world.connect()
    await bus.publish([event(namespace, 0)])
    sent = [event(namespace, number) for number in range(1, 300)]
    pattern = subjects.events(namespace=namespace)
    async with bus.tail(pattern, from_start=False) as messages:
        await bus.publish(sent)
        assert await first(messages, len(sent)) == sent


async def test_a_tail_from_the_start_sees_what_was_before_and_only_its_pattern(
    world: World, namespace: str
) -> None:
    bus = await world.connect()
    before = [event(namespace, number) for number in range(5)]
    await bus.publish([*before, event(namespace, experiment="other")])
    pattern = subjects.events(namespace=namespace, experiment="e")
    async with bus.tail(pattern, from_start=True) as messages:
        assert await first(messages, 5) == before
        await bus.publish([event(namespace, 5)])
        assert await first(messages, 1) == [event(namespace, 5)]


async def first(messages: AsyncIterator[Message], count: int) -> list[Message]:
    async with asyncio.timeout(DEADLINE_S):
        return [await anext(messages) for _ in range(count)]


async def test_a_tail_follows_events_only(world: World) -> None:
    bus = await world.connect()
    with pytest.raises(ValueError, match="not an event subject"):
        async with bus.tail("trialbus.v1.cmd.>", from_start=False):
            pytest.fail("it followed")


async def test_a_closed_bus_is_not_connected_and_publishes_nothing(
    world: World, namespace: str
) -> None:
    bus = await world.connect()
    assert bus.connected
    await bus.close()
    assert not bus.connected
