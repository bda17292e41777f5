"""The bus in memory, for simulations and fast tests: the same contract, and faults on demand.

`MemoryBus` is the server; `MemoryBus.client(name)` is the connection of one process. No time but
the event loop's and no randomness of its own, so that it runs on a loop with virtual time and a
seeded `Faults` replays exactly.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from typing import Self

from trialbus.contracts import subjects
from trialbus.contracts.envelope import (
    DEAD_DELIVERIES,
    DEAD_REASON,
    DEAD_SEQUENCE,
    DEAD_SUBJECT,
    check_size,
    quote_header,
)
from trialbus.contracts.messages import Message, Request
from trialbus.kernel import limits
from trialbus.kernel.errors import Transient
from trialbus.ports.bus import Backlog, Responder, Tail
from trialbus.testkit.memory_queues import Durable, Fate, Faults, Signal, after_each, bound
from trialbus.testkit.memory_services import Asked, Service

__all__ = ["Fate", "Faults", "MemoryBus", "MemoryClient"]


class MemoryBus:
    """The server of one world."""

    def __init__(
        self, *, faults: Faults | None = None, ack_wait_s: float = limits.ACK_WAIT_S
    ) -> None:
        self.faults = faults or Faults()
        self.ack_wait_s = ack_wait_s
        self.events: list[Message] = []
        self.dead_letters: list[Message] = []
        self._ids: dict[str, float] = {}
        self._durables: dict[str, Durable] = {}
        self._services: list[Service] = []
        self._turn = 0
        self._stored = Signal()
        # Grows when everything is lost.
        self._epoch = 0

    def client(self, name: str, *, deadline_s: float = limits.PUBLISH_DEADLINE_S) -> "MemoryClient":
        return MemoryClient(self, name, deadline_s)

    def wipe(self) -> None:
        """Lose every event and every position, as a server with a new disk does."""
        self._epoch += 1
        self.events.clear()
        self._ids.clear()
        for durable in self._durables.values():
            durable.forget()
        self._stored.fire()

    def accept(self, message: Message, fate: Fate) -> None:
        """Store by `fate`; the same id within the window is stored once."""
        now = asyncio.get_running_loop().time()
        seen_at = self._ids.get(message.id)
        if seen_at is not None and now - seen_at < limits.DEDUPLICATION_WINDOW_S:
            return
        if fate.delays_s:
            self._ids[message.id] = now
        after_each(fate.delays_s, lambda: self._store(message))

    def durable(self, service: str, event_types: Sequence[str], partition: int) -> "Durable":
        key = subjects.durable(service, partition)
        for event_type in event_types:
            subjects.stored_filter(partition, event_type)
        durable = self._durables.get(key)
        if durable is None:
            durable = self._durables[key] = Durable(
                service, event_types, partition, ack_wait_s=self.ack_wait_s
            )
            for sequence, message in enumerate(self.events):
                _offer([durable], sequence, message)
        durable.event_types = frozenset(event_types)
        return durable

    def backlog(self, service: str) -> Backlog:
        found = [it.backlog for it in self._durables.values() if it.service == service]
        return Backlog(
            pending=sum(it.pending for it in found), in_hand=sum(it.in_hand for it in found)
        )

    def find_services(self, subject: str) -> list["Service"]:
        """One of each queue group that serves `subject`, in turn."""
        groups: dict[tuple[str, str], list[Service]] = {}
        for service in self._services:
            if subjects.matches(service.pattern, subject):
                groups.setdefault((service.pattern, service.queue), []).append(service)
        self._turn += 1
        return [members[self._turn % len(members)] for members in groups.values()]

    def join(self, service: "Service") -> None:
        self._services.append(service)

    def leave(self, service: "Service") -> None:
        with suppress(ValueError):
            self._services.remove(service)

    def leave_all(self, client: "MemoryClient") -> None:
        self._services = [it for it in self._services if it.client is not client]

    def stored(self, pattern: str) -> int:
        return sum(subjects.matches(pattern, it.subject) for it in self.events)

    def follow(self, pattern: str, *, from_start: bool) -> AsyncIterator[Message]:
        """From now on: what is stored after this call is followed, whenever it is read."""
        return self._follow(pattern, self._epoch, 0 if from_start else len(self.events))

    async def _follow(self, pattern: str, epoch: int, position: int) -> AsyncIterator[Message]:
        while True:
            if epoch != self._epoch:
                epoch, position = self._epoch, 0
            if position == len(self.events):
                await self._stored.wait()
                continue
            message = self.events[position]
            position += 1
            if subjects.matches(pattern, message.subject):
                yield message

    def _store(self, message: Message) -> None:
        self.events.append(message)
        _offer(self._durables.values(), len(self.events) - 1, message)
        self._stored.fire()


def _offer(durables: Iterable[Durable], sequence: int, message: Message) -> None:
    named = subjects.parse_event(message.subject)
    partition = subjects.partition_of(named.namespace, named.experiment)
    for durable in durables:
        durable.offer(sequence, named, partition)


class MemoryClient:
    """One process's connection. It can be cut and mended, and its process can vanish."""

    def __init__(self, server: MemoryBus, name: str, deadline_s: float) -> None:
        self.server = server
        self.name = name
        self._deadline_s = deadline_s
        self._cut = False
        self._vanished = False
        self.changed = Signal()

    @property
    def connected(self) -> bool:
        return not (self._cut or self._vanished)

    def cut(self) -> None:
        """The network is gone: what is sent is lost, what is asked fails, until mended."""
        self._cut = True
        self.changed.fire()

    def mend(self) -> None:
        self._cut = False
        self.changed.fire()

    def vanish(self) -> None:
        """The process was killed: nothing that it awaits here ever returns."""
        self._vanished = True
        self.server.leave_all(self)
        self.changed.fire()

    async def alive(self) -> None:
        """Never returns for a process that is no more."""
        if self._vanished:
            await asyncio.get_running_loop().create_future()

    async def reach(self) -> None:
        """Raises Transient when the server cannot be reached."""
        await asyncio.sleep(0)
        await self.alive()
        if self._cut:
            raise Transient(f"{self.name} is cut off")

    async def publish(self, messages: Sequence[Message]) -> None:
        for message in messages:
            subjects.parse_event(message.subject)
            check_size(message.data)
            if not message.id:
                raise ValueError(f"a message on {message.subject} has no id")
        await self._wait_for_link()
        unknown = 0
        for message in messages:
            fate = self.server.faults.on_publish(message)
            self.server.accept(message, fate)
            unknown += not fate.confirmed
        if unknown:
            raise Transient(f"{unknown} of {len(messages)} not confirmed")

    def inbox(
        self, service: str, event_types: Sequence[str], partition: int
    ) -> AbstractAsyncContextManager["MemoryInbox"]:
        return MemoryInbox(self, service, event_types, partition)

    async def backlog(self, service: str) -> Backlog:
        await self.reach()
        return self.server.backlog(service)

    async def request(self, request: Request, *, timeout_s: float) -> bytes:
        subjects.literal(request.subject)
        await self.reach()
        services = self.server.find_services(request.subject)
        if not services:
            raise Transient(f"nobody answers on {request.subject}")
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        fate = self.server.faults.on_request(request)
        for service in services:
            after_each(fate.delays_s, bound(service.take, Asked(request, answer, self)))
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError as error:
            raise Transient(f"no answer on {request.subject} within {timeout_s} s") from error
        finally:
            await self.alive()

    @asynccontextmanager
    async def serve(
        self,
        subject: str,
        queue: str,
        responder: Responder,
        *,
        max_group: int,
        max_groups: int = 1,
        gather_s: float = 0.0,
    ) -> AsyncIterator[None]:
        """Requests are answered as they come, whatever `gather_s`."""
        del gather_s
        service = Service(self, subject, queue, responder, max_group, max_groups)
        task = asyncio.create_task(service.run(), name=f"serve {subject}")
        self.server.join(service)
        try:
            yield
        finally:
            self.server.leave(service)
            service.end()
            if not self._vanished:
                await asyncio.wait([task], timeout=limits.DRAIN_DEADLINE_S)
            task.cancel()

    @asynccontextmanager
    async def tail(self, subject: str, *, from_start: bool) -> AsyncIterator[Tail]:
        subjects.stored_pattern(subject)
        await self.reach()
        messages = self._while_linked(self.server.follow(subject, from_start=from_start))
        stored = self.server.stored(subject) if from_start else 0
        yield Tail(messages=messages, stored=stored)

    async def provision(self) -> None:
        await self.reach()

    async def close(self) -> None:
        self.server.leave_all(self)
        self.cut()

    async def _wait_for_link(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._deadline_s):
                while not self.connected:
                    await self.alive()
                    await self.changed.wait()
        await self.reach()

    async def _while_linked(self, messages: AsyncIterator[Message]) -> AsyncIterator[Message]:
        async for message in messages:
            while not self.connected:
                await self.alive()
                await self.changed.wait()
            yield message


