"""What tests of a store need: a collection with every kind of index, and short words for calls."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from trialbus.contracts.collections import CollectionSpec, Index
from trialbus.ports.store import Document, Outcome, Query, Store, Write

THINGS = CollectionSpec(
    name="things",
    owner="tests",
    indexes=(
        Index(fields=("alive_name",), unique=True, sparse=True),
        Index(fields=("outbox_at",), sparse=True),
        Index(fields=("uid", "finished")),
        Index(fields=("uid", "value", "finished")),
        Index(fields=("pair", "side"), unique=True, sparse=True),
    ),
)


class Stores:
    """Opens connections to one database; `open` gives an independent one each time."""

    def __init__(self, opener: Callable[[], Store]) -> None:
        self._opener = opener
        self._stack = AsyncExitStack()

    def open(self) -> Store:
        store = self._opener()
        self._stack.push_async_callback(store.close)
        return store

    async def close(self) -> None:
        await self._stack.aclose()


def insert(key: str, **fields: Any) -> Write:
    return Write(base=None, document={"_id": key, "version": 1, **fields})


def replace(base: Document, **fields: Any) -> Write:
    return Write(base=base, document={**base, "version": base["version"] + 1, **fields})


async def get(store: Store, key: str) -> Document:
    return (await store.get_many("things", [key]))[key]


async def put(store: Store, *writes: Write) -> None:
    assert await store.commit("things", writes) == [Outcome.DONE] * len(writes)


async def found(store: Store, **query: Any) -> list[str]:
    return [document["_id"] for document in await store.find("things", Query(**query))]
