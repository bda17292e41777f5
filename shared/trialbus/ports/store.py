"""What the system needs from a document store: reads by key, and grouped compare-and-set."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from trialbus.contracts.collections import CollectionSpec, Index
from trialbus.contracts.documents import Document
from trialbus.kernel.errors import Poison

__all__ = [
    "CollectionSpec",
    "Document",
    "Index",
    "Outcome",
    "Query",
    "Store",
    "Unstorable",
    "Write",
]


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
    Documents have their key in `_id`. What is nested keeps its order, top-level fields need not.
    ValueError (a fault of the caller): a wrong version or key, or a top-level field that holds
    '.', starts with '$' or is called `revived`. Nested names may hold anything but NUL.
    """

    base: Document | None
    document: Document

    def __post_init__(self) -> None:
        key, version = self.document.get("_id"), self.document.get("version")
        if not (isinstance(key, str) and isinstance(version, int) and version >= 1):
            raise ValueError(f"document {key!r}, version {version!r}: not a str and an int from 1")
        if self.base is not None and (
            self.base["_id"] != key or self.base["version"] + 1 != version
        ):
            raise ValueError(
                f"document {key}, version {version} cannot replace"
                f" {self.base['_id']}, version {self.base['version']}"
            )
        for name in self.document:
            if "." in name or name.startswith("$") or name == "revived":
                raise ValueError(f"document {key}: no field can be called {name!r}")

    @property
    def id(self) -> str:
        return str(self.document["_id"])


class Unstorable(Poison):
    """Some documents of a group can never be stored: too large or too deep, integers over 64
    bits, broken text.

    `reasons`: id -> why. The rest of the group is committed: `outcomes` in the order of the writes,
    None for an unstorable one.
    """

    def __init__(self, reasons: Mapping[str, str], outcomes: Sequence[Outcome | None]) -> None:
        self.reasons = dict(reasons)
        self.outcomes = tuple(outcomes)
        super().__init__("; ".join(f"{key}: {why}" for key, why in self.reasons.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Equality and ranges on indexed fields only; every filter must hold.

    equals: field -> value (None: also where it is absent); among: field -> values;
    at_least/at_most/above/below: field -> bound, met by values of the bound's own kind only, and
    never by NaN; prefix: of `_id`. order: field, "-field" for descending; several, all in the same
    direction, as an index is read: None comes before NaN, that before all numbers. fields: what to
    return (None: all; `_id` always).
    """

    equals: Mapping[str, Any] = field(default_factory=dict)
    among: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    above: Mapping[str, Any] = field(default_factory=dict)
    at_least: Mapping[str, Any] = field(default_factory=dict)
    at_most: Mapping[str, Any] = field(default_factory=dict)
    below: Mapping[str, Any] = field(default_factory=dict)
    prefix: str | None = None
    order: str | tuple[str, ...] | None = None
    limit: int | None = None
    fields: tuple[str, ...] | None = None

    @property
    def ordered_by(self) -> tuple[tuple[str, ...], bool]:
        """The fields of its order, and whether it is descending. ValueError: in both directions."""
        order = (self.order,) if isinstance(self.order, str) else self.order or ()
        descending = [name.startswith("-") for name in order]
        if len(set(descending)) > 1:
            raise ValueError(f"no index is read in the order {order}")
        return tuple(name.removeprefix("-") for name in order), any(descending)


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
        """One grouped, durable write; each succeeds or fails alone; outcomes in order.

        Raises Unstorable, after the others are committed, if a document can never be stored. A
        cancelled call is an unknown result, like Transient: the write itself goes on to its end.
        """

    async def clear_outbox(self, collection: str, sent: Mapping[str, Collection[str]]) -> None:
        """Take the events with these ids (document id -> event ids) out of `outbox`, and set
        `outbox_at` to None where none is left. Never changes `version`."""

    async def delete(self, collection: str, query: Query) -> int:
        """Remove all documents that the query finds; how many."""

    @property
    def connected(self) -> bool:
        """Whether writes are believed to be possible now. Cheap; False until the first call."""

    async def close(self) -> None:
        """Wait for the writes under way, then disconnect."""