class MemoryInbox:
    """One process's hold on a durable."""

    def __init__(
        self, client: MemoryClient, service: str, event_types: Sequence[str], partition: int
    ) -> None:
        self._client = client
        self._open: Callable[[], Durable] = lambda: client.server.durable(
            service, event_types, partition
        )

    async def __aenter__(self) -> Self:
        if self._client.connected:
            self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def fetch(self, *, max_messages: int, timeout_s: float) -> Sequence["MemoryDelivery"]:
        taken: list[MemoryDelivery] = []
        await asyncio.sleep(0)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not (taken := self._take(max_messages)):
                    await self._news()
        await self._client.alive()
        return taken

    def _take(self, max_messages: int) -> list["MemoryDelivery"]:
        if not self._client.connected:
            return []
        durable = self._open()
        return [
            MemoryDelivery(self._client, durable, sequence, attempt)
            for sequence, attempt in durable.take(max_messages)
        ]

    async def _news(self) -> None:
        signal = self._open().news if self._client.connected else self._client.changed
        await signal.wait()


class MemoryDelivery:
    def __init__(self, client: MemoryClient, durable: Durable, sequence: int, attempt: int) -> None:
        self.message = client.server.events[sequence]
        self.attempt = attempt
        self._client = client
        self._durable = durable
        self._sequence = sequence

    async def ack(self) -> None:
        await self._client.reach()
        self._durable.finish(self._sequence)

    async def retry(self, delay_s: float) -> None:
        with suppress(Transient):
            await self._client.reach()
            self._durable.give_back(self._sequence, delay_s)

    async def bury(self, reason: str) -> None:
        await self._client.reach()
        service, message = self._durable.service, self.message
        headers = {
            **message.headers,
            DEAD_REASON: quote_header(reason[: limits.MAX_MESSAGE_CHARS]),
            DEAD_SUBJECT: quote_header(message.subject),
            DEAD_SEQUENCE: str(self._sequence + 1),
            DEAD_DELIVERIES: str(self.attempt),
        }
        letter = replace(
            message,
            subject=subjects.dead_letter(service),
            id=f"dlq:{subjects.EVENT_STREAM}:{self._sequence + 1}:{service}",
            headers=headers,
        )
        if all(it.id != letter.id for it in self._client.server.dead_letters):
            self._client.server.dead_letters.append(letter)
        self._durable.finish(self._sequence)
