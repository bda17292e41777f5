"""Watches in the Kubernetes-style API, against a gateway over a bus and a store in memory."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from trialbus.contracts.collections import EXPERIMENTS, RUNS, TRIALS
from trialbus.contracts.documents import RUN, TRIAL, Document
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.run import RunPhase
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.store import Query, Write
from trialbus.testkit.gateway_world import (
    World,
    gateway_world,
    open_trial,
    real_client,
    run_of,
    running_trial,
    trial_of,
)
from trialbus.testkit.memory_store import MemoryClient
from trialbus.testkit.waits import until
from trialbus_gateway.adapters.kubernetes.list_options import options_of, scope_of
from trialbus_gateway.adapters.kubernetes.reading import kind_of
from trialbus_gateway.adapters.kubernetes.tables import form_of
from trialbus_gateway.adapters.kubernetes.watching import Watching
from trialbus_gateway.app.changes import Changes
from trialbus_gateway.app.changes_listing import ChangesListing

ROOT = "/apis/kubeflow.org/v1beta1"
LAB = f"{ROOT}/namespaces/lab"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
DEADLINE_S = 5.0

Told = tuple[str, dict[str, Any]]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as made:
        yield made


class Watcher:
    """Reads a watch as a client does, event by event."""

    def __init__(self, lines: AsyncGenerator[bytes, None]) -> None:
        self._lines = lines

    async def next(self) -> Told:
        async with asyncio.timeout(DEADLINE_S):
            event = json.loads(await anext(self._lines))
        return event["type"], event["object"]

    async def until(self, type_: str, name: str) -> dict[str, Any]:
        while True:
            told, found = await self.next()
            if (told, found["metadata"].get("name")) == (type_, name):
                return found

    async def rest(self) -> list[Told]:
        """To its end."""
        told = []
        async with asyncio.timeout(DEADLINE_S):
            async for line in self._lines:
                event = json.loads(line)
                told.append((event["type"], event["object"]))
        return told


@asynccontextmanager
async def watching(
    world: World,
    resource: str = "experiments",
    query: str = "",
    accept: str = "",
    changes: Changes | None = None,
) -> AsyncIterator[Watcher]:
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [(b"accept", accept.encode())],
        "query_string": f"watch=true&{query}".encode(),
        "path_params": {"namespace": "lab", "resource": resource},
    }
    request = Request(scope)
    changes = changes or world.changes
    served = Watching(changes, ChangesListing(changes, world.gateway_store))
    answer = await served.answer(
        kind_of(request), form_of(request), scope_of(request), options_of(request)
    )
    lines: Any = answer.body_iterator  # type: ignore[attr-defined]
    async with aclosing(lines):
        yield Watcher(lines)


async def version(world: World, resource: str = "experiments") -> str:
    return str((await world.get(f"{LAB}/{resource}"))["metadata"]["resourceVersion"])


async def relabel(world: World, state: Experiment, **labels: str) -> Experiment:
    metadata = {**state.source["metadata"], "labels": labels}
    changed = await world.change(state, source={**state.source, "metadata": metadata})
    await world.tell(changed)
    return changed


async def test_a_watch_without_a_version_begins_with_what_is_there(world: World) -> None:
    state = await world.apply()
    for query in ("", "resourceVersion=0"):
        async with watching(world, query=query) as watch:
            assert (await watch.next())[0] == "ADDED"
            state = await world.change(state, next_index=state.next_index + 1)
            await world.tell(state)
            told, found = await watch.next()
            assert (told, found["status"]["trials"]) == ("MODIFIED", state.next_index)


async def test_a_watch_goes_on_from_a_version_without_gap_or_repeat(world: World) -> None:
    state = await world.apply("a")
    start = await version(world)
    await world.tell(await world.apply("b"))
    async with watching(world, query=f"resourceVersion={start}") as watch:
        told, found = await watch.next()
        assert (told, found["metadata"]["name"]) == ("ADDED", "b")
    after = found["metadata"]["resourceVersion"]
    await world.tell(await world.change(state, next_index=1))
    async with watching(world, query=f"resourceVersion={after}") as watch:
        told, found = await watch.next()
        assert (told, found["metadata"]["name"]) == ("MODIFIED", "a")
        assert int(found["metadata"]["resourceVersion"]) > int(after)


@pytest.mark.parametrize("unknown", ["7", str(2**62)])
async def test_a_version_that_is_not_known_has_expired(world: World, unknown: str) -> None:
    await world.apply()
    async with watching(world, query=f"resourceVersion={unknown}") as watch:
        [(told, status)] = await watch.rest()
    assert (told, status["code"], status["reason"]) == ("ERROR", 410, "Expired")


async def test_who_lags_behind_the_log_is_told_to_list_anew(world: World) -> None:
    changes = Changes(world.parts, capacity=4)
    state = await world.apply()
    async with watching(world, query="timeoutSeconds=60", changes=changes) as watch:
        await watch.next()
        index = await changes.index()
        for count in range(1, 20):
            state = await world.change(state, next_index=count)
            async with index.lock:
                await index.look([state])
        assert (await watch.rest())[-1][1]["code"] == 410
    await changes.close()


async def test_a_deleted_object_is_told_with_its_last_state(world: World) -> None:
    state, trial = await running_trial(world)
    start = await version(world, "trials")
    query = f"resourceVersion={start}"
    async with watching(world, "trials", query) as trials, watching(world, query=query) as watch:
        # Begins the watch, which is what makes the last states worth a read.
        waits = [asyncio.create_task(it.next()) for it in (trials, watch)]
        await until(lambda: _watches(world) == 2, "both watch")
        await world.tell(await world.change(state, alive_name=None), "experiment.deleted")
        (told, last), (told_too, experiment) = await asyncio.gather(*waits)
    assert (told, last["metadata"]["name"]) == ("DELETED", trial.name)
    assert last["spec"]["parameterAssignments"]
    assert int(last["metadata"]["resourceVersion"]) > int(start)
    assert (told_too, experiment["metadata"]["name"]) == ("DELETED", "tune")


async def test_trials_are_told_as_deleted_although_their_documents_are_gone(world: World) -> None:
    state, trial = await running_trial(world)
    start = await version(world, "trials")
    store = world.store.client("tests")
    await world.change(state, alive_name=None)
    await store.delete(TRIALS.name, Query(equals={"uid": state.id}))
    await store.delete(EXPERIMENTS.name, Query(equals={"_id": state.id}))
    await world.tell(state, "experiment.deleted")
    label = "labelSelector=katib.kubeflow.org/experiment%3Dtune"
    async with watching(world, "trials", f"resourceVersion={start}&{label}") as watch:
        told, last = await watch.next()
    assert (told, last["metadata"]["name"]) == ("DELETED", trial.name)
    assert last["metadata"]["uid"] == trial.id


async def test_a_namesake_is_added_after_its_forerunner_was_deleted(world: World) -> None:
    state = await world.apply()
    start = await version(world)
    await world.change(state, alive_name=None)
    again = await world.apply()
    # The hint of the deletion is lost.
    await world.tell(again)
    async with watching(world, query=f"resourceVersion={start}") as watch:
        told = [(it, found["metadata"]["uid"]) for it, found in
                (await watch.next(), await watch.next())]  # fmt: skip
    assert told == [("DELETED", state.id), ("ADDED", again.id)]


async def test_what_no_longer_fits_is_deleted_and_what_begins_to_fit_is_added(
    world: World,
) -> None:
    state = await world.apply()
    async with watching(world, query="labelSelector=team%3Dred&timeoutSeconds=30") as watch:
        state = await relabel(world, state, team="red")
        assert (await watch.next())[0] == "ADDED"
        state = await relabel(world, state, team="red", more="x")
        assert (await watch.next())[0] == "MODIFIED"
        state = await relabel(world, state, team="blue")
        told, found = await watch.next()
        assert (told, found["metadata"]["labels"]["team"]) == ("DELETED", "blue")


async def test_other_names_and_namespaces_are_not_told(world: World) -> None:
    start = await version(world)
    query = f"resourceVersion={start}&fieldSelector=metadata.name%3Db"
    for name, namespace in (("a", "lab"), ("b", "den"), ("b", "lab")):
        await world.tell(await world.apply(name, namespace))
    async with watching(world, query=query) as watch:
        _, found = await watch.next()
        assert (found["metadata"]["namespace"], found["metadata"]["name"]) == ("lab", "b")


async def test_a_trial_is_told_from_its_opening_to_its_end(world: World) -> None:
    state = await world.apply()
    async with watching(world, "trials") as watch:
        state = await world.change(state, open={"0": open_trial()}, next_index=1)
        trial = trial_of(state, 0)
        await world.put(TRIAL.encode(trial), into=TRIALS.name)
        await world.tell(state)
        told, found = await watch.next()
        assert (told, found["metadata"]["name"]) == ("ADDED", trial.name)

        await world.put(RUN.encode(run_of(state, 0)), into=RUNS.name)
        await world.tell(state, "run.started")
        told, found = await watch.next()
        assert (told, found["status"]["conditions"][-1]["type"]) == ("MODIFIED", "Running")

        ended = trial_of(
            state, 0, version=2, phase=TrialPhase.SUCCEEDED, finished=1, completed_at=9.0
        )
        write = Write(base=TRIAL.encode(trial), document=TRIAL.encode(ended))
        await world.store.client("tests").commit(TRIALS.name, [write])
        await world.tell(await world.change(state, open={}, finished=1))
        told, found = await watch.next()
        assert (told, found["status"]["completionTime"]) == ("MODIFIED", "1970-01-01T00:00:09Z")


async def test_a_trial_whose_run_is_over_still_runs_until_it_is_counted(world: World) -> None:
    state, trial = await running_trial(world)
    over = run_of(state, 0, version=2, phase=RunPhase.FINISHED, exit_code=0)
    write = Write(base=RUN.encode(run_of(state, 0)), document=RUN.encode(over))
    await world.store.client("tests").commit(RUNS.name, [write])
    found = await world.get(f"{LAB}/trials/{trial.name}")
    assert found["status"]["conditions"][-1]["type"] == "Running"


async def test_what_nobody_hinted_at_is_found_by_the_sweep(world: World) -> None:
    changes = Changes(world.parts, sweep_s=0.05)
    state = await world.apply()
    async with watching(world, changes=changes) as watch:
        await watch.next()
        await world.change(state, next_index=1)
        assert (await watch.next())[0] == "MODIFIED"
    await changes.close()


async def test_the_list_ends_with_a_bookmark_where_that_is_asked_for(world: World) -> None:
    await world.apply()
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with watching(world, query=query) as watch:
        assert (await watch.next())[0] == "ADDED"
        told, found = await watch.next()
    assert (told, found["kind"]) == ("BOOKMARK", "Experiment")
    assert found["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    after = found["metadata"]["resourceVersion"]
    await world.tell(await world.apply("b"))
    async with watching(world, query=f"resourceVersion={after}") as watch:
        assert (await watch.next())[1]["metadata"]["name"] == "b"


async def test_a_watch_ends_in_time_with_a_bookmark_if_wanted(world: World) -> None:
    await world.apply()
    for bookmarks, expected in (("true", ["ADDED", "BOOKMARK"]), ("false", ["ADDED"])):
        query = f"timeoutSeconds=1&allowWatchBookmarks={bookmarks}"
        async with watching(world, query=query) as watch:
            assert [told for told, _ in await watch.rest()] == expected


async def test_a_table_defines_its_columns_once(world: World) -> None:
    state = await world.apply()
    async with watching(world, accept=TABLE) as watch:
        _, first = await watch.next()
        await world.tell(await world.change(state, next_index=1))
        _, second = await watch.next()
    assert len(first["columnDefinitions"]) == 4
    assert second["columnDefinitions"] is None
    assert [len(table["rows"]) for table in (first, second)] == [1, 1]


async def test_watches_have_the_long_lists_that_lists_have(world: World) -> None:
    state = await world.apply()
    start = await version(world)
    trial = trial_of(state, 0, phase=TrialPhase.SUCCEEDED, finished=1, completed_at=9.0)
    await world.put(TRIAL.encode(trial), into=TRIALS.name)
    await world.tell(await world.change(state, next_index=1, finished=1))
    async with watching(world, query=f"resourceVersion={start}") as watch:
        _, found = await watch.next()
    assert found["status"]["succeededTrialList"] == [trial.name]
    assert found == await world.get(f"{LAB}/experiments/tune")


@pytest.mark.parametrize("ended", [3, 300])
async def test_a_change_costs_the_same_however_many_trials_there_are(
    world: World, monkeypatch: pytest.MonkeyPatch, ended: int
) -> None:
    read = Counter[str]()
    find = MemoryClient.find

    async def counted(store: MemoryClient, collection: str, query: Query) -> list[Document]:
        found = await find(store, collection, query)
        read[store.name] += len(found)
        return found

    state = await world.apply()
    done = [
        trial_of(state, index, phase=TrialPhase.SUCCEEDED, finished=index + 1, completed_at=9.0)
        for index in range(ended)
    ]
    last = trial_of(state, ended)
    await world.put(*map(TRIAL.encode, [*done, last]), into=TRIALS.name)
    opened = {"open": {str(ended): open_trial()}, "next_index": ended + 1}
    state = await world.change(state, finished=ended, **opened)
    start = await version(world, "trials")
    monkeypatch.setattr(MemoryClient, "find", counted)
    over = replace(
        last, version=2, phase=TrialPhase.SUCCEEDED, finished=ended + 1, completed_at=9.0
    )
    write = Write(base=TRIAL.encode(last), document=TRIAL.encode(over))
    await world.store.client("tests").commit(TRIALS.name, [write])
    await world.tell(await world.change(state, open={}, finished=ended + 1))
    async with watching(world, "trials", f"resourceVersion={start}") as watch:
        _, found = await watch.next()
    assert found["metadata"]["name"] == last.name
    assert read["gateway"] == 1


async def test_a_client_that_goes_leaves_nothing(world: World) -> None:
    await world.apply()
    async with real_client(world) as client:
        async with client.stream("GET", f"{LAB}/experiments?watch=true") as answer:
            lines = answer.aiter_lines()
            assert json.loads(await anext(lines))["type"] == "ADDED"
            await until(lambda: _watches(world) == 1, "it watches")
        await until(lambda: _watches(world) == 0, "the watch is gone")


async def test_watches_end_in_good_order_when_the_gateway_stops(world: World) -> None:
    await world.apply()
    async with watching(world) as watch:
        await watch.next()
        rest = asyncio.create_task(watch.rest())
        await until(lambda: _watches(world) == 1, "it watches")
        await world.changes.close()
        assert await rest == []


async def test_an_index_that_nobody_uses_is_dropped(world: World) -> None:
    changes = Changes(world.parts, idle_s=0.05, sweep_s=0.01)
    index = await changes.index()
    await until(lambda: index.ended, "the index is dropped")
    assert await changes.index() is not index
    await changes.close()


async def test_a_lost_stream_is_told_to_who_watches(world: World) -> None:
    await world.apply()
    async with watching(world) as watch:
        await watch.next()
        rest = asyncio.create_task(watch.rest())
        await until(lambda: _watches(world) == 1, "it watches")
        (await world.changes.index()).end()
        [(told, status)] = await rest
    assert (told, status["code"]) == ("ERROR", 410)


def _watches(world: World) -> int:
    index = world.changes._index
    return 0 if index is None else index.watches
