"""What every bus must do with events, tried on the real one and on the one in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from trialbus.contracts import subjects
from trialbus.contracts.envelope import (
    DEAD_DELIVERIES,
    DEAD_REASON,
    DEAD_SEQUENCE,
    DEAD_SUBJECT,
)
from trialbus.kernel.errors import Transient
from trialbus.ports.bus import Backlog, Bus, Delivery, Message
from trialbus.testkit import bus_worlds
from trialbus.testkit.bus_probes import (
    DEADLINE_S,
    QUIET_S,
    event,
    ids,
    nothing_comes,
    partition_of,
    receive,
    unique,
)
from trialbus.testkit.bus_worlds import BusWorld
from trialbus.testkit.waits import until

# Short, for tests that wait for its end; with the usual wait none comes to it.
ACK_WAIT_S = 0.4


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.servers)])
def bus_url(request: pytest.FixtureRequest) -> str | None:
    """None: in memory. Not async, because the server's fixture runs an event loop."""
    return None if request.param == "memory" else request.getfixturevalue("nats_url")


@pytest.fixture
async def world(bus_url: str | None) -> AsyncIterator[BusWorld]:
    async with bus_worlds.bus_world(bus_url) as world:
        yield world


@pytest.fixture
async def hasty_world(bus_url: str | None) -> AsyncIterator[BusWorld]:
    async with bus_worlds.bus_world(bus_url, ack_wait_s=ACK_WAIT_S) as world:
        yield world


@pytest.fixture
def namespace() -> str:
    return unique("namespace")


@pytest.fixture
def service() -> str:
    return unique("service")


async def test_a_published_message_arrives_as_it_was_sent(
    world: BusWorld, service: str, namespace: str
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
    world: BusWorld, service: str, namespace: str
) -> None:
    bus = await world.connect()
    sent = [event(namespace, number) for number in range(3)]
    await bus.publish(sent)
    async with bus.inbox(service, ["trial.created"], partition_of(namespace)) as inbox:
        assert ids(await receive(inbox, 3)) == [it.id for it in sent]


async def test_one_fetch_brings_all_that_is_there_up_to_its_maximum(
    world: BusWorld, service: str, namespace: str
) -> None:
    bus = await world.connect()
    async with bus.inbox(service, ["trial.created"], partition_of(namespace)) as inbox:
        await bus.publish([event(namespace, number) for number in range(600)])
        first = await inbox.fetch(max_messages=200, timeout_s=DEADLINE_S)
        assert 1 <= len(first) <= 200
        rest = await receive(inbox, 600 - len(first))
        assert ids([*first, *rest]) == [event(namespace, number).id for number in range(600)]


async def test_an_empty_inbox_gives_nothing_after_the_timeout(
    world: BusWorld, service: str, namespace: str
) -> None:
    bus = await world.connect()
    async with bus.inbox(service, ["trial.created"], partition_of(namespace)) as inbox:
        started = asyncio.get_running_loop().time()
        assert await inbox.fetch(max_messages=1, timeout_s=QUIET_S) == []
        assert asyncio.get_running_loop().time() - started >= QUIET_S * 0.9


async def test_a_cancelled_fetch_loses_nothing(
    world: BusWorld, service: str, namespace: str
) -> None:
    bus = await world.connect()
    async with bus.inbox(service, ["trial.created"], partition_of(namespace)) as inbox:
        for number in range(20):
            fetching = asyncio.create_task(inbox.fetch(max_messages=1, timeout_s=DEADLINE_S))
            await bus.publish([event(namespace, number)])
            fetching.cancel()
            done = (await asyncio.gather(fetching, return_exceptions=True))[0]
            if isinstance(done, BaseException):
                done = await receive(inbox, 1)
            (delivery,) = done
            assert delivery.message.id == event(namespace, number).id
            # Not lost and given out again.
            assert delivery.attempt == 1
            await delivery.ack()


