"""Who answers requests on the bus in memory: members of queue groups, one group at a time."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trialbus.contracts.messages import Request
from trialbus.kernel.errors import Transient
from trialbus.ports.bus import Responder
from trialbus.testkit.memory_queues import Signal, after_each, bound

if TYPE_CHECKING:
    from trialbus.testkit.memory_bus import MemoryClient


@dataclass(frozen=True, slots=True)
class Asked:
    request: Request
    answer: asyncio.Future[bytes]
    sender: "MemoryClient"


@dataclass(slots=True, eq=False)
class Service:
    """One member of a queue group."""

    client: "MemoryClient"
    pattern: str
    queue: str
    responder: Responder
    max_group: int
    max_groups: int = 1
    _waiting: deque[Asked] = field(default_factory=deque)
    _news: Signal = field(default_factory=Signal)
    _later: set[asyncio.Task[None]] = field(default_factory=set)
    _ended: bool = False

    def take(self, asked: Asked) -> None:
        if self.client.connected:
            self._waiting.append(asked)
            self._news.fire()

    def end(self) -> None:
        self._ended = True
        self._news.fire()
        for task in list(self._later):
            task.cancel()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as in_hand:
            for _ in range(self.max_groups):
                in_hand.create_task(self._answer_groups())

    async def _answer_groups(self) -> None:
        while self._waiting or not self._ended:
            if not self._waiting:
                await self._news.wait()
                continue
            count = min(self.max_group, len(self._waiting))
            await self._answer([self._waiting.popleft() for _ in range(count)])

    async def _answer(self, group: Sequence[Asked]) -> None:
        await self.client.alive()
        try:
            answers = await self.responder([it.request for it in group])
            pairs = list(zip(group, answers, strict=True))
        except Transient:
            return
        except Exception:  # noqa: BLE001 - the senders repeat, whatever it was
            for asked in group if len(group) > 1 else ():
                await self._answer([asked])
            return
        await self.client.alive()
        for asked, answer in pairs:
            if isinstance(answer, bytes):
                self._reply(asked, answer)
            elif answer is not None:
                task = asyncio.ensure_future(self._reply_later(asked, answer))
                self._later.add(task)
                task.add_done_callback(self._later.discard)

    async def _reply_later(self, asked: Asked, answer: Awaitable[bytes | None]) -> None:
        try:
            data = await answer
        except Exception:  # noqa: BLE001 - the sender repeats, whatever it was
            return
        await self.client.alive()
        if data is not None:
            self._reply(asked, data)

    def _reply(self, asked: Asked, answer: bytes) -> None:
        if self.client.connected:
            fate = self.client.server.faults.on_reply(asked.request)
            after_each(fate.delays_s, bound(_resolve, asked, answer))


def _resolve(asked: Asked, answer: bytes) -> None:
    if asked.sender.connected and not asked.answer.done():
        asked.answer.set_result(answer)
