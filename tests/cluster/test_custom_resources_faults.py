"""Objects and store in step over restarts, faults, and what happens while nobody looks."""

import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.double.faults import Fault, bad_weather
from tests.cluster.double.objects import Target
from tests.cluster.double.server import Double
from tests.cluster.resource_worlds import Kept, define, kept_world

from trialbus.contracts.collections import RESOURCE_KEEPERS, RESOURCES, TRIALS
from trialbus.contracts.commands import uid_made_by
from trialbus.contracts.documents import TRIAL
from trialbus.ports.store import Query, Write
from trialbus.testkit.gateway_world import CATALOGUE, katib, open_trial, trial_of
from trialbus.testkit.waits import until
from trialbus_gateway.app.commanding import Commanding
from trialbus_gateway.app.resource_cluster import ResourceCluster
from trialbus_gateway.app.resource_documents import LINK, ResourceDocuments, ResourceLink
from trialbus_gateway.app.resource_home import HomeOfResources
from trialbus_gateway.app.resource_taking import ResourceTaking

Object = dict[str, Any]


@pytest.fixture
async def kept(tmp_path: Path, double: Double) -> AsyncIterator[Kept]:
    async with kept_world(tmp_path, double) as made:
        yield made


async def test_a_restart_amid_the_creation_makes_no_second_experiment(kept: Kept) -> None:
    stop = await kept.start()
    kept.double.create(katib())
    await until(kept.living, "it is created")
    await stop()
    # As if it had stopped before it could write down which object that was.
    tests = kept.world.store.client("tests")
    await tests.delete(RESOURCES.name, Query(equals={"namespace": "lab"}))
    await kept.start()
    await until(lambda: kept.last() == "Created", "it is shown")
    assert len(await kept.world.experiments()) == 1


async def test_a_creation_that_broke_off_is_found_when_its_object_has_gone(kept: Kept) -> None:
    """It stopped after the command and before it knew the answer; then the object was deleted."""
    stop = await kept.start()
    made = kept.double.create(katib())
    state = await kept.until_made()
    await stop()
    tests = kept.world.store.client("tests")
    [link] = kept.links()
    begun = {**link, "version": link["version"] + 1, "seen": "", "revision": 0}
    await tests.commit(RESOURCES.name, [Write(base=link, document=begun)])
    assert link["uid"] == state.id == uid_made_by(made["metadata"]["uid"])
    await kept.delete()
    await kept.start()
    await kept.until_gone()


async def test_what_links_an_object_is_stored_before_the_experiment_is_made(kept: Kept) -> None:
    stop = await kept.start()
    seen = []
    store = kept.world.parts.store
    commit = store.commit

    async def watched(collection: str, writes: Any) -> Any:
        if collection == RESOURCES.name:
            seen.append(len(await kept.world.experiments()))
        return await commit(collection, writes)

    store.commit = watched  # type: ignore[method-assign]
    kept.double.create(katib())
    await kept.until_made()
    assert seen[0] == 0
    await stop()


async def test_what_was_deleted_while_nobody_looked_is_cleaned_up(kept: Kept) -> None:
    stop = await kept.start()
    kept.double.create(katib("tune"))
    kept.double.create(katib("other"))
    await kept.until_made("tune")
    await kept.until_made("other")
    await stop()
    await kept.delete("tune")
    await kept.delete_over_http("other")
    await kept.start()
    await kept.until_gone("tune")
    await kept.until_gone("other")
    assert await kept.living("tune") is None


async def test_an_object_made_anew_while_nobody_looked_is_another_experiment(kept: Kept) -> None:
    stop = await kept.start()
    kept.double.create(katib())
    first = await kept.until_made()
    await stop()
    await kept.delete()
    kept.double.create(katib(maxTrialCount=8))
    await kept.start()

    async def other() -> bool:
        state = await kept.living()
        return state is not None and state.id != first.id

    await until(other, "the new one")
    state = await kept.living()
    assert state is not None
    assert state.spec.max_trial_count == 8


