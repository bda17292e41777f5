"""Compare-and-set: one suite over the store in memory and on a real mongod by either driver."""

import asyncio
import gc
import math
from typing import Any

import pytest

from trialbus.ports.store import Document, Outcome, Query, Store, Unstorable, Write
from trialbus.testkit.store_probes import THINGS, Stores, found, get, insert, put, replace

DONE, CONFLICT, TAKEN = Outcome.DONE, Outcome.CONFLICT, Outcome.TAKEN


async def test_a_document_comes_back_as_it_was_written(store: Store) -> None:
    document = {
        "_id": "a",
        "version": 1,
        "text": "",
        "unicode": "äöü\0\U0001f600",
        "float": 0.1,
        "whole": 3.0,
        "true": True,
        "none": None,
        "empty": [{}, []],
        "nested": {"z": 1, "a": [1, "x", None, {"b": False}]},
        "deep": deep(150),
    }
    await put(store, Write(base=None, document=document))
    got = await get(store, "a")
    assert got == document
    assert {name: type(value) for name, value in got.items()} == {
        name: type(value) for name, value in document.items()
    }


async def test_integers_of_64_bits_survive(store: Store) -> None:
    values = [2**31, -(2**31) - 1, 2**63 - 1, -(2**63)]
    await put(store, insert("a", values=values))
    got = (await get(store, "a"))["values"]
    assert got == values
    assert all(isinstance(each, int) for each in got)


async def test_not_a_number_and_infinities_survive(store: Store) -> None:
    await put(store, insert("a", values=[math.nan, math.inf, -math.inf], alone=math.nan))
    await put(store, replace(await get(store, "a"), more=-math.inf))
    got = await get(store, "a")
    assert math.isnan(got["values"][0])
    assert got["values"][1:] == [math.inf, -math.inf]
    assert math.isnan(got["alone"])
    assert got["more"] == -math.inf


async def test_nested_order_and_names_survive_a_replacement(store: Store) -> None:
    await put(store, insert("a", nested={"b": 1, "a": 2}))
    nested = {"a": 2, "b": 1, "x.y": {"$set": 3, "$id": 4, "": 5}}
    await put(store, replace(await get(store, "a"), nested=nested))
    got = (await get(store, "a"))["nested"]
    assert got == nested
    assert list(got) == list(nested)


async def test_a_replacement_tells_true_from_one_and_one_from_one_point_nought(
    store: Store,
) -> None:
    before = {"scalar": 1, "whole": 1, "nested": {"a": 1}}
    await put(store, insert("a", **before))
    await put(store, replace(await get(store, "a"), scalar=True, whole=1.0, nested={"a": True}))
    got = await get(store, "a")
    assert [type(got["scalar"]), type(got["whole"]), type(got["nested"]["a"])] == [
        bool,
        float,
        bool,
    ]


async def test_documents_are_passed_by_value(store: Store) -> None:
    mine: Document = {"_id": "a", "version": 1, "list": [1], "dict": {"a": 1}}
    await put(store, Write(base=None, document=mine))
    mine["list"].append(2)
    first = await get(store, "a")
    first["dict"]["a"] = 9
    assert await get(store, "a") == {"_id": "a", "version": 1, "list": [1], "dict": {"a": 1}}


async def test_a_change_inside_a_container_that_the_base_shares_is_written(store: Store) -> None:
    await put(store, insert("a", open={"1": "running"}))
    base = await get(store, "a")
    document = {**base, "version": 2}
    document["open"]["2"] = "running"
    await put(store, Write(base=base, document=document))
    assert (await get(store, "a"))["open"] == {"1": "running", "2": "running"}


async def test_absent_documents_are_absent_from_the_answer(store: Store) -> None:
    await put(store, insert("a"), insert("b"))
    assert sorted(await store.get_many("things", ["a", "b", "c"])) == ["a", "b"]
    assert await store.get_many("things", ["c"]) == {}
    assert await store.get_many("things", []) == {}


async def test_only_the_wanted_fields_are_read(store: Store) -> None:
    await put(store, insert("a", x=1, y=2, uid="u"))
    assert await store.get_many("things", ["a"], fields=["x", "z"]) == {"a": {"_id": "a", "x": 1}}
    assert await store.find("things", Query(equals={"uid": "u"}, fields=("y",))) == [
        {"_id": "a", "y": 2}
    ]
    assert await store.find("things", Query(equals={"uid": "u"}, fields=())) == [{"_id": "a"}]


