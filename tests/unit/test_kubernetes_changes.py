"""The index of changes amid failures, and what those hear who watch quiet things."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import Document
from trialbus.kernel.errors import Transient
from trialbus.ports.store import Query
from trialbus.testkit.gateway_world import World, gateway_world, running_trial
from trialbus.testkit.memory_store import MemoryClient
from trialbus.testkit.virtual_time import run_virtual
from trialbus_gateway.app.changes import Changes
from trialbus_gateway.app.failures import Expired
from trialbus_gateway.core.change_log import Change, Kind
from trialbus_gateway.core.resource_versions import tick_of, version_of

DEADLINE_S = 5.0


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as world:
        yield world


async def test_a_deletion_that_fails_halfway_is_told_as_a_whole_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, _ = await running_trial(world)
    index = await world.changes.index()
    async with index.lock:
        await index.look_at([state.id])
    before = index.log.newest
    # Somebody watches, so the last states are read.
    index.watches += 1
    await world.change(state, alive_name=None)
    find = MemoryClient.find

    async def broken(store: MemoryClient, collection: str, query: Query) -> list[Document]:
        if collection == TRIALS.name:
            raise Transient("away")
        return await find(store, collection, query)

    with monkeypatch.context() as patched:
        patched.setattr(MemoryClient, "find", broken)
        async with index.lock:
            with pytest.raises(Transient):
                await index.look_at([state.id])
    async with index.lock:
        await index.look_at([state.id])
    told = [(it.kind, it.type.value) for it in index.log.after(before, 9)]
    assert told == [
        (Kind.EXPERIMENTS, "DELETED"),
        (Kind.SUGGESTIONS, "DELETED"),
        (Kind.TRIALS, "DELETED"),
    ]


async def test_who_watches_what_is_quiet_hears_how_far_everything_is(world: World) -> None:
    """Else its version would be forgotten while others change."""
    state = await world.apply()
    index = await world.changes.index()
    start = index.log.newest

    async def busy() -> None:
        changed = state
        while True:
            changed = await world.change(changed, next_index=changed.next_index + 1)
            async with index.lock:
                await index.look([changed])
            await asyncio.sleep(0)

    task = asyncio.create_task(busy())
    try:
        async with asyncio.timeout(DEADLINE_S):
            follow = world.changes.follow(Kind.TRIALS, version_of(start), lambda: 0.1)
            async with aclosing(follow) as changes:
                told = await anext(changes)
    finally:
        task.cancel()
    assert isinstance(told, str)
    assert start < tick_of(told) <= index.log.newest


@pytest.mark.parametrize(
    "path",
    [
        "/apis/kubeflow.org/v1beta1/trials",
        "/api/v1/pods",
        "/apis/batch/v1/jobs",
        "/api/v1/namespaces/lab/events",
    ],
)
def test_a_watch_without_a_time_ends_within_the_hour(tmp_path: Path, path: str) -> None:
    """Whoever forgets it does not leave it here for ever."""

    async def lasted_s() -> float:
        async with gateway_world(tmp_path) as world:
            now_s = asyncio.get_running_loop().time
            begun_at = now_s()
            answer = await world.client.get(path, params={"watch": "true"}, timeout=None)
            assert (answer.status_code, answer.text) == (200, "")
            return now_s() - begun_at

    assert 1800 <= run_virtual(lasted_s(), limit_s=7200) <= 3601


async def test_the_end_of_very_many_trials_keeps_nobody_waiting(world: World) -> None:
    """More than can be remembered need not be told one by one: whoever watches lists anew."""
    state = await world.apply()
    index = await world.changes.index()
    before = version_of(index.log.newest)
    state = await world.change(state, next_index=300_000)
    await world.change(state, alive_name=None)
    start = time.process_time()
    async with index.lock:
        await index.look_at([state.id])
    assert time.process_time() - start < 1.0
    async with aclosing(world.changes.follow(Kind.TRIALS, before, lambda: 60.0)) as changes:
        with pytest.raises(Expired):
            await anext(changes)
    listed = await world.get("/apis/kubeflow.org/v1beta1/trials")
    since = listed["metadata"]["resourceVersion"]
    assert listed["items"] == []
    again = await world.apply("again")
    async with aclosing(world.changes.follow(Kind.EXPERIMENTS, since, lambda: 60.0)) as changes:
        await world.tell(again)
        told = await anext(changes)
    assert isinstance(told, Change)
    assert told.view["metadata"]["name"] == "again"


async def test_a_new_label_of_very_many_trials_keeps_nobody_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, trial = await running_trial(world)
    changes = Changes(world.parts, capacity=4)
    before = (await changes.trial("lab", trial.name))["metadata"]["resourceVersion"]
    metadata = {**state.source["metadata"], "labels": {"team": "red"}}
    source = {**state.source, "metadata": metadata}
    state = await world.change(state, next_index=300_000, source=source)
    find = MemoryClient.find

    async def counted(store: MemoryClient, collection: str, query: Query) -> list[Document]:
        # The one trial by its name, which is asked for below.
        assert collection != TRIALS.name or "name" in query.equals
        return await find(store, collection, query)

    monkeypatch.setattr(MemoryClient, "find", counted)
    shown = await changes.trial("lab", trial.name)
    assert shown["metadata"]["labels"]["team"] == "red"
    assert int(shown["metadata"]["resourceVersion"]) > int(before) + 2**16
    async with aclosing(changes.follow(Kind.TRIALS, before, lambda: 60.0)) as follow:
        with pytest.raises(Expired):
            await anext(follow)
    await changes.close()
