"""All services in memory, with trials on a double of a cluster: real time, real HTTP."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from tests.cluster.double.outcomes import Outcome
from tests.cluster.double.server import Double

from trialbus.adapters.kubernetes_api import open_cluster
from trialbus.contracts import subjects
from trialbus.contracts.commands import Command, Verb
from trialbus.contracts.documents import EXPERIMENT, RUN, TRIAL
from trialbus.contracts.envelope import CommandReply
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.run import Run
from trialbus.kernel.trial import Trial
from trialbus.ports.cluster import ClusterApi
from trialbus.ports.tracing import Tracing
from trialbus.runtime.clock import SystemClock
from trialbus.runtime.outbox import Outbox
from trialbus.runtime.parts import Behaviour, Parts
from trialbus.runtime.settings import Settings
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.waits import until
from trialbus.testkit.world import CountingIds, World
from trialbus_experiment.main import service as experiment
from trialbus_metrics_collector.main import service as metrics_collector
from trialbus_suggestion.adapters.compute import InlineCompute
from trialbus_suggestion.core.registry import Registry
from trialbus_suggestion.main import compose as compose_suggestion
from trialbus_suggestion.main import service as suggestion
from trialbus_trial_launcher.main import build_on_cluster
from trialbus_trial_launcher.main import service as trial_launcher

Object = dict[str, Any]
NAMESPACE = "default"
WAIT_S = 30.0


def job(command: list[str] | None = None, **spec: Any) -> Object:
    container = {
        "name": "main",
        "image": "trainer:1",
        "command": command or ["train", "--x=${trialParameters.x}"],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {"template": {"spec": {"containers": [container]}}, **spec},
    }


def wanted(
    name: str, trial_spec: Object, *, trials: int = 1, parallel: int = 1, **spec: Any
) -> Object:
    template = {
        "primaryContainerName": "main",
        "trialParameters": [{"name": "x", "reference": "x"}],
        "trialSpec": trial_spec,
        **spec.pop("template", {}),
    }
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "random"},
            "maxTrialCount": trials,
            "parallelTrialCount": parallel,
            "maxFailedTrialCount": trials,
            "parameters": [
                {
                    "name": "x",
                    "parameterType": "double",
                    "feasibleSpace": {"min": "0", "max": "1"},
                }
            ],
            "trialTemplate": template,
            **spec,
        },
    }


@dataclass(slots=True)
class ClusterWorld:
    world: World
    double: Double

    async def apply(self, wanted: Object) -> CommandReply:
        name = wanted["metadata"]["name"]
        subject = subjects.command(NAMESPACE, name, Verb.APPLY.value)
        command = Command(id=f"apply-{name}", object=wanted)
        return CommandReply.from_bytes(await self.world.command(subject, command.to_bytes()))

    def parts(self, service: str) -> Parts:
        """Of one more process, that asks."""
        telemetry = Telemetry(service)
        bus, store = self.world.bus.client(service), self.world.store.client(service)
        return Parts(
            bus=bus,
            store=store,
            clock=self.world.clock,
            ids=CountingIds(service),
            settings=self.world.settings,
            outbox=Outbox(bus, store, self.world.clock, telemetry),
            telemetry=telemetry,
        )

    async def stop(self, name: str) -> None:
        subject = subjects.command(NAMESPACE, name, Verb.STOP.value)
        await self.world.command(subject, Command(id=f"stop-{name}").to_bytes())

    def experiment(self, name: str) -> Experiment:
        found = map(EXPERIMENT.decode, self.world.store.documents("experiments"))
        return next(it for it in found if it.name == name)

    def trials(self) -> list[Trial]:
        return [TRIAL.decode(it) for it in self.world.store.documents("trials")]

    def runs(self) -> list[Run]:
        return [RUN.decode(it) for it in self.world.store.documents("runs")]

    async def ended(self, name: str, *, timeout_s: float = WAIT_S) -> Experiment:
        def over() -> bool:
            if self.world.failures:
                raise self.world.failures[0]
            return self.experiment(name).ended

        await until(over, f"the end of {name}", within_s=timeout_s)
        return self.experiment(name)

    def objects(self, kind: str = "jobs") -> list[Object]:
        return self.double.list(kind, NAMESPACE)


@asynccontextmanager
async def cluster_world(
    double: Double,
    *,
    launchers: int = 1,
    settings: Mapping[str, Any] = {},
    run: Callable[[Object], Outcome | None] | None = None,
    tracing: Callable[[str], Tracing] | None = None,
) -> AsyncIterator[ClusterWorld]:
    double.pods.run = run or (lambda _pod: Outcome(log=b"loss=0.5\n"))
    given = Settings(place="kubernetes", kubeconfig=str(double.kubeconfig), **settings)

    # Of processes that were killed, too.
    apis: list[ClusterApi] = []

    async def inline(parts: Parts) -> Behaviour:
        return compose_suggestion(parts, InlineCompute(Registry()))

    async def build(parts: Parts) -> Behaviour:
        api = await open_cluster(given)
        apis.append(api)
        return await build_on_cluster(parts, api)

    services = (
        experiment,
        replace(suggestion, build=inline),
        metrics_collector,
        replace(trial_launcher, build=build),
    )
    world = World(
        {it.name: it for it in services},
        Random(0),
        settings=given,
        clock=SystemClock(),  # type: ignore[arg-type]
        latency_s=0.0001,
        tracing=tracing,
    )
    world.start_all()
    for number in range(2, launchers + 1):
        world.start(f"trial_launcher/{number}")
    try:
        yield ClusterWorld(world, double)
    finally:
        await world.close()
        for api in apis:
            await api.close()


def bake_definition() -> Object:
    """A kind whose controller is the test: example.com/v1 Bake."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    oven = {"type": "string", "enum": ["hot", "cold"]}
    spec = {"type": "object", "properties": {"oven": oven, "pod": free}}
    schema = {"type": "object", "properties": {"spec": spec, "status": free}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "bakes.example.com"},
        "spec": {
            "group": "example.com",
            "names": {"kind": "Bake", "plural": "bakes", "singular": "bake", "listKind": "Bakes"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def bake(name: str, *, oven: str = "hot") -> Object:
    """An experiment over such objects, whose metrics are pushed."""
    trial_spec = {
        "apiVersion": "example.com/v1",
        "kind": "Bake",
        "spec": {"oven": oven, "pod": {"x": "${trialParameters.x}"}},
    }
    conditions = {
        "successCondition": 'status.[@this].#(phase=="Done")',
        "failureCondition": 'status.problems.#(fatal=="yes")',
    }
    push = {"collector": {"kind": "Push"}}
    return wanted(name, trial_spec, template=conditions, metricsCollectorSpec=push)


def train_job_definition() -> Object:
    """TrainJobs of Kubeflow's trainer, with any fields: the double has a controller for them."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {**free, "properties": {"spec": free, "status": free}}},
    }
    names = {"kind": "TrainJob", "plural": "trainjobs", "singular": "trainjob", "listKind": "L"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "trainjobs.trainer.kubeflow.org"},
        "spec": {
            "group": "trainer.kubeflow.org",
            "names": names,
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def train_job(name: str) -> Object:
    trial_spec = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "spec": {
            "runtimeRef": {"name": "torch"},
            "trainer": {"command": ["train"], "args": ["--x=${trialParameters.x}"]},
        },
    }
    return wanted(name, trial_spec, template={"primaryContainerName": "node"})