async def test_more_than_a_hundred_documents_are_read_in_one_call(store: Store) -> None:
    keys = [f"{i:04}" for i in range(1500)]
    await put(store, *(insert(key, uid="u") for key in keys))
    assert sorted(await store.get_many("things", keys)) == keys
    assert sorted(await found(store, equals={"uid": "u"})) == keys


async def test_a_second_insert_is_a_conflict_and_changes_nothing(store: Store) -> None:
    await put(store, insert("a", x=1))
    assert await store.commit("things", [insert("a", x=2)]) == [CONFLICT]
    assert (await get(store, "a"))["x"] == 1


async def test_a_replacement_of_an_old_version_is_a_conflict_and_changes_nothing(
    store: Store,
) -> None:
    await put(store, insert("a", x=1))
    old = await get(store, "a")
    await put(store, replace(old, x=2))
    assert await store.commit("things", [replace(old, x=3)]) == [CONFLICT]
    assert await get(store, "a") == {"_id": "a", "version": 2, "x": 2}


async def test_a_field_that_the_new_document_lacks_is_gone(store: Store) -> None:
    await put(store, insert("a", x=1, y=2))
    base = await get(store, "a")
    await put(store, Write(base=base, document={"_id": "a", "version": 2, "x": 1}))
    assert await get(store, "a") == {"_id": "a", "version": 2, "x": 1}


async def test_fields_that_the_base_does_not_show_stay(store: Store) -> None:
    await put(store, insert("a", x=1, y=2))
    part = (await store.get_many("things", ["a"], fields=["version", "x"]))["a"]
    await put(store, replace(part, x=5))
    assert await get(store, "a") == {"_id": "a", "version": 2, "x": 5, "y": 2}


@pytest.mark.parametrize("fields", [{"x": 2}, {"alive_name": "taken"}])
async def test_a_deleted_document_is_not_revived(store: Store, fields: Document) -> None:
    await put(store, insert("a", alive_name="n"), insert("b", alive_name="taken"))
    base = await get(store, "a")
    assert await store.delete("things", Query(equals={"_id": "a"})) == 1
    assert await store.commit("things", [replace(base, **fields)]) == [CONFLICT]
    assert await store.get_many("things", ["a"]) == {}


async def test_each_write_of_a_group_succeeds_or_fails_alone(store: Store) -> None:
    await put(store, insert("a", x=1), insert("b", x=1), insert("c", alive_name="n"))
    a, b = await get(store, "a"), await get(store, "b")
    await put(store, replace(b, x=2))
    gone = {"_id": "gone", "version": 3}
    outcomes = await store.commit(
        "things",
        [
            insert("a"),
            replace(a, x=3),
            replace(b, x=9),
            insert("d", alive_name="n"),
            replace(gone, x=9),
            insert("e", x=4),
            replace(a, x=5),
        ],
    )
    assert outcomes == [CONFLICT, DONE, CONFLICT, TAKEN, CONFLICT, DONE, CONFLICT]
    assert {
        key: each.get("x") for key, each in (await store.get_many("things", list("abcde"))).items()
    } == {"a": 3, "b": 2, "c": None, "e": 4}


def deep(levels: int) -> Document:
    document: Document = {}
    for _ in range(levels):
        document = {"a": document}
    return document


@pytest.mark.parametrize(
    "bad",
    [2**63, "\ud800", "x" * (17 * 1024 * 1024), deep(185), deep(300)],
    ids=["integer over 64 bits", "broken text", "too large", "too deep", "far too deep"],
)
async def test_a_document_that_can_never_be_stored_is_named_and_its_neighbours_are_stored(
    store: Store, bad: object
) -> None:
    await put(store, insert("a", x=1), insert("b", x=1))
    a, b = await get(store, "a"), await get(store, "b")
    with pytest.raises(Unstorable) as caught:
        await store.commit(
            "things", [insert("c", x=bad), replace(a, x=[bad]), replace(b, x=2), insert("a")]
        )
    assert sorted(caught.value.reasons) == ["a", "c"]
    assert caught.value.outcomes == (None, None, DONE, CONFLICT)
    kept = await store.get_many("things", ["a", "b", "c"])
    assert {key: document["x"] for key, document in kept.items()} == {"a": 1, "b": 2}


async def test_a_document_that_grows_too_large_by_fields_the_base_does_not_show_is_named(
    store: Store,
) -> None:
    megabytes = "x" * (9 * 1024 * 1024)
    await put(store, insert("a", x=megabytes))
    part = (await store.get_many("things", ["a"], fields=["version"]))["a"]
    with pytest.raises(Unstorable) as caught:
        await store.commit("things", [replace(part, y=megabytes), insert("b")])
    assert sorted(caught.value.reasons) == ["a"]
    assert caught.value.outcomes == (None, DONE)


