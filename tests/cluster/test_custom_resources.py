"""Objects of a cluster and the store, kept in step: the gateway's own code with its real client,
over the double of an API server. The experiment service takes commands and does no more."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.cluster_clients import opened
from tests.cluster.double.faults import Fault, bad_weather
from tests.cluster.double.objects import Target
from tests.cluster.double.server import Double

from trialbus.contracts.collections import EXPERIMENTS, RESOURCE_KEEPERS, RESOURCES, TRIALS
from trialbus.contracts.commands import uid_made_by
from trialbus.contracts.documents import EXPERIMENT, TRIAL
from trialbus.kernel.conditions import set_condition
from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.cluster import ClusterApi
from trialbus.ports.store import Query, Write
from trialbus.testkit.gateway_world import (
    CATALOGUE,
    World,
    gateway_world,
    katib,
    open_trial,
    trial_of,
)
from trialbus.testkit.waits import until
from trialbus_gateway.adapters.custom_resources import ClusterTemplates, ExperimentFeed
from trialbus_gateway.app.changes import Changes
from trialbus_gateway.app.commanding import Commanding
from trialbus_gateway.app.custom_resources import CustomResources
from trialbus_gateway.app.resource_keeping import ResourceKeeping

CRDS = Path(__file__).parents[2] / "deploy/crds"
FILES = "/v1/namespaces/lab/experiments"
Object = dict[str, Any]


@dataclass
class Kept:
    """A gateway, or several, beside one cluster."""

    world: World
    double: Double
    api: ClusterApi
    leaving: AsyncExitStack

    async def start(self) -> Callable[[], Any]:
        """One gateway's sync; returns what stops it."""
        parts = self.world.parts
        changes = Changes(parts)
        kept = CustomResources(
            parts,
            Commanding(parts, CATALOGUE, deadline_s=2.0),
            changes,
            self.api,
            lambda: ExperimentFeed(self.api, "", parts.clock),
            rest_s=0.02,
            sweep_s=0.2,
            retry_s=0.05,
            keeping=ResourceKeeping(parts, beat_s=0.05, silence_s=0.4),
        )
        task = asyncio.create_task(kept.run())

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await changes.close()

        self.leaving.push_async_callback(stop)
        return stop

    # What there is ------------------------------------------------------------------------------

    def resource(self, name: str = "tune", kind: str = "experiments.kubeflow.org") -> Object | None:
        return self.double.get(kind, "lab", name)

    def status(self, name: str = "tune") -> Object:
        return (self.resource(name) or {}).get("status") or {}

    def last(self, name: str = "tune") -> str:
        conditions = self.status(name).get("conditions") or [{"type": ""}]
        return str(conditions[-1]["type"])

    async def living(self, name: str = "tune") -> Experiment | None:
        found = [it for it in await self.world.experiments() if it.alive_name == f"lab/{name}"]
        return found[0] if found else None

    async def until_made(self, name: str = "tune") -> Experiment:
        async def made() -> bool:
            return await self.living(name) is not None and self.last(name) == "Created"

        await until(made, f"{name} is made and shown")
        state = await self.living(name)
        assert state is not None
        return state

    async def until_gone(self, name: str = "tune") -> None:
        async def gone() -> bool:
            return await self.living(name) is None and self.resource(name) is None

        await until(gone, f"{name} has gone on both sides")

    def links(self) -> list[Object]:
        return list(self.world.store.documents(RESOURCES.name))

    # What people do -----------------------------------------------------------------------------

    async def patch(self, change: Object, name: str = "tune") -> Object:
        kind = await self.api.resource("kubeflow.org/v1beta1", "Experiment")
        return await self.api.patch(kind, "lab", name, change)

    async def over_http(self, name: str = "tune", **spec: Any) -> None:
        body = {"object": katib(name, **spec)}
        answer = await self.world.client.put(f"{FILES}/{name}", json=body)
        assert answer.status_code == 200, answer.text

    async def delete_over_http(self, name: str = "tune") -> None:
        answer = await self.world.client.delete(f"{FILES}/{name}")
        assert answer.status_code == 202, answer.text

    async def delete(self, name: str = "tune") -> None:
        self.double.delete("experiments.kubeflow.org", "lab", name)


