"""The store in memory, with the same contract, and with faults on demand.

    world = MemoryStore(faults=...)
    store = world.client("experiment")   # one service's connection: implements the port
    store.cut()                          # that service is gone: its calls never return

Deterministic: nothing but the event loop's time and what the fault hook decides.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from trialbus.kernel.errors import Transient
from trialbus.ports.store import CollectionSpec, Document, Outcome, Query, Unstorable, Write
from trialbus.testkit.memory_collection import CannotStore, MemoryCollection

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCall:
    """What the fault hook hears. operation: the port's method."""

    client: str
    operation: str
    collection: str


class StoreFaults(Protocol):
    """Called around every effect. Each may raise Transient, sleep, or cut the client (a crash of
    its service at this await): `before` the effect has not happened, `after` it has."""

    async def before(self, call: StoreCall) -> None: ...

    async def after(self, call: StoreCall) -> None: ...


class MemoryStore:
    """The world's database. Every call of a client takes `latency_s` of the loop's time, which a
    simulation steps; the fault hook may make it longer."""

    def __init__(self, *, faults: StoreFaults | None = None, latency_s: float = 0.0) -> None:
        self.faults = faults
        self.latency_s = latency_s
        # False: an outage, every call raises Transient.
        self.available = True
        # (collection, operation) -> calls; documents written; writes that lost
        self.calls: Counter[tuple[str, str]] = Counter()
        self.writes: Counter[tuple[str, str]] = Counter()
        self.lost_writes: Counter[str] = Counter()
        # Queries that no index answered. Tests forbid them.
        self.full_scans: list[tuple[str, Query]] = []
        self._collections: dict[str, MemoryCollection] = {}

    def client(self, name: str) -> "MemoryClient":
        return MemoryClient(self, name)

    @property
    def writes_by_collection(self) -> dict[str, int]:
        """Documents written, cleared outboxes and deletions included."""
        totals: Counter[str] = Counter()
        for (collection, _), count in self.writes.items():
            totals[collection] += count
        return dict(totals)

    def documents(self, collection: str) -> list[Document]:
        """All of them, outside of any client: for a test's checks."""
        kept = self.collection(collection)
        return [each for key in kept.ids_of(Query()) if (each := kept.get(key)) is not None]

    def collection(self, name: str) -> MemoryCollection:
        return self._collections.setdefault(name, MemoryCollection())


class MemoryClient:
    """One connection to the world's database; implements the port."""

    def __init__(self, world: MemoryStore, name: str) -> None:
        self.name = name
        # False: this connection is down, its calls raise Transient; it may come back.
        self.reachable = True
        self._world = world
        self._cut = False
        self._closed = False

    def cut(self) -> None:
        """For ever: calls under way and new ones never return."""
        self._cut = True

    @property
    def connected(self) -> bool:
        return self._world.available and self.reachable and not self._cut and not self._closed

    async def close(self) -> None:
        self._closed = True

    async def prepare(self, collections: Sequence[CollectionSpec]) -> None:
        def effect() -> None:
            for spec in collections:
                self._world.collection(spec.name).prepare(spec)

        await self._call("prepare", "", effect)

    async def get_many(
        self, collection: str, ids: Collection[str], *, fields: Sequence[str] | None = None
    ) -> dict[str, Document]:
        def effect() -> dict[str, Document]:
            kept = self._world.collection(collection)
            found = {key: kept.get(key) for key in ids}
            return {key: _part(each, fields) for key, each in found.items() if each is not None}

        return await self._call("get_many", collection, effect) if ids else {}

    async def find(self, collection: str, query: Query) -> list[Document]:
        def effect() -> list[Document]:
            kept = self._world.collection(collection)
            found = [kept.get(key) for key in self._ids(collection, query)]
            return [_part(each, query.fields) for each in found if each is not None]

        return await self._call("find", collection, effect)

    async def count(self, collection: str, query: Query) -> int:
        return await self._call("count", collection, lambda: len(self._ids(collection, query)))

    async def commit(self, collection: str, writes: Sequence[Write]) -> list[Outcome]:
        if not writes:
            return []
        return await self._call("commit", collection, lambda: self._apply(collection, writes))

    async def clear_outbox(self, collection: str, sent: Mapping[str, Collection[str]]) -> None:
        def effect() -> None:
            kept = self._world.collection(collection)
            cleared = sum(kept.clear_outbox(key, events) for key, events in sent.items() if events)
            self._world.writes[collection, "clear_outbox"] += cleared

        if any(sent.values()):
            await self._call("clear_outbox", collection, effect)

    async def delete(self, collection: str, query: Query) -> int:
        def effect() -> int:
            ids = self._ids(collection, query)
            for key in ids:
                self._world.collection(collection).remove(key)
            self._world.writes[collection, "delete"] += len(ids)
            return len(ids)

        return await self._call("delete", collection, effect)

    def _ids(self, collection: str, query: Query) -> list[str]:
        kept = self._world.collection(collection)
        if kept.is_scan(query):
            self._world.full_scans.append((collection, query))
        return kept.ids_of(query)

    def _apply(self, collection: str, writes: Sequence[Write]) -> list[Outcome]:
        kept = self._world.collection(collection)
        outcomes: list[Outcome | None] = []
        reasons: dict[str, str] = {}
        for write in writes:
            try:
                outcome = kept.apply(write)
            except CannotStore as error:
                reasons[write.id] = str(error)
                outcomes.append(None)
                continue
            outcomes.append(outcome)
            if outcome is Outcome.DONE:
                kind = "insert" if write.base is None else "replace"
                self._world.writes[collection, kind] += 1
            else:
                self._world.lost_writes[collection] += 1
        if reasons:
            raise Unstorable(reasons, outcomes)
        return [outcome for outcome in outcomes if outcome is not None]

    async def _call(self, operation: str, collection: str, effect: Callable[[], _T]) -> _T:
        if self._closed:
            raise RuntimeError(f"the store of {self.name} is closed")
        self._world.calls[collection, operation] += 1
        call = StoreCall(client=self.name, operation=operation, collection=collection)
        await self._travel()
        if self._world.faults is not None:
            await self._world.faults.before(call)
        await self._reach()
        answer = effect()
        if self._world.faults is not None:
            await self._world.faults.after(call)
        await self._reach()
        return answer

    async def _travel(self) -> None:
        loop = asyncio.get_running_loop()
        arrived = asyncio.Event()
        loop.call_later(self._world.latency_s, arrived.set)
        await arrived.wait()

    async def _reach(self) -> None:
        if self._cut:
            await asyncio.get_running_loop().create_future()
        if not (self._world.available and self.reachable):
            raise Transient("the store is away")


def _part(document: Document, fields: Sequence[str] | None) -> Document:
    if fields is None:
        return document
    wanted = {"_id", *fields}
    return {name: value for name, value in document.items() if name in wanted}
