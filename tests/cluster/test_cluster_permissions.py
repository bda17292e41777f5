"""The table of what services may do on a cluster holds what their code asks for, and no more."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.cluster_clients import opened
from tests.cluster.cluster_worlds import cluster_world, job, wanted
from tests.cluster.double.faults import Fault
from tests.cluster.double.outcomes import RUNS_ON, Outcome
from tests.cluster.double.server import Double

from trialbus.adapters.kubernetes_api import Reflector
from trialbus.contracts.cluster_permissions import When, permissions_of
from trialbus.contracts.katib.template_sources import TemplateReference
from trialbus.contracts.nats_identities import GATEWAY, TRIAL_LAUNCHER
from trialbus.kernel.run import RunPhase
from trialbus.ports.cluster import ClusterApi
from trialbus.testkit.waits import until
from trialbus_gateway.adapters.custom_resources import ClusterTemplates
from trialbus_gateway.app.resource_cluster import (
    EXPERIMENT,
    SUGGESTION,
    TRIAL_KIND,
    ResourceCluster,
)

DEFINITIONS = Path(__file__).parents[2] / "deploy/crds"
# Every account has these.
FREE = {("get", "discovery"), ("create", "selfsubjectaccessreviews")}
Object = dict[str, Any]


def promised(service: str, *when: When) -> set[tuple[str, str]]:
    found = permissions_of(service, when=frozenset(when))
    return {(verb, each.resource) for each in found for verb in each.verbs}


def used(double: Double) -> set[tuple[str, str]]:
    return set(double.stats.requests) - FREE


async def test_the_launcher_uses_what_its_role_gives(double: Double) -> None:
    def stays(pod: Object) -> bool:
        return "stopped" in pod["metadata"]["name"]

    def run(pod: Object) -> Outcome:
        return RUNS_ON if stays(pod) else Outcome(log=b"loss=0.5\n")

    # A creation whose answer is lost: it is made again, found there, and looked at.
    double.faults.add(Fault(kind="reset", moment="after", verb="create", resource="jobs"))
    async with cluster_world(double, run=run) as cluster:
        await cluster.apply(wanted("plain", job(), trials=3, parallel=2))
        await cluster.ended("plain")
        assert [run.phase for run in cluster.runs()] == [RunPhase.FINISHED] * 3
        await cluster.apply(wanted("stopped", job()))
        # One of the experiment before may still be there.
        await until(lambda: any(map(stays, cluster.objects("pods"))), "its pod")
        await cluster.stop("stopped")
        await cluster.ended("stopped")
        await until(lambda: not cluster.objects(), "no Job")
    assert used(double) == promised(TRIAL_LAUNCHER, When.PLACE)


@pytest.mark.parametrize("resource", ["jobs.batch", "pods", "pods/log"])
async def test_a_launcher_without_a_permission_tells_what_it_may_not(
    double: Double, resource: str
) -> None:
    """None of them lets a trial end as if it had gone well."""
    double.access.deny("*", resource)
    async with cluster_world(double) as cluster:
        reply = await cluster.apply(wanted("barred", job()))
        if reply.accepted:
            await until(lambda: double.stats.answers[403] > 0, "it was refused something")
        assert not any(trial.value == 0.5 for trial in cluster.trials())


async def test_the_gateway_uses_what_its_role_gives(double: Double) -> None:
    for path in DEFINITIONS.glob("*.yaml"):
        double.create(yaml.safe_load(path.read_text()))
    templates = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "t"}}
    double.create({**templates, "data": {"a": "b"}})
    async with opened(double.kubeconfig) as api:
        cluster = ResourceCluster(api)
        await _keep_experiment(cluster)
        await _follow(api, double)
        reference = TemplateReference(namespace="default", name="t", path="a")
        assert await ClusterTemplates(api).fetch(reference) == "b"
    assert used(double) == promised(GATEWAY, When.PLACE, When.CUSTOM_RESOURCES)


async def _keep_experiment(cluster: ResourceCluster) -> None:
    """Each thing that the sync does to the cluster."""
    owner = await cluster.create_experiment(_object(EXPERIMENT, "e", wanted("e", job())["spec"]))
    owner = await cluster.edit_experiment(owner, {"spec": {"maxTrialCount": 2}})
    found = await cluster.experiment("default", "e")
    assert found is not None
    assert found["metadata"]["uid"] in (await cluster.named("default", "e")).uids
    assert await cluster.namespace_uid("default")
    await cluster.show(EXPERIMENT, found, _status())
    uid = owner["metadata"]["uid"]
    for kind, spec in (
        (SUGGESTION, {"algorithm": {"algorithmName": "random"}, "requests": 1}),
        (TRIAL_KIND, _trial_spec()),
    ):
        view = {**_object(kind, "e", spec), "status": _status()}
        await cluster.show_child(kind, view, owner, None)
        there = await cluster.child(kind, "default", "e", uid)
        view["metadata"]["labels"] = {"katib.kubeflow.org/experiment": "e"}
        assert await cluster.show_child(kind, view, owner, there)
    trials = [trial async for trial in cluster.trials("default", "e", uid)]
    await cluster.delete_trial("default", "e", trials[0]["metadata"]["uid"])
    about = {"kind": "Experiment", "namespace": "default", "name": "e"}
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e.1"}}
    event["metadata"]["namespace"] = "default"  # type: ignore[index]
    told = {"involvedObject": about, "reason": "Failed", "message": "m", "type": "Warning"}
    assert await cluster.tell({**event, **told}) == ""
    await cluster.delete_experiment("default", "e", uid)


async def _follow(api: ClusterApi, double: Double) -> None:
    experiments = await api.resource("kubeflow.org/v1beta1", EXPERIMENT)
    followed = Reflector(api, experiments, None, summary=str)
    watching = asyncio.create_task(anext(followed.changes(), None))
    await until(lambda: ("watch", "experiments") in used(double), "it watches")
    watching.cancel()
    await asyncio.wait([watching])


def _object(kind: str, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": "default"}
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    }


def _status() -> Object:
    condition = {"type": "Created", "status": "True", "reason": "r", "message": "m"}
    return {"conditions": [condition]}


def _trial_spec() -> Object:
    return {
        "objective": {"type": "minimize", "objectiveMetricName": "loss"},
        "parameterAssignments": [{"name": "x", "value": "1"}],
        "runSpec": job(),
    }
