"""Experiments that a cluster cannot run are refused when they are submitted, with what it says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.cluster.cluster_worlds import (
    ClusterWorld,
    bake,
    bake_definition,
    cluster_world,
    job,
    wanted,
)
from tests.cluster.double.server import Double

from trialbus.contracts import subjects
from trialbus.kernel.errors import Refused, Transient
from trialbus.ports.bus import Request
from trialbus.runtime.catalogue import catalogue_of
from trialbus.testkit.waits import until
from trialbus_gateway.app import runnable
from trialbus_gateway.app.commanding import Commanding

Object = dict[str, Any]


async def submitted(cluster: ClusterWorld, obj: Object) -> list[str]:
    """Field and message of what it is refused for."""
    commanding = Commanding(cluster.parts("gateway"), catalogue_of(cluster.world.settings))
    try:
        await commanding.apply("default", obj["metadata"]["name"], obj)
    except Refused as refused:
        return [str(problem) for problem in refused.problems]
    return []


@asynccontextmanager
async def asked_world(double: Double) -> AsyncIterator[ClusterWorld]:
    """With a launcher that answers: it takes its time to begin."""
    async with cluster_world(double) as cluster:
        bus = cluster.parts("gateway").bus
        question = Request(subject=subjects.check("default", "nothing"), data=b"{}")

        async def answers() -> bool:
            try:
                return bool(await bus.request(question, timeout_s=1.0))
            except Transient:
                return False

        await until(answers, "the launcher answers")
        yield cluster


async def test_what_the_cluster_can_run_is_taken(double: Double) -> None:
    async with asked_world(double) as cluster:
        assert await submitted(cluster, wanted("good", job())) == []
        await cluster.ended("good")


async def test_a_kind_without_a_definition_is_named(double: Double) -> None:
    async with asked_world(double) as cluster:
        spec = {**job(), "apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob"}
        assert await submitted(cluster, wanted("torch", spec)) == [
            "spec.trialTemplate.trialSpec: the cluster serves no PyTorchJob of kubeflow.org/v1: is "
            "its definition (CRD) installed?"
        ]


async def test_a_missing_right_is_named_with_its_verb_and_resource(double: Double) -> None:
    async with asked_world(double) as cluster:
        double.access.deny("create", "jobs.batch")
        double.access.deny("get", "pods/log")
        [problem] = await submitted(cluster, wanted("rights", job()))
        assert "may not create jobs.batch, get pods/log in namespace default" in problem


async def test_a_field_that_the_server_does_not_take_is_named(double: Double) -> None:
    double.create(bake_definition())
    async with asked_world(double) as cluster:
        [problem] = await submitted(cluster, bake("wrong", oven="lukewarm"))
        assert problem.startswith("spec.trialTemplate.trialSpec.spec.oven: Unsupported value")


async def test_a_namespace_that_is_not_ours_is_told(double: Double) -> None:
    settings = {"kubernetes_namespaces": "team-a,team-b"}
    async with cluster_world(double, settings=settings) as cluster:
        [problem] = await submitted(cluster, wanted("elsewhere", job()))
        assert problem.startswith("metadata.namespace: trials run only in the namespaces team-a")


async def test_files_cannot_be_read_from_outside_of_a_pod(double: Double) -> None:
    async with asked_world(double) as cluster:
        collector = {"collector": {"kind": "File"}}
        obj = wanted("files", job(), metricsCollectorSpec=collector)
        [problem] = await submitted(cluster, obj)
        assert "File on a cluster needs the wrapper" in problem


async def test_a_template_is_needed_where_no_image_is_set_for_others(double: Double) -> None:
    async with asked_world(double) as cluster:
        obj = wanted("bare", job())
        del obj["spec"]["trialTemplate"]
        [problem] = await submitted(cluster, obj)
        assert (
            problem == "spec.trialTemplate: must be given: there is no TRIALBUS_DEFAULT_TRIAL_IMAGE"
        )


async def test_without_a_launcher_the_experiment_is_taken(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runnable, "CLUSTER_CHECK_DEADLINE_S", 0.2)
    async with asked_world(double) as cluster:
        cluster.world.crash("trial_launcher", away_s=3600.0)
        spec = {**job(), "apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob"}
        assert await submitted(cluster, wanted("later", spec)) == []
