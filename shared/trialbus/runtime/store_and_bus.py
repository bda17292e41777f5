"""The bus and the store as a service sees them: every call timed, and part of its trace."""

from collections.abc import Awaitable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TypeVar

from trialbus.contracts.commands import Verb
from trialbus.contracts.envelope import TRACEPARENT
from trialbus.contracts.messages import Message, Request
from trialbus.kernel.errors import Transient
from trialbus.kernel.limits import MAX_SPAN_LINKS
from trialbus.kernel.traces import TraceContext, parse_traceparent
from trialbus.ports.bus import Answer, Backlog, Bus, Inbox, Responder, Tail
from trialbus.ports.clock import Clock
from trialbus.ports.store import CollectionSpec, Document, Outcome, Query, Store, Unstorable, Write
from trialbus.ports.tracing import Attribute, SpanKind
from trialbus.runtime import metrics
from trialbus.runtime.repairs import note_written
from trialbus.runtime.telemetry import Telemetry

_T = TypeVar("_T")
# What may begin a trace where it is answered: there it must be known that none is kept.
_BEGINNING = frozenset({"create", Verb.APPLY.value})


class ObservedStore:
    """A store whose calls are seen."""

    def __init__(self, store: Store, telemetry: Telemetry, clock: Clock) -> None:
        self._store = store
        self._telemetry = telemetry
        self._clock = clock

    async def prepare(self, collections: Sequence[CollectionSpec]) -> None:
        await self._store.prepare(collections)

    async def get_many(
        self, collection: str, ids: Collection[str], *, fields: Sequence[str] | None = None
    ) -> dict[str, Document]:
        if not ids:
            return {}
        return await self._seen(
            "get", collection, self._store.get_many(collection, ids, fields=fields)
        )

    async def find(self, collection: str, query: Query) -> list[Document]:
        return await self._seen("find", collection, self._store.find(collection, query))

    async def count(self, collection: str, query: Query) -> int:
        return await self._seen("count", collection, self._store.count(collection, query))

    async def commit(self, collection: str, writes: Sequence[Write]) -> list[Outcome]:
        if not writes:
            return []
        call = self._store.commit(collection, writes)
        try:
            outcomes = await self._seen("commit", collection, call)
        except Unstorable as error:
            self._written(collection, writes, error.outcomes)
            raise
        self._written(collection, writes, outcomes)
        return outcomes

    async def clear_outbox(self, collection: str, sent: Mapping[str, Collection[str]]) -> None:
        await self._seen("clear_outbox", collection, self._store.clear_outbox(collection, sent))

    async def delete(self, collection: str, query: Query) -> int:
        return await self._seen("delete", collection, self._store.delete(collection, query))

    def _written(
        self, collection: str, writes: Sequence[Write], outcomes: Sequence[Outcome | None]
    ) -> None:
        note_written(writes, outcomes)
        done = outcomes.count(Outcome.DONE)
        self._telemetry.add(metrics.STORE_WRITES, done, collection=collection)

    @property
    def connected(self) -> bool:
        return self._store.connected

    async def close(self) -> None:
        await self._store.close()

    async def _seen(self, operation: str, collection: str, call: Awaitable[_T]) -> _T:
        started = self._clock.monotonic()
        try:
            if self._telemetry.tracing.kept_trace() is not None:
                return await self._traced(operation, collection, call)
            return await call
        except Transient:
            self._telemetry.add(metrics.STORE_FAILURES, operation=operation)
            raise
        finally:
            taken_s = self._clock.monotonic() - started
            self._telemetry.observe(metrics.STORE, taken_s, operation=operation)

    async def _traced(self, operation: str, collection: str, call: Awaitable[_T]) -> _T:
        attributes = {
            "db.system.name": "mongodb",
            "db.operation.name": operation,
            "db.collection.name": collection,
        }
        name = f"{operation} {collection}"
        with self._telemetry.tracing.span(name, kind=SpanKind.CLIENT, attributes=attributes):
            return await call


