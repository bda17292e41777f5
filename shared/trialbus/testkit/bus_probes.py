"""What the tests of buses share: messages to send, and ways to receive them."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence

from trialbus.contracts import subjects
from trialbus.contracts.messages import Message
from trialbus.ports.bus import Answer, Delivery, Inbox

DEADLINE_S = 20.0
# Long enough for a message to come, if one would.
QUIET_S = 0.2


def unique(prefix: str) -> str:
    digits = str.maketrans("0123456789", "ghijklmnop")
    return prefix + uuid.uuid4().hex.translate(digits)


def at_once(answer: Answer) -> bytes:
    """The bytes of an answer that must not be left to others, or come later."""
    assert isinstance(answer, bytes)
    return answer


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


async def first(messages: AsyncIterator[Message], count: int) -> list[Message]:
    async with asyncio.timeout(DEADLINE_S):
        return [await anext(messages) for _ in range(count)]