@pytest.mark.parametrize(
    ("base", "document"),
    [
        (None, {"_id": 1, "version": 1}),
        (None, {"_id": "a"}),
        (None, {"_id": "a", "version": 0}),
        (None, {"_id": "a", "version": 1.0}),
        ({"_id": "a", "version": 1}, {"_id": "a", "version": 1}),
        ({"_id": "a", "version": 1}, {"_id": "a", "version": 3}),
        ({"_id": "a", "version": 1}, {"_id": "b", "version": 2}),
        (None, {"_id": "a", "version": 1, "x.y": 1}),
        (None, {"_id": "a", "version": 1, "$x": 1}),
        (None, {"_id": "a", "version": 1, "revived": False}),
    ],
)
def test_a_write_that_breaks_the_rules_cannot_be_built(
    base: Document | None, document: Document
) -> None:
    with pytest.raises(ValueError, match="document"):
        Write(base=base, document=document)


async def test_of_racing_tasks_each_version_has_exactly_one_winner(stores: Stores) -> None:
    store, other = stores.open(), stores.open()
    await asyncio.gather(store.prepare([THINGS]), other.prepare([THINGS]))
    await put(store, insert("a", winners=[]))
    won: list[tuple[int, int]] = []

    async def race(runner: int) -> None:
        mine = store if runner % 2 else other
        for _ in range(3):
            base = await get(mine, "a")
            write = replace(base, winners=[*base["winners"], runner])
            if await mine.commit("things", [write]) == [DONE]:
                won.append((write.document["version"], runner))

    await asyncio.gather(*(race(runner) for runner in range(64)))
    final = await get(store, "a")
    assert sorted(version for version, _ in won) == list(range(2, len(won) + 2))
    assert [runner for _, runner in sorted(won)] == final["winners"]
    assert final["version"] == len(won) + 1


async def test_of_racing_inserts_one_wins(store: Store) -> None:
    outcomes = await asyncio.gather(
        *(store.commit("things", [insert("a", x=i)]) for i in range(16))
    )
    assert sorted(outcome.value for [outcome] in outcomes) == ["conflict"] * 15 + ["done"]
    assert (await get(store, "a"))["x"] == outcomes.index([DONE])


async def test_a_value_that_must_be_unique_is_taken_until_it_becomes_none(store: Store) -> None:
    await put(store, insert("a", alive_name="n"), insert("b", alive_name=None), insert("c"))
    assert await store.commit("things", [insert("d", alive_name="n")]) == [TAKEN]
    assert await store.commit("things", [replace(await get(store, "b"), alive_name="n")]) == [TAKEN]
    await put(store, replace(await get(store, "a"), alive_name=None))
    await put(store, insert("d", alive_name="n"))
    assert await found(store, equals={"alive_name": "n"}) == ["d"]
    # A document may keep its own value, and a lost race is never called taken.
    old = await get(store, "d")
    await put(store, replace(old, x=1))
    assert await store.commit("things", [replace(old, x=2)]) == [CONFLICT]


async def test_a_value_is_free_again_when_its_document_is_deleted(store: Store) -> None:
    await put(store, insert("a", pair="p", side=1), insert("b", pair="p", side=2))
    assert await store.commit("things", [insert("c", pair="p", side=2)]) == [TAKEN]
    await store.delete("things", Query(equals={"_id": "b"}))
    await put(store, insert("c", pair="p", side=2))


async def test_prepare_twice_in_parallel_and_again_keeps_documents_and_rules(
    stores: Stores,
) -> None:
    store, other = stores.open(), stores.open()
    await asyncio.gather(*(each.prepare([THINGS]) for each in (store, other, store, other)))
    await put(store, insert("a", alive_name="n"))
    await other.prepare([THINGS])
    assert await other.commit("things", [insert("b", alive_name="n")]) == [TAKEN]
    assert store.connected
    assert other.connected


async def test_nothing_to_write_is_no_call(store: Store) -> None:
    assert await store.commit("things", []) == []


async def test_after_a_cancelled_commit_the_store_works_and_the_write_is_whole(
    store: Store,
) -> None:
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    await put(store, insert("a", x=0, y=0))
    for turns in range(8):
        base = await get(store, "a")
        value = base["x"] + 1
        writes = [replace(base, x=value, y=value), insert("a")]
        writing = asyncio.create_task(store.commit("things", writes))
        for _ in range(turns):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        got = await get(store, "a")
        assert got["x"] == got["y"]
        assert got["x"] in (value - 1, value)
    await store.close()
    gc.collect()
    assert unhandled == []