async def test_one_gateway_keeps_them_and_another_takes_over_when_it_leaves(kept: Kept) -> None:
    # Nobody is taken for silent.
    first = await kept.start(silence_s=600.0)
    await until(lambda: kept.world.store.documents(RESOURCE_KEEPERS.name), "a keeper")
    await kept.start(silence_s=600.0)
    kept.double.create(katib())
    await kept.until_made()
    [before] = kept.world.store.documents(RESOURCE_KEEPERS.name)
    await first()
    kept.double.create(katib("later"))
    await kept.until_made("later")
    [after] = kept.world.store.documents(RESOURCE_KEEPERS.name)
    assert before["holder"] != after["holder"]


async def test_a_gateway_takes_over_from_one_that_is_silent(kept: Kept) -> None:
    documents = ResourceDocuments(kept.world.store.client("one that was killed"))
    assert await documents.keep(None, "one that was killed")
    kept.double.create(katib())
    await kept.start()
    await kept.until_made()
    [keeper] = kept.world.store.documents(RESOURCE_KEEPERS.name)
    assert keeper["holder"] != "one that was killed"


async def test_without_definitions_it_waits_for_them(tmp_path: Path, double: Double) -> None:
    async with kept_world(tmp_path, double, defined=False) as kept:
        state = await kept.world.apply()
        await kept.start()
        define(double)
        await until(lambda: kept.last() == "Created", "it is shown", within_s=20)
        living = await kept.living()
        assert living is not None
        assert living.id == state.id


@pytest.mark.parametrize("seed", range(3))
async def test_both_sides_agree_after_bad_weather(kept: Kept, seed: int) -> None:
    """Answers that are lost or wrong, watches that break, lists of the past, while people create,
    edit and delete on both sides; then it clears up."""
    await kept.start()
    kept.double.faults.storm(seed, bad_weather(0.02))
    for name in ("a", "b", "c", "d"):
        kept.double.create(katib(name))
    for name in ("e", "f"):
        await kept.world.apply(name)
    await until(lambda: named(kept, {"a", "b", "c", "d", "e", "f"}), "all six", within_s=40)
    kept.double.do(lambda: edit_in_place(kept, "a", 9))
    await kept.over_http("e", maxTrialCount=8)
    await kept.delete("b")
    await kept.delete_over_http("f")
    await kept.delete_over_http("c")
    kept.double.faults.clear()
    await until(lambda: named(kept, {"a", "d", "e"}), "three on both sides", within_s=40)

    async def budgets() -> bool:
        states = {it.name: it for it in await kept.world.experiments() if it.alive_name}
        mine = {name: it.spec.max_trial_count for name, it in states.items()}
        theirs = {
            it["metadata"]["name"]: it["spec"]["maxTrialCount"]
            for it in kept.double.list("experiments.kubeflow.org")
        }
        return mine == theirs == {"a": 9, "d": 5, "e": 8}

    await until(budgets, "the same budgets", within_s=40)
    assert kept.double.faults.total > 5


async def named(kept: Kept, names: set[str]) -> bool:
    living = {it.name for it in await kept.world.experiments() if it.alive_name}
    there = {it["metadata"]["name"] for it in kept.double.list("experiments.kubeflow.org")}
    return living == there == names and all(kept.last(name) == "Created" for name in names)


def edit_in_place(kept: Kept, name: str, budget: int) -> None:
    """Not over HTTP, where the weather is."""
    double = kept.double
    kind = double._kind("experiments.kubeflow.org")
    obj = copy.deepcopy(double.state.get(kind.group, kind.plural, "lab", name))
    assert obj is not None
    obj["spec"]["maxTrialCount"] = budget
    double.objects.update(target_of(double, kind, name), obj)


def target_of(double: Double, kind: Any, name: str) -> Any:
    version = kind.versions[kind.storage]
    return Target(kind=kind, version=version, namespace="lab", name=name)


async def test_conflicts_lose_nobodys_edit(kept: Kept) -> None:
    await kept.start()
    kept.double.create(katib())
    await kept.until_made()
    kept.double.faults.add(Fault(kind="status", code=409, verb="patch", times=3))
    await kept.over_http(maxTrialCount=6)

    def budget() -> object:
        return (kept.resource() or {"spec": {}})["spec"].get("maxTrialCount")

    await until(lambda: budget() == 6, "the edit has come through")


