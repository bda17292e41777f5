"""What the system needs from a document store: reads by key, and grouped compare-and-set."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from trialbus.contracts.documents import Document as Document


class Outcome(Enum):
    """What became of one write of a group."""

    DONE = "done"
    CONFLICT = "conflict"  # the version moved, the document exists already, or it is gone
    TAKEN = "taken"  # another document holds a value that must be unique


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Compare-and-set of one document.

    base None: insert, `document` must not exist yet. Otherwise replace the document only if its
    `version` is still `base["version"]`; the new document carries that version + 1.
    Documents have their key in `_id`; top-level fields that equal the base's need not be sent.
    """

    base: Document | None
    document: Document

    @property
    def id(self) -> str:
        return str(self.document["_id"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """`fields` in order. sparse: only documents where the first field exists and is not None."""

    fields: tuple[str, ...]
    unique: bool = False
    sparse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSpec:
    name: str
    owner: str
    indexes: tuple[Index, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Equality and ranges on indexed fields only; every filter must hold.

    equals: field -> value; among: field -> values; at_least/at_most/above/below: field -> bound;
    prefix: of `_id`. order: field, "-field" for descending. fields: what to return
    (None: all; `_id` always).
    """

    equals: Mapping[str, Any] = field(default_factory=dict)
    among: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    above: Mapping[str, Any] = field(default_factory=dict)
    at_least: Mapping[str, Any] = field(default_factory=dict)
    at_most: Mapping[str, Any] = field(default_factory=dict)
    below: Mapping[str, Any] = field(default_factory=dict)
    prefix: str | None = None
    order: str | None = None
    limit: int | None = None
    fields: tuple[str, ...] | None = None


class Store(Protocol):
    """All writes are durable (majority, journaled) when a call returns. Documents are passed by
    value. Raises Transient when the server is away or the result of a write is unknown (read
    again before repeating)."""

    async def prepare(self, collections: Sequence[CollectionSpec]) -> None:
        """Create collections, validators and indexes. Idempotent, safe to run in parallel."""

    async def get_many(
        self, collection: str, ids: Collection[str], *, fields: Sequence[str] | None = None
    ) -> dict[str, Document]:
        """By key; absent ones are absent from the answer."""

    async def find(self, collection: str, query: Query) -> list[Document]: ...

    async def count(self, collection: str, query: Query) -> int: ...

    async def commit(self, collection: str, writes: Sequence[Write]) -> list[Outcome]:
        """One grouped, durable write; each succeeds or fails alone; outcomes in order."""

    async def clear_outbox(self, collection: str, sent: Mapping[str, Collection[str]]) -> None:
        """Take the events with these ids (document id -> event ids) out of `outbox`, and set
        `outbox_at` to None where none is left. Never changes `version`."""

    async def delete(self, collection: str, query: Query) -> int:
        """Remove all documents that the query finds; how many."""

    @property
    def connected(self) -> bool: ...

    async def close(self) -> None: ...
