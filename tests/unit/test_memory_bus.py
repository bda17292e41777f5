"""The faults that the bus in memory can play,, in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from trialbus.contracts import subjects
from trialbus.contracts.messages import Message, Request
from trialbus.kernel import limits
from trialbus.kernel.errors import Transient
from trialbus.testkit.memory_bus import Fate, Faults, MemoryBus, MemoryClient
from trialbus.testkit.virtual_time import run_virtual

TYPES = ["trial.created"]
PARTITION = subjects.partition_of("n", "e")
COMMAND = Request(subject=subjects.command("n", "e", "stop"), data=b"?")


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run_virtual(scenario(), limit_s=3600.0)


FINE = Fate()


class Scripted(Faults):
    def __init__(
        self, *, publish: Sequence[Fate] = (), request: Sequence[Fate] = (), reply: Fate = FINE
    ) -> None:
        self._publish = list(publish)
        self._request = list(request)
        self._reply = reply

    def on_publish(self, message: Message) -> Fate:
        return self._publish.pop(0) if self._publish else Fate()

    def on_request(self, request: Request) -> Fate:
        return self._request.pop(0) if self._request else Fate()

    def on_reply(self, request: Request) -> Fate:
        return self._reply


def event(number: int) -> Message:
    return Message(subject=subjects.event("n", "e", "trial.created"), data=b"{}", id=f"id-{number}")


async def take_all(client: MemoryClient, *, service: str = "experiment") -> list[str]:
    """Ids in the order of their coming, acknowledged, until nothing comes for a minute."""
    taken = []
    async with client.inbox(service, TYPES, PARTITION) as inbox:
        while batch := await inbox.fetch(max_messages=10, timeout_s=60.0):
            for delivery in batch:
                await delivery.ack()
                taken.append(delivery.message.id)
    return taken


def test_a_lost_event_is_confirmed_and_never_comes() -> None:
    async def scenario() -> None:
        server = MemoryBus(faults=Scripted(publish=[Fate(delays_s=())]))
        client = server.client("a")
        await client.publish([event(1), event(2)])
        assert await take_all(client) == ["id-2"]

    run(scenario)


def test_copies_come_each_after_its_delay_and_so_out_of_order() -> None:
    async def scenario() -> None:
        server = MemoryBus(
            faults=Scripted(publish=[Fate(delays_s=(0.0, 5.0)), Fate(delays_s=(9,))])
        )
        client = server.client("a")
        await client.publish([event(1), event(2), event(3)])
        assert await take_all(client) == ["id-1", "id-3", "id-1", "id-2"]

    run(scenario)


def test_an_unconfirmed_event_is_stored_once_and_the_publisher_does_not_know() -> None:
    async def scenario() -> None:
        client = MemoryBus(faults=Scripted(publish=[Fate(confirmed=False)])).client("a")
        with pytest.raises(Transient, match="1 of 2"):
            await client.publish([event(1), event(2)])
        await client.publish([event(1), event(2)])
        assert await take_all(client) == ["id-1", "id-2"]

    run(scenario)


def test_an_event_that_was_lost_without_a_confirmation_is_stored_by_the_repeat() -> None:
    async def scenario() -> None:
        lost = Fate(delays_s=(), confirmed=False)
        client = MemoryBus(faults=Scripted(publish=[lost])).client("a")
        with pytest.raises(Transient, match="1 of 1"):
            await client.publish([event(1)])
        await client.publish([event(1)])
        assert await take_all(client) == ["id-1"]

    run(scenario)


def test_the_memory_of_ids_ends_with_its_window() -> None:
    async def scenario() -> None:
        client = MemoryBus().client("a")
        await client.publish([event(1)])
        assert await take_all(client) == ["id-1"]
        loop = asyncio.get_running_loop()
        window_is_over = loop.create_future()
        loop.call_later(limits.DEDUPLICATION_WINDOW_S, window_is_over.set_result, None)
        await client.publish([event(1)])
        await window_is_over
        await client.publish([event(1)])
        assert await take_all(client) == ["id-1"]

    run(scenario)


async def echo(group: Sequence[Request]) -> Sequence[bytes]:
    return [request.data for request in group]


def test_lost_requests_and_lost_replies_are_transient_after_the_timeout() -> None:
    async def scenario() -> None:
        lost = Fate(delays_s=())
        handled: list[int] = []

        async def count(group: Sequence[Request]) -> Sequence[bytes]:
            handled.append(len(group))
            return await echo(group)

        for faults, expected in ((Scripted(request=[lost]), []), (Scripted(reply=lost), [1])):
            client = MemoryBus(faults=faults).client("a")
            handled.clear()
            async with client.serve(subjects.commands("stop"), "q", count, max_group=4):
                started = asyncio.get_running_loop().time()
                with pytest.raises(Transient, match="no answer"):
                    await client.request(COMMAND, timeout_s=5.0)
                assert asyncio.get_running_loop().time() - started == pytest.approx(5.0)
                assert handled == expected

    run(scenario)


def test_a_doubled_request_is_handled_twice_and_answered_once() -> None:
    async def scenario() -> None:
        client = MemoryBus(faults=Scripted(request=[Fate(delays_s=(0.0, 1.0))])).client("a")
        handled: list[int] = []
        second = asyncio.Event()

        async def count(group: Sequence[Request]) -> Sequence[bytes]:
            handled.append(len(group))
            if len(handled) == 2:
                second.set()
            return await echo(group)

        async with client.serve(subjects.commands("stop"), "q", count, max_group=4):
            assert await client.request(COMMAND, timeout_s=5.0) == b"?"
            await second.wait()
        assert handled == [1, 1]

    run(scenario)


def test_a_cut_client_reaches_nobody_until_it_is_mended() -> None:
    async def scenario() -> None:
        server = MemoryBus()
        client = server.client("a", deadline_s=2.0)
        await client.publish([event(1)])
        async with client.inbox("experiment", TYPES, PARTITION) as inbox:
            (delivery,) = await inbox.fetch(max_messages=1, timeout_s=1.0)
            client.cut()
            assert not client.connected
            for attempt in (
                delivery.ack(),
                delivery.bury("bad"),
                client.publish([event(2)]),
                client.request(COMMAND, timeout_s=1.0),
                client.provision(),
            ):
                with pytest.raises(Transient, match="cut off"):
                    await attempt
            await delivery.retry(0.0)
            await server.client("b").publish([event(3)])
            assert await inbox.fetch(max_messages=1, timeout_s=1.0) == []
            fetching = asyncio.create_task(inbox.fetch(max_messages=1, timeout_s=60.0))
            publishing = asyncio.create_task(client.publish([event(4)]))
            await asyncio.sleep(0)
            client.mend()
            await publishing
            assert [it.message.id for it in await fetching] == ["id-3"]
        assert server.dead_letters == []

    run(scenario)


def test_the_requests_of_a_cut_responder_are_lost_and_those_of_a_vanished_one_go_elsewhere() -> (
    None
):
    async def scenario() -> None:
        server = MemoryBus()
        asker, one, two = (server.client(name) for name in ("asker", "one", "two"))
        async with AsyncExitStack() as stack:
            for client in (one, two):
                serving = client.serve(subjects.commands("stop"), "q", echo, max_group=4)
                await stack.enter_async_context(serving)
            one.cut()
            answered = [await _answered(asker) for _ in range(6)]
            assert sorted(answered) == [False] * 3 + [True] * 3
            one.vanish()
            assert all([await _answered(asker) for _ in range(6)])

    run(scenario)


async def _answered(client: MemoryClient) -> bool:
    try:
        await client.request(COMMAND, timeout_s=1.0)
    except Transient:
        return False
    return True


def test_what_a_vanished_process_awaits_never_returns_and_its_messages_go_to_another() -> None:
    async def scenario() -> None:
        server = MemoryBus()
        gone, stays = server.client("gone"), server.client("stays")
        await gone.publish([event(1)])
        async with (
            gone.inbox("experiment", TYPES, PARTITION) as inbox,
            gone.tail(subjects.events(), from_start=False) as tail,
        ):
            (delivery,) = await inbox.fetch(max_messages=1, timeout_s=1.0)
            fetching = asyncio.create_task(inbox.fetch(max_messages=1, timeout_s=1.0))
            following = asyncio.ensure_future(anext(tail))
            await asyncio.sleep(0)
            gone.vanish()
            awaited: list[asyncio.Future[Any]] = [fetching, following]
            awaited += [
                asyncio.create_task(delivery.ack()),
                asyncio.create_task(gone.publish([event(2)])),
                asyncio.create_task(gone.request(COMMAND, timeout_s=1.0)),
            ]
            await stays.publish([event(3)])
            assert await take_all(stays) == ["id-3", "id-1"]
            assert asyncio.get_running_loop().time() > limits.ACK_WAIT_S
            assert not any(task.done() for task in awaited)
            for task in awaited:
                task.cancel()

    run(scenario)


def test_after_a_wipe_queues_and_tails_go_on_with_what_comes() -> None:
    async def scenario() -> None:
        server = MemoryBus()
        client = server.client("a")
        async with client.tail(subjects.events(), from_start=False) as tail:
            await client.publish([event(1), event(2)])
            assert (await anext(tail)).id == "id-1"
            server.wipe()
            await client.publish([event(1), event(3)])
            assert [(await anext(tail)).id for _ in range(2)] == ["id-1", "id-3"]
            assert await take_all(client) == ["id-1", "id-3"]

    run(scenario)


def test_what_nobody_handles_stops_some_deliveries_beyond_the_limit() -> None:
    async def scenario() -> None:
        client = MemoryBus().client("a")
        await client.publish([event(1)])
        attempts = []
        async with client.inbox("experiment", TYPES, PARTITION) as inbox:
            while batch := await inbox.fetch(max_messages=1, timeout_s=60.0):
                attempts.append(batch[0].attempt)
        assert attempts == list(range(1, limits.MAX_DELIVERIES + limits.BURIAL_DELIVERIES + 1))

    run(scenario)
