"""Following the event stream in order, without acknowledgements.

A consumer in the server's memory, asked message by message like a durable. When it is lost, a new
one begins after the last message that was seen; when the stream itself was lost, at its beginning.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from trialbus.adapters.nats_bus.connection import Connection
from trialbus.adapters.nats_bus.inbox import message_of
from trialbus.adapters.nats_bus.pulling import EXPIRES_S, Pull
from trialbus.adapters.nats_bus.streams import (
    STREAM_NOT_FOUND,
    ApiError,
    Provision,
    call_api,
    nanoseconds,
)
from trialbus.contracts import jetstream_api, subjects
from trialbus.contracts.messages import Message
from trialbus.kernel import limits
from trialbus.ports.bus import Tail

# The server forgets a follower that has gone without a word.
INACTIVE_S = 2 * EXPIRES_S
WAIT_S = 60.0
_NAME_BYTES = 16

log = structlog.get_logger(__name__)


class _Position:
    """Where the follower is, and the consumer that stands there."""

    def __init__(self, connection: Connection, provision: Provision, pattern: str) -> None:
        self._connection = connection
        self._provision = provision
        self._filter = subjects.stored_pattern(pattern)
        self._stream_created = ""
        self._consumer: str | None = None
        self._next = 1
        # Of the messages that it was begun for, how many the server had then.
        self.stored = 0

    async def begin(self, *, from_start: bool) -> None:
        info = await self._stream_info()
        self._stream_created = info["created"]
        self._next = 1 if from_start else info["state"]["last_seq"] + 1
        self._consumer, self.stored = await self._create()

    async def look_after(self) -> str:
        """The first time as it began; later a new consumer, because the old one is in doubt."""
        name, self._consumer = self._consumer, None
        if name is not None:
            return name
        created = (await self._stream_info())["created"]
        if created != self._stream_created:
            self._stream_created, self._next = created, 1
        name, _ = await self._create()
        return name

    def passed(self, sequence: int) -> bool:
        """Whether the message is new to the follower; notes that it was seen."""
        if sequence < self._next:
            return False
        self._next = sequence + 1
        return True

    async def _stream_info(self) -> Any:
        call = jetstream_api.stream_info(subjects.EVENT_STREAM)
        try:
            return await call_api(self._connection, call)
        except ApiError as error:
            if error.code != STREAM_NOT_FOUND:
                raise
        await self._provision()
        return await call_api(self._connection, call)

    async def _create(self) -> tuple[str, int]:
        """Its name, and how many messages wait for it."""
        # Named by us, because the server holds a request to the name in its subject.
        name = secrets.token_hex(_NAME_BYTES)
        config = {
            "name": name,
            "filter_subject": self._filter,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._next,
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": nanoseconds(INACTIVE_S),
        }
        stream = subjects.EVENT_STREAM
        body = {"stream_name": stream, "config": config, "action": "create"}
        call = jetstream_api.create_consumer(stream, name)
        info = await call_api(self._connection, call, body)
        return name, info["num_pending"]


@asynccontextmanager
async def tailing(
    connection: Connection, provision: Provision, pattern: str, *, from_start: bool
) -> AsyncIterator[Tail]:
    """See `Bus.tail`. Raises Transient when it cannot begin; after that it goes on trying."""
    position = _Position(connection, provision, pattern)
    await position.begin(from_start=from_start)
    async with Pull(connection, subjects.EVENT_STREAM, position.look_after) as pull:
        yield Tail(messages=_messages(pull, position), stored=position.stored)


async def _messages(pull: Pull, position: _Position) -> AsyncIterator[Message]:
    while True:
        batch = await pull.next_messages(max_messages=limits.FETCH_MESSAGES, timeout_s=WAIT_S)
        for raw in batch:
            if position.passed(raw.metadata.sequence.stream):
                yield message_of(raw)
