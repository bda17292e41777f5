"""What every bus must do with requests and followers, on the real one and on the one in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress

import pytest

from trialbus.contracts import subjects
from trialbus.kernel.errors import Transient
from trialbus.ports.bus import Bus, Request
from trialbus.testkit import bus_worlds
from trialbus.testkit.bus_probes import DEADLINE_S, QUIET_S, event, first, unique
from trialbus.testkit.bus_worlds import BusWorld


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.servers)])
def bus_url(request: pytest.FixtureRequest) -> str | None:
    """None: in memory. Not async, because the server's fixture runs an event loop."""
    return None if request.param == "memory" else request.getfixturevalue("nats_url")


@pytest.fixture
async def world(bus_url: str | None) -> AsyncIterator[BusWorld]:
    async with bus_worlds.bus_world(bus_url) as world:
        yield world


@pytest.fixture
def namespace() -> str:
    return unique("namespace")


async def test_a_request_gets_its_own_answer_from_groups_of_limited_size(
    world: BusWorld, namespace: str
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


async def ask_until_answered(bus: Bus, request: Request, *, timeout_s: float = DEADLINE_S) -> bytes:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await bus.request(request, timeout_s=timeout_s)
            except Transient:
                # Until the server knows of the responder.
                await asyncio.sleep(0)


async def test_each_request_goes_to_one_member_of_a_queue_group(
    world: BusWorld, namespace: str
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
    world: BusWorld, namespace: str
) -> None:
    bus = await world.connect()
    request = Request(subject=subjects.command(namespace, "e", "stop"), data=b"")
    async with asyncio.timeout(DEADLINE_S / 2):
        with pytest.raises(Transient):
            await bus.request(request, timeout_s=DEADLINE_S)


async def test_a_responder_that_raises_gives_no_answer_and_serves_the_next(
    world: BusWorld, namespace: str
) -> None:
    bus = await world.connect()
    has_failed = asyncio.Event()

    async def answer(group: Sequence[Request]) -> Sequence[bytes]:
        if not has_failed.is_set():
            has_failed.set()
            raise RuntimeError("the first")
        return [b"ok" for _ in group]

    subject = subjects.command(namespace, "e", "stop")
    request = Request(subject=subject, data=b"")
    async with bus.serve(subject, "experiment", answer, max_group=4):
        with pytest.raises(Transient):
            await bus.request(request, timeout_s=QUIET_S)
        async with asyncio.timeout(DEADLINE_S):
            await has_failed.wait()
        assert await bus.request(request, timeout_s=DEADLINE_S) == b"ok"


async def test_a_responder_with_the_wrong_number_of_answers_gives_none(
    world: BusWorld, namespace: str
) -> None:
    bus = await world.connect()

    async def answer(group: Sequence[Request]) -> Sequence[bytes]:
        return [b"ok", b"ok", *(b"ok" for _ in group)]

    subject = subjects.command(namespace, "e", "stop")
    async with bus.serve(subject, "experiment", answer, max_group=4):
        with pytest.raises(Transient):
            await bus.request(Request(subject=subject, data=b""), timeout_s=QUIET_S)


async def test_a_responder_may_leave_a_request_to_another_group(
    world: BusWorld, namespace: str
) -> None:
    bus, other = await world.connect(), await world.connect()

    async def answer_even(group: Sequence[Request]) -> Sequence[bytes | None]:
        return [None if int(it.data) % 2 else b"even" for it in group]

    async def answer_odd(group: Sequence[Request]) -> Sequence[bytes | None]:
        return [b"odd" if int(it.data) % 2 else None for it in group]

    subject = subjects.command(namespace, "e", "stop")
    asked = [Request(subject=subject, data=b"%d" % number) for number in range(4)]
    async with bus.serve(subject, "even", answer_even, max_group=4):
        assert await ask_until_answered(other, asked[0]) == b"even"
        with pytest.raises(Transient):
            await other.request(asked[1], timeout_s=QUIET_S)
        async with other.serve(subject, "odd", answer_odd, max_group=4):
            asking = (ask_until_answered(bus, it, timeout_s=1.0) for it in asked)
            found = await asyncio.gather(*asking)
    assert found == [b"even", b"odd", b"even", b"odd"]


async def test_leaving_answers_what_has_already_come(world: BusWorld, namespace: str) -> None:
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


async def test_whoever_asks_next_finds_who_serves_over_whichever_connection(
    world: BusWorld, namespace: str
) -> None:
    bus, asker = await world.connect(), await world.connect()

    async def answer(group: Sequence[Request]) -> Sequence[bytes]:
        return [b"ok" for _ in group]

    for number in range(100):
        subject = subjects.command(namespace, f"e{number}", "stop")
        async with bus.serve(subject, "experiment", answer, max_group=1):
            request = Request(subject=subject, data=b"")
            assert await asker.request(request, timeout_s=DEADLINE_S) == b"ok"


async def test_who_asks_while_the_responder_leaves_is_answered_or_told_that_nobody_is_there(
    world: BusWorld, namespace: str
) -> None:
    bus, asker = await world.connect(), await world.connect()
    answered = 0

    async def answer(group: Sequence[Request]) -> Sequence[bytes]:
        return [b"ok" for _ in group]

    async def ask(subject: str) -> None:
        nonlocal answered
        with suppress(Transient):
            await asker.request(Request(subject=subject, data=b""), timeout_s=2 * DEADLINE_S)
            answered += 1

    for number in range(30):
        subject = subjects.command(namespace, f"e{number}", "stop")
        async with AsyncExitStack() as stack:
            serving = bus.serve(subject, "experiment", answer, max_group=8)
            await stack.enter_async_context(serving)
            asking = [asyncio.create_task(ask(subject))]
            await _some_turns()
            leaving = asyncio.create_task(stack.aclose())
            while not leaving.done():
                asking.append(asyncio.create_task(ask(subject)))
                await asyncio.sleep(0)
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(leaving, *asking)
    assert answered > 0


async def test_a_tail_follows_in_order_from_now_on(world: BusWorld, namespace: str) -> None:
    bus = await world.connect()
    await bus.publish([event(namespace, 0)])
    sent = [event(namespace, number) for number in range(1, 300)]
    pattern = subjects.events(namespace=namespace)
    async with bus.tail(pattern, from_start=False) as messages:
        await bus.publish(sent)
        assert await first(messages, len(sent)) == sent


async def test_a_tail_from_the_start_sees_what_was_before_and_only_its_pattern(
    world: BusWorld, namespace: str
) -> None:
    bus = await world.connect()
    before = [event(namespace, number) for number in range(5)]
    await bus.publish([*before, event(namespace, experiment="other")])
    pattern = subjects.events(namespace=namespace, experiment="e")
    async with bus.tail(pattern, from_start=True) as messages:
        assert await first(messages, 5) == before
        await bus.publish([event(namespace, 5)])
        assert await first(messages, 1) == [event(namespace, 5)]


async def test_a_tail_tells_how_many_messages_were_stored_when_it_began(
    world: BusWorld, namespace: str
) -> None:
    bus = await world.connect()
    before = [event(namespace, number) for number in range(300)]
    await bus.publish([*before, event(namespace, experiment="other")])
    pattern = subjects.events(namespace=namespace, experiment="e")
    async with bus.tail(pattern, from_start=True) as tail:
        await bus.publish([event(namespace, 300)])
        assert tail.stored == len(before)
        assert await first(tail, tail.stored) == before
    nobodys = subjects.events(namespace=unique("namespace"))
    for nothing, from_start in ((pattern, False), (nobodys, True)):
        async with bus.tail(nothing, from_start=from_start) as tail:
            assert tail.stored == 0


async def test_a_tail_follows_events_only(world: BusWorld) -> None:
    bus = await world.connect()
    with pytest.raises(ValueError, match="not an event subject"):
        async with bus.tail("trialbus.v1.cmd.>", from_start=False):
            pytest.fail("it followed")


async def test_one_request_that_breaks_the_responder_keeps_no_answer_from_the_others(
    world: BusWorld, namespace: str
) -> None:
    bus, asker = await world.connect(), await world.connect()
    first_is_in_hand, go_on = asyncio.Event(), asyncio.Event()

    async def answer(group: Sequence[Request]) -> Sequence[bytes]:
        first_is_in_hand.set()
        await go_on.wait()
        if any(request.data == b"bad" for request in group):
            raise ValueError("unbearable")
        return [request.data for request in group]

    def ask(data: bytes) -> asyncio.Task[bytes]:
        subject = subjects.command(namespace, "e", "stop")
        deadline_s = QUIET_S if data == b"bad" else DEADLINE_S
        request = Request(subject=subject, data=data)
        return asyncio.create_task(asker.request(request, timeout_s=deadline_s))

    pattern = f"trialbus.v1.cmd.{namespace}.*.stop"
    async with bus.serve(pattern, "experiment", answer, max_group=8):
        begun = ask(b"first")
        async with asyncio.timeout(DEADLINE_S):
            await first_is_in_hand.wait()
        group = [ask(b"one"), ask(b"bad"), ask(b"two")]
        await asyncio.gather(*(_some_turns() for _ in range(3)))
        await answered_elsewhere(asker, bus, namespace)
        go_on.set()
        assert await begun == b"first"
        assert [await group[0], await group[2]] == [b"one", b"two"]
        with pytest.raises(Transient):
            await group[1]
