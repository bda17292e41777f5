"""Queries and outboxes: one suite over the store in memory and on a real mongod."""

import math
from typing import Any

import pytest

from trialbus.ports.store import Document, Query, Store
from trialbus.testkit.store_probes import found, get, insert, put, replace


async def test_clear_outbox_keeps_the_version_and_unsent_events(store: Store) -> None:
    def events(*ids: str) -> list[Document]:
        return [{"id": each, "data": {"x": [1]}} for each in ids]

    await put(
        store,
        insert("a", outbox=events("e1", "$e2", "e3"), outbox_at=1.5),
        insert("b", outbox=events("e4"), outbox_at=2.5),
        insert("c", outbox=events("e5"), outbox_at=3.5),
        insert("no-outbox", x=1),
    )
    sent = {"a": ["e1", "$e2", "e9"], "b": {"e4"}, "c": [], "no-outbox": ["e1"], "gone": ["e1"]}
    await store.clear_outbox("things", sent)
    kept = await store.get_many("things", ["a", "b", "c", "no-outbox", "gone"])
    assert kept == {
        "a": {"_id": "a", "version": 1, "outbox": events("e3"), "outbox_at": 1.5},
        "b": {"_id": "b", "version": 1, "outbox": [], "outbox_at": None},
        "c": {"_id": "c", "version": 1, "outbox": events("e5"), "outbox_at": 3.5},
        "no-outbox": {"_id": "no-outbox", "version": 1, "x": 1},
    }
    assert await found(store, at_most={"outbox_at": 9.0}, order="outbox_at") == ["a", "c"]
    await store.clear_outbox("things", {})


async def test_a_clear_between_read_and_commit_does_not_fail_the_commit(store: Store) -> None:
    await put(store, insert("a", outbox=[{"id": "e1"}], outbox_at=1.0))
    base = await get(store, "a")
    await store.clear_outbox("things", {"a": ["e1"]})
    await put(store, replace(base, outbox=[{"id": "e2"}], outbox_at=2.0))
    assert (await get(store, "a"))["outbox"] == [{"id": "e2"}]


@pytest.fixture
async def filled(store: Store) -> Store:
    await put(
        store,
        *(insert(f"u.{i}", uid="u", finished=i, outbox_at=i / 2) for i in range(1, 6)),
        insert("u.9", uid="u", finished=None, outbox_at=None),
        insert("v.1", uid="v", finished=1, alive_name="v"),
        insert("w.1", uid="w"),
    )
    return store


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "u.1 u.2 u.3 u.4 u.5 u.9 v.1 w.1"),
        ({"equals": {"uid": "u", "finished": 2}}, "u.2"),
        ({"equals": {"uid": "u", "finished": None}}, "u.9"),
        ({"equals": {"uid": "w", "finished": None}}, "w.1"),
        ({"equals": {"uid": "nobody"}}, ""),
        ({"among": {"uid": ["v", "w", "x"]}}, "v.1 w.1"),
        ({"among": {"uid": []}}, ""),
        ({"among": {"_id": ["u.1", "w.1"]}}, "u.1 w.1"),
        ({"equals": {"uid": "u"}, "among": {"uid": ["v", "u"], "finished": [5, 4]}}, "u.4 u.5"),
        ({"equals": {"uid": "u"}, "above": {"finished": 3}}, "u.4 u.5"),
        ({"equals": {"uid": "u"}, "at_least": {"finished": 3}}, "u.3 u.4 u.5"),
        ({"equals": {"uid": "u"}, "below": {"finished": 3}}, "u.1 u.2"),
        ({"equals": {"uid": "u"}, "at_most": {"finished": 3}}, "u.1 u.2 u.3"),
        ({"above": {"outbox_at": 0.5}, "at_most": {"outbox_at": 2.0}}, "u.2 u.3 u.4"),
        ({"at_least": {"outbox_at": 1}, "below": {"outbox_at": 2}}, "u.2 u.3"),
        ({"at_most": {"outbox_at": "text"}}, ""),
        ({"prefix": "u."}, "u.1 u.2 u.3 u.4 u.5 u.9"),
        ({"prefix": "u.", "above": {"_id": "u.3"}, "order": "_id"}, "u.4 u.5 u.9"),
        ({"prefix": "u.", "at_least": {"_id": "u.5"}}, "u.5 u.9"),
        ({"prefix": "u.", "order": "-_id", "limit": 1}, "u.9"),
        ({"above": {"_id": "u.9"}, "order": "_id", "limit": 1}, "v.1"),
        (
            {"equals": {"uid": "u"}, "above": {"finished": 1}, "order": "-finished"},
            "u.5 u.4 u.3 u.2",
        ),
        ({"equals": {"uid": "u"}, "order": "finished", "limit": 3}, "u.9 u.1 u.2"),
        ({"equals": {"uid": "u"}, "limit": 0}, ""),
        ({"equals": {"alive_name": "v"}}, "v.1"),
    ],
)
async def test_a_query_finds_counts_and_deletes_the_same(
    filled: Store, query: dict[str, Any], expected: str
) -> None:
    keys = await found(filled, **query)
    if "order" not in query:
        keys.sort()
    assert keys == expected.split()
    assert await filled.count("things", Query(**query)) == len(keys)
    assert await filled.delete("things", Query(**query)) == len(keys)
    assert sorted(await found(filled)) == sorted(
        {"u.1", "u.2", "u.3", "u.4", "u.5", "u.9", "v.1", "w.1"} - set(keys)
    )


@pytest.fixture
async def valued(store: Store) -> Store:
    values = [2.0, math.nan, None, -math.inf, 2, 7.5, math.inf, -0.0]
    await put(
        store,
        *(insert(f"t{i}", uid="u", finished=i, value=value) for i, value in enumerate(values)),
    )
    return store


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"order": ("finished", "_id")}, "t0 t1 t2 t3 t4 t5 t6 t7"),
        ({"order": ("nowhere", "finished")}, "t0 t1 t2 t3 t4 t5 t6 t7"),
        ({"order": ("-nowhere", "-finished")}, "t7 t6 t5 t4 t3 t2 t1 t0"),
        ({"order": ("value", "finished")}, "t2 t1 t3 t7 t0 t4 t5 t6"),
        ({"order": ("-value", "-finished")}, "t6 t5 t4 t0 t7 t3 t1 t2"),
        ({"at_least": {"value": -math.inf}, "order": ("value", "finished")}, "t3 t7 t0 t4 t5 t6"),
        ({"at_most": {"value": math.inf}, "order": ("-value", "-finished")}, "t6 t5 t4 t0 t7 t3"),
        ({"above": {"value": 2.0}, "at_most": {"value": 7.5}, "order": "value"}, "t5"),
        ({"equals": {"value": math.nan}}, "t1"),
        ({"equals": {"value": None}}, "t2"),
        ({"equals": {"value": 2.0}, "above": {"finished": 0}}, "t4"),
        ({"among": {"finished": [6, 1, 3]}, "order": ("-value", "-finished"), "limit": 2}, "t6 t3"),
    ],
)
async def test_numbers_are_ordered_by_several_fields_after_nan_and_none(
    valued: Store, query: dict[str, Any], expected: str
) -> None:
    within = query | {"equals": {"uid": "u", **query.get("equals", {})}}
    assert await found(valued, **within) == expected.split()


async def test_an_order_has_one_direction(store: Store) -> None:
    with pytest.raises(ValueError, match="order"):
        await found(store, order=("uid", "-finished"))
