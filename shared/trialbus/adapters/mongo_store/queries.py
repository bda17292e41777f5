"""Queries, indexes and validators in MongoDB's words. Pure."""

import math
from collections.abc import Sequence
from typing import Any

from trialbus.ports.store import Index, Query

Filter = dict[str, Any]

# `upsert=True` would bring a deleted document back to life. It then carries this field, and the
# validator refuses it.
REVIVED = "revived"

VALIDATOR: Filter = {
    "$jsonSchema": {
        "bsonType": "object",
        "required": ["_id", "version"],
        "properties": {
            "_id": {"bsonType": "string"},
            "version": {"bsonType": "number", "minimum": 1},
        },
        "not": {"required": [REVIVED]},
    }
}

# Sorts behind every character that a key can hold.
_LAST_CHARACTER = "\U0010ffff"


def filter_of(query: Query) -> Filter:
    conditions: list[tuple[str, str, Any]] = []
    conditions += ((name, "$eq", value) for name, value in query.equals.items())
    conditions += ((name, "$in", list(values)) for name, values in query.among.items())
    conditions += ((name, "$gt", bound) for name, bound in query.above.items())
    conditions += ((name, "$gte", bound) for name, bound in query.at_least.items())
    for bounds, operator in ((query.below, "$lt"), (query.at_most, "$lte")):
        for name, bound in bounds.items():
            conditions.append((name, operator, bound))
            # Met by all that the upper bound lets through; by it the planner sees that a sparse
            # index holds all answers.
            conditions.append((name, "$gte", _lowest(bound)))
    if query.prefix is not None:
        conditions.append(("_id", "$gte", query.prefix))
        conditions.append(("_id", "$lt", query.prefix + _LAST_CHARACTER))
    return _joined(conditions)


def sort_of(query: Query) -> list[tuple[str, int]]:
    names, descending = query.ordered_by
    return [(name, -1 if descending else 1) for name in names]


def projection_of(fields: Sequence[str] | None) -> dict[str, int] | None:
    return None if fields is None else {"_id": 1, **dict.fromkeys(fields, 1)}


def index_of(index: Index) -> dict[str, Any]:
    """One entry of the command `createIndexes`. The name tells the whole index, so that a changed
    index is a new one beside the old."""
    name = "_".join(index.fields) + "_unique" * index.unique + "_sparse" * index.sparse
    entry: dict[str, Any] = {"name": name, "key": dict.fromkeys(index.fields, 1)}
    if index.unique:
        entry["unique"] = True
    if index.sparse:
        # MongoDB's own `sparse` keeps None. A range holds values of its bound's kind only.
        entry["partialFilterExpression"] = {
            "$or": [{index.fields[0]: {"$gte": lowest}} for lowest in ("", -math.inf, False)]
        }
    return entry


def without_events(event_ids: list[str]) -> list[dict[str, Any]]:
    """An update that takes these events out of `outbox` and leaves everything else."""
    sent = {"$in": ["$$this.id", {"$literal": event_ids}]}
    unsent = {"$filter": {"input": "$outbox", "cond": {"$not": [sent]}}}
    outbox_at = {"$cond": [{"$eq": [{"$size": "$outbox"}, 0]}, None, "$outbox_at"]}
    return [{"$set": {"outbox": unsent}}, {"$set": {"outbox_at": outbox_at}}]


def _lowest(bound: Any) -> Any:
    """The first value of the bound's kind: MongoDB compares within one kind only."""
    if isinstance(bound, str):
        return ""
    return False if isinstance(bound, bool) else -math.inf


def _joined(conditions: list[tuple[str, str, Any]]) -> Filter:
    """One filter; what says the same operator of the same field twice goes into `$and`."""
    joined: Filter = {}
    rest: list[Filter] = []
    for name, operator, value in conditions:
        if operator in joined.setdefault(name, {}):
            rest.append({name: {operator: value}})
        else:
            joined[name][operator] = value
    return joined | {"$and": rest} if rest else joined
