"""The durable queue of one service over one partition, and the messages in hand."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Self

from nats.aio.msg import Msg

from trialbus.adapters.nats_bus.connection import Connection, ConnectionLost
from trialbus.adapters.nats_bus.publishing import MESSAGE_ID, Publisher
from trialbus.adapters.nats_bus.pulling import Pull
from trialbus.adapters.nats_bus.streams import (
    STREAM_NOT_FOUND,
    ApiError,
    Config,
    Provision,
    check_durable,
    ensure_durable,
    nanoseconds,
)
from trialbus.contracts import subjects
from trialbus.contracts.envelope import (
    DEAD_DELIVERIES,
    DEAD_REASON,
    DEAD_SEQUENCE,
    DEAD_SUBJECT,
    quote_header,
)
from trialbus.contracts.messages import Message
from trialbus.kernel import limits

# A new durable in place of a lost one begins this much before what was last seen: whatever was in
# hand and not acknowledged is given out again.
OVERLAP = timedelta(seconds=limits.ACK_WAIT_S)


class NatsDelivery:
    """After `limits.MAX_DELIVERIES` attempts the receiver buries it, before it tries once more;
    the server itself stops some deliveries later, so that a burial too can be repeated."""

    def __init__(
        self, raw: Msg, *, service: str, connection: Connection, publisher: Publisher
    ) -> None:
        self.message = message_of(raw)
        self._raw = raw
        self._service = service
        self._connection = connection
        self._publisher = publisher

    @property
    def attempt(self) -> int:
        return int(self._raw.metadata.num_delivered)

    async def ack(self) -> None:
        await self._answer(b"+ACK")

    async def retry(self, delay_s: float) -> None:
        # If this is lost, the message comes again all the same, after the acknowledgement wait.
        with suppress(ConnectionLost):
            await give_back(self._connection, self._raw, delay_s)

    async def bury(self, reason: str) -> None:
        metadata = self._raw.metadata
        letter = Message(
            subject=subjects.dead_letter(self._service),
            data=self.message.data,
            id=f"dlq:{metadata.stream}:{metadata.sequence.stream}:{self._service}",
            headers={
                **self.message.headers,
                DEAD_REASON: quote_header(reason[: limits.MAX_MESSAGE_CHARS]),
                DEAD_SUBJECT: quote_header(self.message.subject),
                DEAD_SEQUENCE: str(metadata.sequence.stream),
                DEAD_DELIVERIES: str(self.attempt),
            },
        )
        await self._publisher.publish([letter], stream=subjects.DEAD_LETTER_STREAM)
        await self._answer(b"+TERM")

    async def _answer(self, word: bytes) -> None:
        """With a reply subject the server confirms what it has recorded; without, an
        acknowledgement that it never saw looks like one that it has."""
        await self._connection.request(self._raw.reply, word, timeout_s=limits.ACK_TIMEOUT_S)


class NatsInbox:
    """One task fetches from it at a time. provisions: whether it makes its durable."""

    def __init__(
        self,
        connection: Connection,
        publisher: Publisher,
        provision: Provision,
        *,
        service: str,
        durable: Config,
        provisions: bool,
    ) -> None:
        self._connection = connection
        self._publisher = publisher
        self._provision = provision
        self._provisions = provisions
        self._service = service
        self._durable = durable
        self._pull = Pull(connection, subjects.EVENT_STREAM, self._look_after)
        self._newest: Msg | None = None

    async def __aenter__(self) -> Self:
        await self._pull.__aenter__()
        return self

    async def __aexit__(self, *args: object) -> None:
        await self._pull.__aexit__(*args)
        for raw in self._pull.left_over():
            with suppress(ConnectionLost):
                await give_back(self._connection, raw, 0.0)

    async def fetch(self, *, max_messages: int, timeout_s: float) -> Sequence[NatsDelivery]:
        messages = await self._pull.next_messages(max_messages=max_messages, timeout_s=timeout_s)
        if messages:
            self._newest = messages[-1]
        return [self._delivery(raw) for raw in messages]

    def _delivery(self, raw: Msg) -> NatsDelivery:
        return NatsDelivery(
            raw, service=self._service, connection=self._connection, publisher=self._publisher
        )

    async def _look_after(self) -> str:
        if not self._provisions:
            await check_durable(self._connection, self._durable)
            return str(self._durable["durable_name"])
        try:
            await ensure_durable(self._connection, self._durable, self._start())
        except ApiError as error:
            if error.code != STREAM_NOT_FOUND:
                raise
            await self._provision()
            await ensure_durable(self._connection, self._durable, self._start())
        return str(self._durable["durable_name"])

    def _start(self) -> Config:
        """Where a new durable begins. By time and not by sequence: a lost stream counts anew."""
        if self._newest is None:
            return {"deliver_policy": "all"}
        start = self._newest.metadata.timestamp - OVERLAP
        return {"deliver_policy": "by_start_time", "opt_start_time": start.isoformat()}


def message_of(raw: Msg) -> Message:
    """A stored message as its publisher sent it."""
    headers = raw.headers or {}
    metadata = raw.metadata
    return Message(
        subject=subjects.plain(raw.subject),
        data=raw.data,
        id=headers.get(MESSAGE_ID) or f"{metadata.stream}:{metadata.sequence.stream}",
        headers={k: v for k, v in headers.items() if not k.lower().startswith("nats-")},
    )


async def give_back(connection: Connection, raw: Msg, delay_s: float) -> None:
    delay = b' {"delay": %d}' % nanoseconds(delay_s) if delay_s > 0 else b""
    await connection.publish(raw.reply, b"-NAK" + delay)
