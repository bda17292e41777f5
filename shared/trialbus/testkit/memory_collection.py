"""One collection in memory: documents as bytes, so that nobody shares them, and hashed indexes."""

import marshal
import operator
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from trialbus.ports.store import CollectionSpec, Document, Index, Outcome, Query, Write

# As MongoDB: a document may have 16 MiB, less what a write wraps around it.
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024 - 16 * 1024
MAX_DOCUMENT_LEVELS = 180
MAX_INTEGER = 2**63 - 1
# Version 2 knows no references: loading makes every list and dict anew.
_MARSHAL_VERSION = 2

# Values of different kinds are never equal, and in this order when sorted (as in BSON).
_KINDS: Mapping[type, int] = {type(None): 0, int: 1, float: 1, str: 2, bool: 3}
_Key = tuple[int, Any]
# Is itself wherever it is looked for, though not equal to itself.
_NAN = float("nan")
Condition = Callable[[Any], bool]


class CannotStore(Exception):
    """Why a document can never be stored."""


def frozen(document: Document) -> bytes:
    """Raises CannotStore for what MongoDB refuses, TypeError for what is not plain JSON."""
    _check(document, 1)
    packed = marshal.dumps(document, _MARSHAL_VERSION)
    if len(packed) > MAX_DOCUMENT_BYTES:
        raise CannotStore(f"{len(packed)} bytes, at most {MAX_DOCUMENT_BYTES} can be kept")
    return packed


class MemoryCollection:
    def __init__(self) -> None:
        self._documents: dict[str, bytes] = {}
        self._versions: dict[str, int] = {}
        self._names: dict[str, frozenset[str]] = {}
        self._indexes: tuple[Index, ...] = ()
        # id -> its values of indexed fields
        self._values: dict[str, dict[str, Any]] = {}
        # first field of an index -> value -> ids (a dict is a set that keeps its order)
        self._buckets: dict[str, dict[_Key, dict[str, None]]] = {}
        self._holders: dict[Index, dict[tuple[_Key, ...], str]] = {}
        self._sorted_ids: list[str] | None = None

    def prepare(self, spec: CollectionSpec) -> None:
        """Add the indexes. Only a collection without documents can get new ones."""
        new = tuple(index for index in spec.indexes if index not in self._indexes)
        if new and self._documents:
            raise RuntimeError(f"{spec.name}: indexes must be there before documents")
        self._indexes += new
        for index in new:
            self._buckets.setdefault(index.fields[0], {})
            if index.unique:
                self._holders[index] = {}

    def get(self, key: str) -> Document | None:
        packed = self._documents.get(key)
        return None if packed is None else marshal.loads(packed)

    def apply(self, write: Write) -> Outcome:
        """Raises CannotStore, TypeError."""
        key, base = write.id, write.base
        version = None if base is None else base["version"]
        document = write.document
        packed = frozen(document)
        if self._versions.get(key) != version:
            return Outcome.CONFLICT
        if base is not None and not self._names[key] <= base.keys():
            # Fields that the base does not show are not the writer's: they stay.
            merged = (self.get(key) or {}) | document
            for gone in base.keys() - document.keys():
                merged.pop(gone, None)
            document, packed = merged, frozen(merged)
        if any(
            self._holders[index].get(taken, key) != key for index, taken in self._unique(document)
        ):
            return Outcome.TAKEN
        self._put(key, document, packed)
        return Outcome.DONE

    def clear_outbox(self, key: str, event_ids: Iterable[str]) -> bool:
        document = self.get(key)
        if document is None or type(document.get("outbox")) is not list:
            return False
        sent = set(event_ids)
        document["outbox"] = [event for event in document["outbox"] if event["id"] not in sent]
        document["outbox_at"] = document.get("outbox_at") if document["outbox"] else None
        self._put(key, document, frozen(document))
        return True

    def remove(self, key: str) -> None:
        self._unlink(key)
        del self._documents[key], self._versions[key], self._names[key]
        self._sorted_ids = None

    def ids_of(self, query: Query) -> list[str]:
        """In the query's order, at most its limit."""
        narrowed = self._narrowed(query)
        ids = list(self._documents) if narrowed is None else narrowed
        conditions = _conditions(query)
        found = [key for key in ids if all(met(self._value(key, name)) for name, met in conditions)]
        names, descending = query.ordered_by
        if names:
            found.sort(
                key=lambda key: [_sort_key(self._value(key, name)) for name in names],
                reverse=descending,
            )
        return found[: query.limit]

    def is_scan(self, query: Query) -> bool:
        """Whether no index answers it: neither its filters nor its order."""
        names, _ = query.ordered_by
        ordered = names != () and any(
            names[0] == index.fields[0] and not index.sparse
            for index in (*self._indexes, Index(fields=("_id",)))
        )
        return not ordered and self._narrowed(query) is None

    def _narrowed(self, query: Query) -> list[str] | None:
        """Few ids that include all that the query finds, by one index; None: no index helps."""
        choices = [
            ids
            for name, values in chain(
                ((name, (value,)) for name, value in query.equals.items()), query.among.items()
            )
            if (ids := self._holding(name, values)) is not None
        ]
        if choices:
            return min(choices, key=len)
        if query.prefix is not None:
            return self._starting_with(query.prefix)
        for name in chain(query.above, query.at_least, query.at_most, query.below):
            if name == "_id":
                return self._all_sorted()
            if name in self._buckets:
                return self._within(name, query)
        return None

    def _holding(self, name: str, values: Sequence[Any]) -> list[str] | None:
        if name == "_id":
            return [value for value in values if value in self._documents]
        if name not in self._buckets or (None in values and self._is_sparse(name)):
            return None
        buckets = self._buckets[name]
        return list(chain.from_iterable(buckets.get(_key(value), ()) for value in values))

    def _within(self, name: str, query: Query) -> list[str]:
        met = _bounds_of(name, query)
        buckets = self._buckets[name].items()
        return list(chain.from_iterable(ids for (_, value), ids in buckets if met(value)))

    def _starting_with(self, prefix: str) -> list[str]:
        ids = self._all_sorted()
        start = bisect_left(ids, prefix)
        end = bisect_left(ids, prefix + "\U0010ffff", start)
        return ids[start:end]

    def _all_sorted(self) -> list[str]:
        if self._sorted_ids is None:
            self._sorted_ids = sorted(self._documents)
        return self._sorted_ids

    def _is_sparse(self, name: str) -> bool:
        return all(index.sparse for index in self._indexes if index.fields[0] == name)

    def _value(self, key: str, name: str) -> Any:
        if name == "_id":
            return key
        values = self._values[key]
        if name in values:
            return values[name]
        return marshal.loads(self._documents[key]).get(name)

    def _put(self, key: str, document: Document, packed: bytes) -> None:
        values = {name: document.get(name) for index in self._indexes for name in index.fields}
        if any(isinstance(value, (list, dict)) for value in values.values()):
            raise TypeError(f"document {key}: an indexed field holds more than one value")
        if key in self._documents:
            self._unlink(key)
        else:
            self._sorted_ids = None
        self._documents[key] = packed
        self._versions[key] = document["version"]
        self._names[key] = frozenset(document)
        self._values[key] = values
        for name, buckets in self._buckets.items():
            buckets.setdefault(_key(values[name]), {})[key] = None
        for index, taken in self._unique(document):
            self._holders[index][taken] = key

    def _unlink(self, key: str) -> None:
        values = self._values.pop(key)
        for name, buckets in self._buckets.items():
            bucket = buckets[_key(values[name])]
            del bucket[key]
            if not bucket:
                del buckets[_key(values[name])]
        for index, taken in self._unique(values):
            del self._holders[index][taken]

    def _unique(self, document: Mapping[str, Any]) -> list[tuple[Index, tuple[_Key, ...]]]:
        return [
            (index, tuple(_key(document.get(name)) for name in index.fields))
            for index in self._holders
            if not (index.sparse and document.get(index.fields[0]) is None)
        ]


