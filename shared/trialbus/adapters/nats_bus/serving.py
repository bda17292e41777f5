"""Answering requests in groups, over core NATS with a queue group."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress

import structlog
from nats.aio.msg import Msg

from trialbus.adapters.nats_bus.connection import Connection, ConnectionLost
from trialbus.contracts.messages import Request
from trialbus.kernel import limits
from trialbus.kernel.errors import Transient
from trialbus.ports.bus import Responder

# A request that waited for others in vain: the next so many, at most, are not kept.
_MOST_PASSED = 64

log = structlog.get_logger(__name__)


class Company:
    """Whether requests wait for others, so that many are one group: as long as others do come."""

    def __init__(self, gather_s: float) -> None:
        self._gather_s = gather_s
        self._last = 0
        self._pass = 0
        self._passed = 0
        # One is being kept just now.
        self.gathers = False

    @property
    def wanted(self) -> int:
        """With so many a group is as large as it was last."""
        return max(2, self._last)

    def wait_s(self, waiting: int) -> float:
        """How long to keep those that wait; 0.0: go on."""
        if waiting >= self.wanted or self._gather_s == 0.0:
            return 0.0
        if self._passed < self._pass:
            self._passed += 1
            return 0.0
        return self._gather_s

    def came(self, waiting: int) -> None:
        """So many wait after some were kept."""
        self._pass = 0 if waiting > 1 else min(2 * self._pass + 1, _MOST_PASSED)
        self._passed = 0

    def leave(self, count: int) -> None:
        """A group of so many is going to be answered."""
        self._last = count


class _Server:
    def __init__(
        self,
        connection: Connection,
        responder: Responder,
        max_group: int,
        max_groups: int,
        company: Company,
    ) -> None:
        self._connection = connection
        self._responder = responder
        self._max_group = max_group
        self._max_groups = max_groups
        self._company = company
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
            if not self._waiting or self._company.gathers:
                self._news.clear()
                await self._news.wait()
                continue
            if (wait_s := self._company.wait_s(len(self._waiting))) and not self._leaving:
                await self._gather(wait_s)
            count = min(self._max_group, len(self._waiting))
            self._company.leave(count)
            group = [self._waiting.popleft() for _ in range(count)]
            if self._waiting or self._leaving:
                # Who looked while one was being kept looks again.
                self._news.set()
            await self._answer(group)

    async def _gather(self, wait_s: float) -> None:
        """Until enough are waiting, or `wait_s` is over. One task does it at a time."""
        self._company.gathers = True
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    while len(self._waiting) < self._company.wanted and not self._leaving:
                        self._news.clear()
                        await self._news.wait()
        finally:
            self._company.gathers = False
            self._company.came(len(self._waiting))

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
    gather_s: float,
) -> AsyncIterator[None]:
    """See `Bus.serve`."""
    server = _Server(connection, responder, max_group, max_groups, Company(gather_s))
    route = await connection.subscribe(subject, server.on_request, queue=queue)
    task = asyncio.create_task(server.run(), name=f"serve {subject}")
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
