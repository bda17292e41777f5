"""A bus server of a test with as many connections as it wants: in memory, or a real nats-server."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import nats
from nats.js.errors import NotFoundError

from trialbus.adapters.nats_bus import ConnectionOptions, NatsBus
from trialbus.contracts import subjects
from trialbus.contracts.messages import Message
from trialbus.kernel import limits
from trialbus.kernel.errors import Transient
from trialbus.ports.bus import Bus
from trialbus.testkit.memory_bus import MemoryBus
from trialbus.testkit.waits import until


@dataclass(kw_only=True)
class BusWorld:
    """A server, and as many connections to it as a test wants."""

    connect: Callable[[], Awaitable[Bus]]
    dead_letters: Callable[[str], Awaitable[Sequence[Message]]]


@asynccontextmanager
async def bus_world(
    nats_url: str | None, *, ack_wait_s: float = limits.ACK_WAIT_S
) -> AsyncIterator[BusWorld]:
    """Without a URL: in memory. A real server is emptied first: tests share it, and an inbox hears
    all experiments of its partition. ack_wait_s: what is not acknowledged by then comes again."""
    if nats_url is None:
        yield _memory_world(ack_wait_s)
        return
    await forget_streams(nats_url)
    async with AsyncExitStack() as stack:

        async def connect() -> Bus:
            options = ConnectionOptions(servers=[nats_url], name="test")
            bus = await NatsBus.open(options, ack_wait_s=ack_wait_s)
            stack.push_async_callback(bus.close)
            await provision(bus)
            return bus

        yield BusWorld(connect=connect, dead_letters=lambda it: _dead_letters(nats_url, it))


def _memory_world(ack_wait_s: float) -> BusWorld:
    server = MemoryBus(ack_wait_s=ack_wait_s)

    async def connect() -> Bus:
        return server.client("test")

    async def dead_letters(service: str) -> Sequence[Message]:
        return [it for it in server.dead_letters if it.subject == subjects.dead_letter(service)]

    return BusWorld(connect=connect, dead_letters=dead_letters)


async def _dead_letters(nats_url: str, service: str) -> Sequence[Message]:
    client = await nats.connect(nats_url)
    found = await client.jetstream().get_last_msg(
        subjects.DEAD_LETTER_STREAM, subjects.dead_letter(service)
    )
    await client.close()
    headers = dict(found.headers or {})
    message_id = headers.pop("Nats-Msg-Id")
    return [
        Message(subject=found.subject or "", data=found.data or b"", id=message_id, headers=headers)
    ]


async def provision(bus: Bus) -> None:
    """Behind `forget_streams` the server may still be removing a stream's folder, and refuses to
    make another."""

    async def is_made() -> bool:
        with suppress(Transient):
            await bus.provision()
            return True
        return False

    await until(is_made, "the streams")


async def forget_streams(nats_url: str) -> None:
    client = await nats.connect(nats_url)
    for stream in (subjects.EVENT_STREAM, subjects.DEAD_LETTER_STREAM):
        with suppress(NotFoundError):
            await client.jetstream().delete_stream(stream)
    await client.close()
