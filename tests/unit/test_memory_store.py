"""What the store in memory has beyond the contract: faults, counts, and scans that tests forbid."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from trialbus.contracts.collections import CollectionSpec, Index
from trialbus.kernel.errors import Transient
from trialbus.ports.store import Outcome, Query, Write
from trialbus.testkit.memory_store import MemoryStore, StoreCall

THINGS = CollectionSpec(
    name="things",
    owner="tests",
    indexes=(Index(fields=("uid", "n")), Index(fields=("outbox_at",), sparse=True)),
)
INSERT = Write(base=None, document={"_id": "a", "version": 1, "uid": "u", "n": 1})


class Faults:
    """Runs one action before, and one after, the effect of every commit."""

    def __init__(self, stage: str, action: Callable[[], Awaitable[None]]) -> None:
        self._stage = stage
        self._action = action

    async def before(self, call: StoreCall) -> None:
        if self._stage == "before" and call.operation == "commit":
            await self._action()

    async def after(self, call: StoreCall) -> None:
        if self._stage == "after" and call.operation == "commit":
            await self._action()


async def transient() -> None:
    raise Transient("a fault")


@pytest.mark.parametrize(("stage", "stored"), [("before", 0), ("after", 1)])
async def test_a_fault_strikes_before_or_after_the_effect(stage: str, stored: int) -> None:
    world = MemoryStore(faults=Faults(stage, transient))
    with pytest.raises(Transient):
        await world.client("x").commit("things", [INSERT])
    assert len(world.documents("things")) == stored


@pytest.mark.parametrize(("stage", "stored"), [("before", 0), ("after", 1)])
async def test_a_call_of_a_client_that_is_cut_never_returns(stage: str, stored: int) -> None:
    world = MemoryStore()
    crashing, other = world.client("x"), world.client("y")

    async def crash() -> None:
        crashing.cut()

    world.faults = Faults(stage, crash)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(crashing.commit("things", [INSERT]), 0.01)
    assert not crashing.connected
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(crashing.get_many("things", ["a"]), 0.01)
    assert len(await other.get_many("things", ["a"])) == stored


async def test_an_outage_and_a_lost_connection_are_transient_and_end() -> None:
    world = MemoryStore()
    here, there = world.client("x"), world.client("y")
    here.reachable = False
    with pytest.raises(Transient):
        await here.commit("things", [INSERT])
    assert not here.connected
    assert await there.count("things", Query()) == 0
    world.available = False
    with pytest.raises(Transient):
        await there.commit("things", [INSERT])
    here.reachable = world.available = True
    assert await here.commit("things", [INSERT]) == [Outcome.DONE]


async def test_calls_and_written_documents_are_counted() -> None:
    world = MemoryStore()
    store = world.client("x")
    await store.prepare([THINGS])
    outbox = [{"id": "e"}]
    more = {"_id": "b", "version": 1, "uid": "u", "outbox": outbox, "outbox_at": 1.0}
    await store.commit("things", [INSERT, Write(base=None, document=more), INSERT])
    replaced = Write(base=INSERT.document, document={**INSERT.document, "version": 2})
    await store.commit("things", [replaced])
    await store.clear_outbox("things", {"b": ["e"], "gone": ["e"]})
    await store.delete("things", Query(equals={"uid": "u"}))
    assert world.writes == {
        ("things", "insert"): 2,
        ("things", "replace"): 1,
        ("things", "clear_outbox"): 1,
        ("things", "delete"): 2,
    }
    assert world.writes_by_collection == {"things": 6}
    assert world.lost_writes == {"things": 1}
    assert world.calls["things", "commit"] == 2


async def test_only_queries_without_an_index_are_remembered_as_scans() -> None:
    world = MemoryStore()
    store = world.client("x")
    await store.prepare([THINGS])
    await store.commit("things", [INSERT])
    for query in (
        Query(prefix="a"),
        Query(among={"_id": ["a"]}),
        Query(above={"_id": "a"}),
        Query(equals={"uid": "u"}, above={"n": 0}),
        Query(at_most={"outbox_at": 9.0}),
        Query(order="-uid", limit=1),
    ):
        await store.find("things", query)
    assert world.full_scans == []
    scans = [
        Query(),
        Query(equals={"n": 1}),
        Query(equals={"outbox_at": None}),
        Query(order="outbox_at"),
    ]
    for query in scans:
        await store.find("things", query)
    assert world.full_scans == [("things", query) for query in scans]


@pytest.mark.parametrize("value", [(1, 2), {1: 2}, {1, 2}, b"x", object()])
async def test_what_is_not_plain_json_is_a_fault_of_the_caller(value: object) -> None:
    with pytest.raises(TypeError):
        await (
            MemoryStore()
            .client("x")
            .commit("things", [Write(base=None, document={"_id": "a", "version": 1, "x": value})])
        )
