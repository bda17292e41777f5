"""A bus server of a test with as many connections as it wants: in memory, or a real nats-server."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import nats
from nats.js.errors import NotFoundError

from trialbus.adapters.nats_bus import ConnectionOptions, NatsBus
from trialbus.contracts import subjects
from trialbus.contracts.messages import Message
from trialbus.ports.bus import Bus
from trialbus.testkit.bus_probes import ACK_WAIT_S
from trialbus.testkit.memory_bus import MemoryBus


@dataclass(kw_only=True)
class BusWorld:
    """A server, and as many connections to it as a test wants."""

    connect: Callable[[], Awaitable[Bus]]
    dead_letters: Callable[[str], Awaitable[Sequence[Message]]]


@asynccontextmanager
async def bus_world(nats_url: str | None) -> AsyncIterator[BusWorld]:
    """Without a URL: in memory. A real server is emptied first: tests share it, and an inbox hears
    all experiments of its partition."""
    if nats_url is None:
        yield _memory_world()
        return
    await forget_streams(nats_url)
    async with AsyncExitStack() as stack:

        async def connect() -> Bus:
            options = ConnectionOptions(servers=[nats_url], name="test")
            bus = await NatsBus.open(options, ack_wait_s=ACK_WAIT_S)
            stack.push_async_callback(bus.close)
            await bus.provision()
            return bus

        yield BusWorld(connect=connect, dead_letters=lambda it: _dead_letters(nats_url, it))


def _memory_world() -> BusWorld:
    server = MemoryBus(ack_wait_s=ACK_WAIT_S)

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


async def forget_streams(nats_url: str) -> None:
    client = await nats.connect(nats_url)
    for stream in (subjects.EVENT_STREAM, subjects.DEAD_LETTER_STREAM):
        with suppress(NotFoundError):
            await client.jetstream().delete_stream(stream)
    await client.close()
