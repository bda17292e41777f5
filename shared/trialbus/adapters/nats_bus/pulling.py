"""A standing request for messages of one consumer.

The server is asked once for many messages and answers with each as it comes, for half a minute,
with a heartbeat in between; so a message is in hand one trip after it was stored, and an idle queue
costs a heartbeat every few seconds. Whatever ends the request (time, a deleted consumer, a new
connection, silence) leads to the next one, after the consumer has been looked after when needed.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Self

import structlog
from nats.aio.msg import Msg

from trialbus.adapters.nats_bus.connection import Connection, Route, status_of
from trialbus.adapters.nats_bus.streams import nanoseconds
from trialbus.contracts import jetstream_api
from trialbus.kernel.errors import Transient

EXPIRES_S = 30.0
HEARTBEAT_S = 2.0
# Two heartbeats lost and some slack: the request is gone, with the server or on the way.
SILENCE_S = 2 * HEARTBEAT_S + 0.5
# Between tries to bring a lost consumer back.
RETRY_PAUSE_S = 0.2
# Bounds what a request can leave in memory.
MAX_PULL_BYTES = 8 * 1024 * 1024

_HEARTBEAT = "100"
# The request has run its course, and the consumer is well.
_ORDINARY_ENDS = ("Request Timeout", "Batch Completed", "Message Size Exceeds MaxBytes")

log = structlog.get_logger(__name__)


class Pull:
    """`look_after` makes sure that the consumer is there and returns its name; it may raise
    Transient, and is then called again."""

    def __init__(
        self, connection: Connection, stream: str, look_after: Callable[[], Awaitable[str]]
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._look_after = look_after
        self._inbox = connection.new_inbox()
        self._arrived: deque[Msg] = deque()
        self._news = asyncio.Event()
        self._consumer: str | None = None
        self._number = 0
        self._outstanding = 0
        self._generation = 0
        self._heard_at = 0.0
        self._retry_at = 0.0
        self._route: Route | None = None

    async def __aenter__(self) -> Self:
        self._route = await self._connection.subscribe(f"{self._inbox}.*", self._on_message)
        self._connection.watch(self._news.set)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._connection.unwatch(self._news.set)
        if self._route is not None:
            await self._connection.unsubscribe(self._route)

    async def next_messages(self, *, max_messages: int, timeout_s: float) -> list[Msg]:
        """What has arrived; else waits for the first. Empty after `timeout_s`. May be cancelled:
        nothing is taken before it returns."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not self._arrived:
            self._news.clear()
            await self._keep_asking(max(max_messages, 1))
            now = loop.time()
            if self._arrived or now >= deadline:
                break
            wait_s = min(deadline, self._look_again_at(now)) - now
            try:
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
            except TimeoutError:
                continue
        return [self._arrived.popleft() for _ in range(min(max_messages, len(self._arrived)))]

    def left_over(self) -> list[Msg]:
        """Messages that came but were never handed out."""
        messages = list(self._arrived)
        self._arrived.clear()
        return messages

    def _look_again_at(self, now: float) -> float:
        if not self._connection.connected:
            return now + SILENCE_S
        if self._outstanding == 0:
            return max(self._retry_at, now)
        return self._heard_at + SILENCE_S

    async def _keep_asking(self, count: int) -> None:
        """Have a request standing, if the connection and the consumer allow it now."""
        now = asyncio.get_running_loop().time()
        if not self._connection.connected:
            return
        if self._generation != self._connection.generation:
            self._generation = self._connection.generation
            self._lost_touch(retry_at=now)
        elif self._outstanding and now - self._heard_at >= SILENCE_S:
            self._lost_touch(retry_at=now)
        if self._outstanding or now < self._retry_at:
            return
        try:
            if self._consumer is None:
                self._consumer = await self._look_after()
            await self._ask(count)
        except Transient as error:
            log.info("consumer_not_ready", stream=self._stream, error=str(error))
            self._lost_touch(retry_at=asyncio.get_running_loop().time() + RETRY_PAUSE_S)

    async def _ask(self, count: int) -> None:
        self._number += 1
        self._outstanding = count
        self._heard_at = asyncio.get_running_loop().time()
        request = {
            "batch": count,
            "expires": nanoseconds(EXPIRES_S),
            "idle_heartbeat": nanoseconds(HEARTBEAT_S),
            "max_bytes": MAX_PULL_BYTES,
        }
        await self._connection.publish(
            jetstream_api.next_messages(self._stream, self._consumer or ""),
            json.dumps(request).encode(),
            reply=f"{self._inbox}.{self._number}",
        )

    def _lost_touch(self, *, retry_at: float) -> None:
        self._consumer = None
        self._outstanding = 0
        self._retry_at = retry_at

    def _on_message(self, message: Msg) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        status = status_of(message)
        if status is None or message.reply:
            self._arrived.append(message)
            # An older request's last messages count against the newer: then it is renewed early.
            self._outstanding = max(0, self._outstanding - 1)
        elif status == _HEARTBEAT or not message.subject.endswith(f".{self._number}"):
            return
        else:
            self._on_end(status, (message.headers or {}).get("Description", ""))
        self._news.set()

    def _on_end(self, status: str, description: str) -> None:
        if description.startswith(_ORDINARY_ENDS):
            self._outstanding = 0
            return
        log.info("pull_ended", stream=self._stream, status=status, description=description)
        self._lost_touch(retry_at=asyncio.get_running_loop().time() + RETRY_PAUSE_S)