async def test_an_inbox_hears_only_its_event_types(
    world: BusWorld, service: str, namespace: str
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
    world: BusWorld, service: str, namespace: str
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
    world: BusWorld, service: str, namespace: str
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
    world: BusWorld, service: str, namespace: str
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
    hasty_world: BusWorld, service: str, namespace: str
) -> None:
    gone, stays = await hasty_world.connect(), await hasty_world.connect()
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
    hasty_world: BusWorld, service: str, namespace: str
) -> None:
    bus = await hasty_world.connect()
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
    world: BusWorld, service: str, namespace: str
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
    world: BusWorld, service: str, namespace: str
) -> None:
    bus = await world.connect()
    partition = partition_of(namespace)
    async with bus.inbox(service, ["trial.created"], partition) as inbox:
        assert await nothing_comes(inbox)
    async with bus.inbox(service, ["trial.created", "trial.failed"], partition) as inbox:
        assert await nothing_comes(inbox)
        await bus.publish([event(namespace, type_="trial.failed")])
        assert len(await receive(inbox, 1)) == 1


async def test_the_same_id_is_stored_once(world: BusWorld, service: str, namespace: str) -> None:
    bus = await world.connect()
    await bus.publish([event(namespace, 1), event(namespace, 1)])
    await bus.publish([event(namespace, 1), event(namespace, 2)])
    async with bus.inbox(service, ["trial.created"], partition_of(namespace)) as inbox:
        assert ids(await receive(inbox, 2)) == [event(namespace, 1).id, event(namespace, 2).id]
        assert await nothing_comes(inbox)


async def test_a_buried_message_is_in_the_dead_letters_and_blocks_nobody(
    hasty_world: BusWorld, service: str, namespace: str
) -> None:
    bus = await hasty_world.connect()
    bad = event(namespace, 1)
    async with bus.inbox(service, ["trial.created"], partition_of(namespace)) as inbox:
        await bus.publish([bad, event(namespace, 2)])
        first, second = await receive(inbox, 2)
        await first.bury("no such field: 100% wrong\r\nNats-Msg-Id: evil")
        await second.ack()
        assert await inbox.fetch(max_messages=1, timeout_s=ACK_WAIT_S * 2) == []
    (letter,) = await hasty_world.dead_letters(service)
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
async def test_only_the_subject_of_one_event_can_be_published(
    world: BusWorld, subject: str
) -> None:
    bus = await world.connect()
    with pytest.raises(ValueError, match="not a "):
        await bus.publish([Message(subject=subject, data=b"{}", id="x")])


async def test_a_closed_bus_is_not_connected_and_publishes_nothing(
    world: BusWorld, namespace: str
) -> None:
    bus = await world.connect()
    assert bus.connected
    await bus.close()
    assert not bus.connected


async def test_the_backlog_is_what_waits_and_what_is_in_hand(
    world: BusWorld, service: str, namespace: str
) -> None:
    """Of one service, over all partitions."""
    bus, experiments = await world.connect(), [f"e{number}" for number in range(6)]
    assert await bus.backlog(service) == Backlog(pending=0, in_hand=0)
    partitions = {partition_of(namespace, it) for it in experiments}
    assert len(partitions) > 1
    async with AsyncExitStack() as stack:
        inboxes = [
            await stack.enter_async_context(bus.inbox(service, ["trial.created"], number))
            for number in partitions
        ]
        for inbox in inboxes:
            assert await nothing_comes(inbox)
        await bus.publish([event(namespace, experiment=it) for it in experiments])
        await bus.publish([event(namespace, 1, type_="trial.failed")])
        held = [it for inbox in inboxes for it in await receive(inbox, 1)]
        await until(
            lambda: backlog_is(bus, service, len(experiments) - len(held), len(held)), "in hand"
        )
        rest = len(experiments) - len(held)
        for delivery in held:
            await delivery.ack()
        await until(lambda: backlog_is(bus, service, rest, 0), "acknowledged")
    assert await bus.backlog(unique("other")) == Backlog(pending=0, in_hand=0)
    await bus.close()
    with pytest.raises(Transient):
        await bus.backlog(service)


async def backlog_is(bus: Bus, service: str, pending: int, in_hand: int) -> bool:
    return await bus.backlog(service) == Backlog(pending=pending, in_hand=in_hand)
