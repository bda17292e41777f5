"""Answering requests in groups, over core NATS with a queue group."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager

import structlog
from nats.aio.msg import Msg

from trialbus.adapters.nats_bus.connection import Connection, ConnectionLost
from trialbus.contracts.messages import Request
from trialbus.kernel import limits
from trialbus.kernel.errors import Transient
from trialbus.ports.bus import Responder

log = structlog.get_logger(__name__)


class _Server:
    def __init__(
        self, connection: Connection, responder: Responder, max_group: int, max_groups: int
    ) -> None:
        self._connection = connection
        self._responder = responder
        self._max_group = max_group
        self._max_groups = max_groups
        self._waiting: deque[Msg] = deque()
        self._news = asyncio.Event()
        self._leaving = False
        self._later: set[asyncio.Task[None]] = set()

    def on_request(self, message: Msg) -> None:
        if len(self._waiting) >= limits.MAX_WAITING_REQUESTS:
            log.warning("request_dropped", subject=message.subject, waiting=len(self._waiting))
            return
        self._waiting.append(message)
        self._news.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as in_hand:
            for _ in range(self._max_groups):
                in_hand.create_task(self._answer_groups())

    async def _answer_groups(self) -> None:
        while self._waiting or not self._leaving:
            if not self._waiting:
                self._news.clear()
                await self._news.wait()
                continue
            count = min(self._max_group, len(self._waiting))
            await self._answer([self._waiting.popleft() for _ in range(count)])

    def leave(self) -> None:
        """Answer what has come, then end. Who waits for a later answer asks somebody else."""
        self._leaving = True
        self._news.set()
        for task in list(self._later):
            task.cancel()

    async def _answer(self, group: Sequence[Msg]) -> None:
        requests = [
            Request(subject=it.subject, data=it.data, headers=it.headers or {}) for it in group
        ]
        try:
            answers = list(zip(group, await self._responder(requests), strict=True))
        except Transient as error:
            log.warning("responder_failed", requests=len(group), error=repr(error))
            return
        except Exception as error:  # noqa: BLE001 - the senders repeat, whatever it was
            log.warning("responder_failed", requests=len(group), error=repr(error))
            # One of them may be what it cannot bear: that must not be everybody's.
            for message in group if len(group) > 1 else ():
                await self._answer([message])
            return
        for message, answer in answers:
            if isinstance(answer, bytes):
                await self._reply(message, answer)
            elif answer is not None:
                task = asyncio.ensure_future(self._reply_later(message, answer))
                self._later.add(task)
                task.add_done_callback(self._later.discard)

    async def _reply_later(self, message: Msg, answer: Awaitable[bytes | None]) -> None:
        try:
            data = await answer
        except Exception as error:  # noqa: BLE001 - the sender repeats, whatever it was
            log.warning("responder_failed", requests=1, error=repr(error))
            return
        # None: it is for others to answer.
        if data is not None:
            await self._reply(message, data)

    async def _reply(self, message: Msg, answer: bytes) -> None:
        if not message.reply:
            return  # its sender wants no answer
        if not self._connection.may_answer(message.reply):
            log.warning("reply_subject_refused", subject=message.subject, reply=message.reply)
            return
        try:
            await self._connection.publish(message.reply, answer)
        except ConnectionLost as error:
            log.info("answer_lost", subject=message.subject, error=str(error))


@asynccontextmanager
async def serving(
    connection: Connection,
    subject: str,
    queue: str,
    responder: Responder,
    *,
    max_group: int,
    max_groups: int,
) -> AsyncIterator[None]:
    """See `Bus.serve`."""
    server = _Server(connection, responder, max_group, max_groups)
    task = asyncio.create_task(server.run(), name=f"serve {subject}")
    route = await connection.subscribe(subject, server.on_request, queue=queue)
    try:
        yield
    finally:
        await connection.unsubscribe(route, drain=True)
        server.leave()
        try:
            async with asyncio.timeout(limits.DRAIN_DEADLINE_S):
                await task
        except TimeoutError:
            log.warning("requests_abandoned", subject=subject)