def _key(value: Any) -> _Key:
    """Equal for equal values, and here NaN is one of them."""
    return (_KINDS[type(value)], _NAN if value != value else value)  # noqa: PLR0124


def _sort_key(value: Any) -> tuple[int, bool, Any]:
    if value != value:  # noqa: PLR0124 - NaN, which comes before all numbers
        return (_KINDS[float], False, 0.0)
    return (_KINDS[type(value)], True, value)


def _conditions(query: Query) -> list[tuple[str, Condition]]:
    """All must hold: (field, whether its value meets the query)."""
    conditions = [(name, _one_of((value,))) for name, value in query.equals.items()]
    conditions += [(name, _one_of(values)) for name, values in query.among.items()]
    if query.prefix is not None:
        conditions.append(("_id", operator.methodcaller("startswith", query.prefix)))
    bounded = dict.fromkeys([*query.above, *query.at_least, *query.at_most, *query.below])
    conditions += [(name, _bounds_of(name, query)) for name in bounded]
    return conditions


def _one_of(values: Sequence[Any]) -> Condition:
    wanted = {_key(value) for value in values}
    return lambda value: _key(value) in wanted


def _bounds_of(name: str, query: Query) -> Condition:
    """Whether a value is of the bounds' kind and within them."""
    bounds = [
        (holds, _KINDS[type(limits[name])], limits[name])
        for holds, limits in (
            (operator.gt, query.above),
            (operator.ge, query.at_least),
            (operator.le, query.at_most),
            (operator.lt, query.below),
        )
        if name in limits
    ]

    def met(value: Any) -> bool:
        kind = _KINDS[type(value)]
        return all(kind == wanted and holds(value, bound) for holds, wanted, bound in bounds)

    return met


def _check(value: Any, level: int) -> None:
    kind = type(value)
    if level > MAX_DOCUMENT_LEVELS:
        raise CannotStore(f"too many levels, at most {MAX_DOCUMENT_LEVELS} can be kept")
    if kind is str:
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise CannotStore(f"cannot be encoded: {error}") from error
    elif kind is dict:
        for name, each in value.items():
            if type(name) is not str or "\0" in name:
                raise TypeError(f"not the name of a field: {name!r}")
            _check(each, level + 1)
    elif kind is list:
        for each in value:
            _check(each, level + 1)
    elif kind is int:
        if not -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
            raise CannotStore(f"cannot be encoded: {value} has more than 64 bits")
    elif value is not None and kind is not float and kind is not bool:
        raise TypeError(f"not plain JSON: {value!r}")