async def test_the_object_of_a_broken_off_step_is_taken_for_what_it_is(kept: Kept) -> None:
    """It was made for an experiment, and nobody came to write that down."""
    state = await kept.world.apply()
    gone = await kept.world.apply("gone")
    await kept.delete_over_http("gone")
    tests = kept.world.store.client("tests")
    for it in (state, gone):
        intent = ResourceLink(
            id=f"making-{it.id}", version=1, namespace="lab", name=it.name, uid=it.id
        )
        write = Write(base=None, document=LINK.encode(intent))
        await tests.commit(RESOURCES.name, [write])
        obj = katib(it.name)
        obj["metadata"]["annotations"] = {"trialbus.io/uid": it.id}
        kept.double.create(obj)
    await kept.start()
    await kept.until_gone("gone")
    assert (await kept.until_made()).id == state.id
    resource = kept.resource()
    assert resource is not None
    await until(lambda: [it["_id"] for it in kept.links()] == [resource["metadata"]["uid"]], "one")


async def test_what_nobody_told_is_found_by_the_sweep(kept: Kept) -> None:
    """An experiment of a namespace that the cluster gets later."""
    await kept.world.apply("early", "later")
    await kept.start()
    kept.double.create(katib())
    await kept.until_made()
    kept.double.make_namespace("later")
    await until(
        lambda: kept.double.get("experiments.kubeflow.org", "later", "early") is not None,
        "it is an object",
    )


async def test_an_edit_of_the_object_amid_ours_is_taken(kept: Kept) -> None:
    await kept.start()
    kept.double.create(katib())
    await kept.until_made()
    patch = kept.api.patch
    edited: list[object] = []

    async def between(*arguments: Any, **options: Any) -> Any:
        if not options.get("subresource") and not edited:
            edited.append(kept.double.do(lambda: edit_in_place(kept, "tune", 8)))
        return await patch(*arguments, **options)

    kept.api.patch = between  # type: ignore[method-assign]
    await kept.over_http(parallelTrialCount=1)

    async def taken() -> bool:
        state = await kept.living()
        return bool(edited) and state is not None and state.spec.max_trial_count == 8

    await until(taken, "the person's edit is the experiment's")


async def test_a_trial_that_the_cluster_refuses_holds_up_nothing_else(kept: Kept) -> None:
    await kept.start()
    kept.double.create(katib())
    state = await kept.until_made()
    trials = [trial_of(state, index) for index in range(3)]
    refused = Fault(kind="status", code=422, verb="create", resource="trials", times=1)
    kept.double.faults.add(refused)
    await kept.world.put(*(TRIAL.encode(it) for it in trials), into=TRIALS.name)
    changed = await kept.world.change(
        state, open={str(it.index): open_trial() for it in trials}, next_index=3
    )
    await kept.world.tell(changed)
    await until(lambda: kept.status().get("trials") == 3, "the experiment's state is shown")
    await until(lambda: len(kept.double.list("trials.kubeflow.org", "lab")) == 2, "two are there")
    await until(lambda: refused.struck == 1, "the third was refused")


async def test_what_cannot_be_an_object_is_not_tried_with_every_change(kept: Kept) -> None:
    """Its namespace is none of the cluster's."""
    state = await kept.world.apply("early", "later")
    create, tried = kept.api.create, list[str]()

    async def counted(*arguments: Any, **options: Any) -> Any:
        tried.append(arguments[1])
        return await create(*arguments, **options)

    kept.api.create = counted  # type: ignore[method-assign]
    commanding = Commanding(kept.world.parts, CATALOGUE, deadline_s=2.0)
    parts, cluster = kept.world.parts, ResourceCluster(kept.api)
    documents = ResourceDocuments(parts.store)
    home = HomeOfResources(documents, cluster, parts.clock, parts.telemetry.log, namespaces=None)
    taking = ResourceTaking(parts, commanding, cluster, home, hold_s=60.0)
    for _ in range(3):
        assert await taking.pair("later", "early") is None
    assert tried == ["later"]
    await kept.world.change(state, revision=state.revision + 1)
    assert await taking.pair("later", "early") is None
    assert tried == ["later", "later"]