@pytest.fixture
async def kept(tmp_path: Path, double: Double) -> AsyncIterator[Kept]:
    """With the definitions of deploy/crds, and a namespace; nothing is kept yet."""
    for path in sorted(CRDS.glob("*.yaml")):
        double.create(yaml.safe_load(path.read_text()))
    double.make_namespace("lab")
    async with AsyncExitStack() as leaving:
        world = await leaving.enter_async_context(gateway_world(tmp_path))
        api = await leaving.enter_async_context(opened(double.kubeconfig))
        yield Kept(world, double, api, leaving)


async def test_an_applied_object_becomes_an_experiment_and_shows_its_state(kept: Kept) -> None:
    await kept.start()
    made = kept.double.create(katib())
    state = await kept.until_made()
    assert state.source["spec"]["maxTrialCount"] == 5
    assert kept.status()["startTime"]
    suggestion = kept.resource(kind="suggestions")
    assert suggestion is not None
    [owner] = suggestion["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (made["metadata"]["uid"], True)
    assert suggestion["spec"]["requests"] == 2
    # What the person wrote stays as it was written.
    resource = kept.resource()
    assert resource is not None
    assert resource["spec"] == made["spec"]


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


async def test_an_edited_object_is_an_edited_experiment(kept: Kept) -> None:
    await kept.start()
    kept.double.create(katib())
    await kept.until_made()
    await kept.patch({"spec": {"maxTrialCount": 9, "objective": {"goal": None}}})

    async def edited() -> bool:
        state = await kept.living()
        return state is not None and state.spec.max_trial_count == 9

    await until(edited, "the budget is larger")
    state = await kept.living()
    assert state is not None
    assert state.spec.objective.goal is None
    assert state.generation == 2


async def test_an_edit_over_http_is_shown_in_the_object_and_does_not_come_back(kept: Kept) -> None:
    await kept.start()
    kept.double.create(katib())
    await kept.until_made()
    await kept.over_http(maxTrialCount=7)

    def budget() -> int:
        resource = kept.resource()
        assert resource is not None
        return int(resource["spec"]["maxTrialCount"])

    await until(lambda: budget() == 7, "the object has the new budget")
    await at_rest(kept)
    state = await kept.living()
    assert state is not None
    assert (state.revision, state.spec.max_trial_count) == (2, 7)
    # Going back to an earlier value is an edit as well.
    await kept.patch({"spec": {"maxTrialCount": 5}})

    async def back() -> bool:
        state = await kept.living()
        return state is not None and state.spec.max_trial_count == 5

    await until(back, "the earlier budget")


async def at_rest(kept: Kept, sweeps: int = 4) -> None:
    """Nothing is written to the cluster any more, over some sweeps."""
    quiet, before = 0, -1

    async def still() -> bool:
        nonlocal quiet, before
        version = kept.double.do(lambda: kept.double.state.version)
        quiet = quiet + 1 if version == before else 0
        before = version
        return quiet >= sweeps * 20

    await until(still, "nothing is written", within_s=20)


async def test_a_deleted_object_is_a_deleted_experiment(kept: Kept) -> None:
    await kept.start()
    kept.double.create(katib())
    await kept.until_made()
    await kept.delete()
    await kept.until_gone()
    await until(lambda: not kept.links(), "nothing is kept of it")


async def test_an_experiment_made_over_http_is_an_object_and_goes_with_it(kept: Kept) -> None:
    await kept.start()
    state = await kept.world.apply()
    await until(lambda: kept.last() == "Created", "its object")
    resource = kept.resource()
    assert resource is not None
    assert resource["metadata"]["annotations"] == {"trialbus.io/uid": state.id}
    assert len(await kept.world.experiments()) == 1
    await kept.delete_over_http()
    await kept.until_gone()
    await until(lambda: kept.resource(kind="suggestions") is None, "its Suggestion has gone")


async def test_deleting_the_object_of_an_experiment_made_over_http_deletes_it(kept: Kept) -> None:
    await kept.start()
    await kept.world.apply()
    await until(lambda: kept.last() == "Created", "its object")
    await kept.delete()
    await kept.until_gone()


async def test_an_exported_object_that_is_applied_again_is_a_new_experiment(kept: Kept) -> None:
    """Its annotation names an experiment that has been deleted since."""
    await kept.start()
    state = await kept.world.apply()
    await until(lambda: kept.last() == "Created", "its object")
    resource = kept.resource()
    assert resource is not None
    exported = copy.deepcopy(resource)
    await kept.delete()
    await kept.until_gone()
    exported["metadata"] = {
        name: exported["metadata"][name] for name in ("name", "namespace", "annotations")
    }
    kept.double.create({**exported, "status": {}})
    again = await kept.until_made()
    assert again.id != state.id


async def test_trials_are_objects_of_their_experiment(kept: Kept) -> None:
    await kept.start()
    made = kept.double.create(katib())
    state = await kept.until_made()
    trials = [trial_of(state, index) for index in range(3)]
    state = await kept.world.change(
        state, open={str(it.index): open_trial() for it in trials}, next_index=3
    )
    await kept.world.put(*(TRIAL.encode(it) for it in trials), into=TRIALS.name)
    await kept.world.tell(state)
    await until(lambda: len(kept.double.list("trials.kubeflow.org", "lab")) == 3, "three trials")
    shown = kept.resource(trials[0].name, kind="trials.kubeflow.org")
    assert shown is not None
    assert shown["metadata"]["labels"] == {"katib.kubeflow.org/experiment": "tune"}
    assert shown["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    assert shown["spec"]["parameterAssignments"] == [{"name": "--lr", "value": "0.5"}]
    await until(lambda: kept.status().get("trials") == 3, "they are counted")
    assert kept.status()["pendingTrialList"] == sorted(
        (it.name for it in trials), key=[it.name for it in trials].index
    )
    # It ends: the object says so.
    ended = await end_trial(kept, state, trials[0].index)
    await until(lambda: last_of(kept, ended) == "Succeeded", "its end is shown")


async def end_trial(kept: Kept, state: Experiment, index: int) -> str:
    document = TRIAL.encode(trial_of(state, index))
    conditions = set_condition(
        (), "Succeeded", reason="TrialSucceeded", message="done", now=state.created_at
    )
    over = trial_of(
        state,
        index,
        version=2,
        phase=TrialPhase.SUCCEEDED,
        conditions=conditions,
        completed_at=state.created_at + 9,
        finished=1,
    )
    tests = kept.world.store.client("tests")
    await tests.commit(TRIALS.name, [Write(base=document, document=TRIAL.encode(over))])
    still = {str(it): open_trial() for it in range(state.next_index) if it != index}
    changed = await kept.world.change(state, open=still, finished=1)
    await kept.world.tell(changed)
    return over.name


def last_of(kept: Kept, trial: str) -> str:
    shown = kept.resource(trial, kind="trials.kubeflow.org") or {}
    conditions = (shown.get("status") or {}).get("conditions") or [{"type": ""}]
    return str(conditions[-1]["type"])


async def test_what_the_gateway_refuses_says_why_until_it_is_corrected(kept: Kept) -> None:
    await kept.start()
    wrong = katib(algorithm={"algorithmName": "randm"}, earlyStopping={"algorithmName": "none"})
    kept.double.create(wrong)
    await until(lambda: kept.last() == "Failed", "it is refused")
    [condition] = kept.status()["conditions"]
    assert condition["reason"] == "ExperimentFailed"
    # Every problem, each with its field.
    assert "spec.algorithm.algorithmName: there is no algorithm randm" in condition["message"]
    assert "spec.earlyStopping.algorithmName" in condition["message"]
    [event] = [it for it in kept.double.list("events") if it["type"] == "Warning"]
    assert event["involvedObject"]["name"] == "tune"
    assert await kept.world.experiments() == []
    await at_rest(kept)
    await kept.delete()
    kept.double.create(katib())
    await kept.until_made()
    assert kept.last() == "Created"


async def test_a_refused_edit_is_told_and_the_experiment_goes_on(kept: Kept) -> None:
    await kept.start()
    kept.double.create(katib())
    await kept.until_made()
    asked = {"metadata": {"annotations": {"trialbus.io/trials-by": "worker"}}}
    await kept.patch(asked)
    await until(lambda: "EditRefused" in types(kept), "the edit is refused")
    assert types(kept)[-1] == "Created"
    await kept.patch({"metadata": {"annotations": {"trialbus.io/trials-by": None}}})
    await until(lambda: types(kept) == ["Created"], "the edit was taken back")


def types(kept: Kept) -> list[str]:
    return [str(it["type"]) for it in kept.status().get("conditions") or ()]


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


async def test_what_katib_has_finished_is_not_run_again(kept: Kept) -> None:
    kept.double.create(katib())
    over = [{"type": "Succeeded", "status": "True", "reason": "ExperimentGoalReached"}]
    kept.double.set_status("experiments.kubeflow.org", "lab", "tune", {"conditions": over})
    kept.double.create(katib("fresh"))
    await kept.start()
    await kept.until_made("fresh")
    await at_rest(kept)
    assert await kept.living("tune") is None
    assert kept.status("tune")["conditions"] == over


async def test_katibs_finalizer_holds_nothing_up(kept: Kept) -> None:
    obj = katib()
    obj["metadata"]["finalizers"] = ["update-prometheus-metrics"]
    kept.double.create(obj)
    await kept.start()
    await kept.until_made()
    await kept.delete()
    await kept.until_gone()


async def test_an_experiment_and_an_object_of_the_same_name_become_one(kept: Kept) -> None:
    state = await kept.world.apply()
    kept.double.create(katib(maxTrialCount=6))
    await kept.start()
    await until(lambda: kept.last() == "Created", "it is shown")
    living = await kept.living()
    assert living is not None
    assert (living.id, living.spec.max_trial_count) == (state.id, 6)


async def test_one_gateway_keeps_them_and_another_takes_over(kept: Kept) -> None:
    first = await kept.start()
    await until(lambda: kept.world.store.documents(RESOURCE_KEEPERS.name), "a keeper")
    await kept.start()
    kept.double.create(katib())
    await kept.until_made()
    [before] = kept.world.store.documents(RESOURCE_KEEPERS.name)
    await first()
    kept.double.create(katib("later"))
    await kept.until_made("later")
    [after] = kept.world.store.documents(RESOURCE_KEEPERS.name)
    assert before["holder"] != after["holder"]


async def test_without_definitions_it_waits_for_them(tmp_path: Path, double: Double) -> None:
    double.make_namespace("lab")
    async with AsyncExitStack() as leaving:
        world = await leaving.enter_async_context(gateway_world(tmp_path))
        api = await leaving.enter_async_context(opened(double.kubeconfig))
        kept = Kept(world, double, api, leaving)
        state = await world.apply()
        await kept.start()
        for path in sorted(CRDS.glob("*.yaml")):
            double.create(yaml.safe_load(path.read_text()))
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


async def test_templates_are_read_from_the_clusters_config_maps(kept: Kept) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [
                        {
                            "name": "main",
                            "image": "any",
                            "command": ["train", "--lr=${trialParameters.rate}"],
                        }
                    ],
                }
            }
        },
    }
    kept.double.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "templates", "namespace": "lab"},
            "data": {"job.yaml": yaml.safe_dump(job)},
        }
    )
    world = kept.world
    commanding = Commanding(
        world.parts, CATALOGUE, deadline_s=2.0, fetch_template=ClusterTemplates(kept.api).fetch
    )
    obj = with_template(katib(), "templates", "job.yaml")
    accepted = await commanding.apply("lab", "tune", obj)
    state = EXPERIMENT.decode(
        (await world.store.client("tests").get_many(EXPERIMENTS.name, [accepted.uid]))[accepted.uid]
    )
    assert state.spec.template is not None
    assert state.spec.template.trial_spec == job
    # It is part of the experiment from now on.
    kept.double.delete("configmaps", "lab", "templates")
    assert (await commanding.apply("lab", "tune", obj)).uid == accepted.uid
    for entry, words in (("job.yaml", "no ConfigMap lab/gone"),):
        with pytest.raises(Refused, match=words):
            await commanding.apply("lab", "x", with_template(katib("x"), "gone", entry))


def with_template(obj: Object, name: str, entry: str) -> Object:
    template = {
        "primaryContainerName": "main",
        "trialParameters": [{"name": "rate", "reference": "--lr"}],
        "configMap": {
            "configMapName": name,
            "configMapNamespace": "lab",
            "templatePath": entry,
        },
    }
    return {**obj, "spec": {**obj["spec"], "trialTemplate": template}}