class ObservedBus:
    """A bus whose requests, and answers to others', are seen; they carry the trace on."""

    def __init__(self, bus: Bus, telemetry: Telemetry, clock: Clock) -> None:
        self._bus = bus
        self._telemetry = telemetry
        self._clock = clock
        # Names of the queues that this process reads.
        self.queues: set[str] = set()

    async def publish(self, messages: Sequence[Message]) -> None:
        tracing = self._telemetry.tracing
        if tracing.kept_trace() is None:
            await self._bus.publish(messages)
            return
        attributes: dict[str, Attribute] = {
            "messaging.system": "nats",
            "messaging.batch.message_count": len(messages),
        }
        with tracing.span("publish", kind=SpanKind.PRODUCER, attributes=attributes):
            await self._bus.publish(messages)

    def inbox(
        self, service: str, event_types: Sequence[str], partition: int
    ) -> AbstractAsyncContextManager[Inbox]:
        self.queues.add(service)
        return self._bus.inbox(service, event_types, partition)

    async def backlog(self, service: str) -> Backlog:
        return await self._bus.backlog(service)

    async def request(self, request: Request, *, timeout_s: float) -> bytes:
        kind = kind_of(request.subject)
        started = self._clock.monotonic()
        try:
            if self._telemetry.tracing.kept_trace() is not None or kind in _BEGINNING:
                return await self._traced(kind, request, timeout_s)
            return await self._bus.request(request, timeout_s=timeout_s)
        except Transient:
            self._telemetry.add(metrics.REQUEST_FAILURES, kind=kind)
            raise
        finally:
            self._telemetry.observe(metrics.REQUESTS, self._clock.monotonic() - started, kind=kind)

    async def _traced(self, kind: str, request: Request, timeout_s: float) -> bytes:
        tracing = self._telemetry.tracing
        with tracing.span(f"request {kind}", kind=SpanKind.CLIENT):
            current = tracing.current()
            if current is not None and (current.sampled or kind in _BEGINNING):
                headers = {**request.headers, TRACEPARENT: str(current)}
                request = replace(request, headers=headers)
            return await self._bus.request(request, timeout_s=timeout_s)

    def serve(
        self,
        subject: str,
        queue: str,
        responder: Responder,
        *,
        max_group: int,
        max_groups: int = 1,
        gather_s: float = 0.0,
    ) -> AbstractAsyncContextManager[None]:
        kind = kind_of(subject)

        async def respond(requests: Sequence[Request]) -> Sequence[Answer]:
            started = self._clock.monotonic()
            with self._answering(kind, requests):
                try:
                    return await responder(requests)
                finally:
                    taken_s = self._clock.monotonic() - started
                    self._telemetry.observe(metrics.SERVED, taken_s, kind=kind)

        return self._bus.serve(
            subject,
            queue,
            respond,
            max_group=max_group,
            max_groups=max_groups,
            gather_s=gather_s,
        )

    def _answering(self, kind: str, requests: Sequence[Request]) -> AbstractContextManager[object]:
        """Within the first sender's trace, with links to the other senders'."""
        contexts = self._contexts(requests)
        if not contexts:
            return nullcontext()
        return self._telemetry.tracing.span(
            f"answer {kind}",
            kind=SpanKind.SERVER,
            parent=contexts[0],
            links=contexts[1:MAX_SPAN_LINKS],
            attributes={"messaging.batch.message_count": len(requests)},
        )

    def _contexts(self, requests: Sequence[Request]) -> list[TraceContext]:
        """Of the requests whose senders keep a trace."""
        if not self._telemetry.tracing.on:
            return []
        found = (parse_traceparent(it.headers.get(TRACEPARENT)) for it in requests)
        return [context for context in found if context is not None and context.sampled]

    def tail(self, subject: str, *, from_start: bool) -> AbstractAsyncContextManager[Tail]:
        return self._bus.tail(subject, from_start=from_start)

    async def provision(self) -> None:
        await self._bus.provision()

    @property
    def connected(self) -> bool:
        return self._bus.connected

    async def close(self) -> None:
        await self._bus.close()


def kind_of(subject: str) -> str:
    """What is asked with this subject (or pattern): a command's verb, else `metric`, `claim` and
    so on."""
    tokens = subject.split(".")
    if len(tokens) < 3:
        return "other"
    verb = tokens[-1]
    return verb if tokens[2] == "cmd" and verb not in ("*", ">") else tokens[2]
