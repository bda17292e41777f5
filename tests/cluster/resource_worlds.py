"""Gateways that keep the objects of a cluster and a store in step: their own code with its real
client, over the double of an API server. The experiment service takes commands and does no more."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.cluster_clients import opened
from tests.cluster.double.server import Double

from trialbus.contracts.collections import RESOURCES
from trialbus.kernel.experiment import Experiment
from trialbus.ports.cluster import ClusterApi
from trialbus.testkit.gateway_world import (
    CATALOGUE,
    World,
    gateway_world,
    katib,
)
from trialbus.testkit.waits import until
from trialbus_gateway.adapters.custom_resources import ExperimentFeed, kept_namespaces
from trialbus_gateway.app.changes import Changes
from trialbus_gateway.app.commanding import Commanding
from trialbus_gateway.app.custom_resources import CustomResources
from trialbus_gateway.app.resource_keeping import ResourceKeeping

CRDS = Path(__file__).parents[2] / "deploy/crds"
FILES = "/v1/namespaces/lab/experiments"
Object = dict[str, Any]


def define(double: Double) -> None:
    """The definitions of deploy/crds."""
    for path in sorted(CRDS.glob("*.yaml")):
        double.create(yaml.safe_load(path.read_text()))


@dataclass
class Kept:
    """A gateway, or several, beside one cluster."""

    world: World
    double: Double
    api: ClusterApi
    leaving: AsyncExitStack

    async def start(
        self, *, namespaces: str = "", accept: str = "", silence_s: float = 0.4
    ) -> Callable[[], Any]:
        """One gateway's sync, with these settings; returns what stops it. silence_s: after which
        others take its place."""
        parts = self.world.parts
        changes = Changes(parts)
        kept = CustomResources(
            parts,
            Commanding(parts, CATALOGUE, deadline_s=2.0),
            changes,
            self.api,
            lambda: ExperimentFeed(self.api, namespaces, parts.clock),
            namespaces=kept_namespaces(namespaces),
            accept=accept,
            rest_s=0.02,
            sweep_s=0.2,
            retry_s=0.05,
            keeping=ResourceKeeping(parts, beat_s=0.05, silence_s=silence_s),
        )
        task = asyncio.create_task(kept.run())

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await changes.close()

        self.leaving.push_async_callback(stop)
        return stop

    async def move_to(self, double: Double) -> None:
        """Gateways that are started from now on are beside another cluster, which has the
        definitions and the namespace, and nothing else."""
        define(double)
        double.make_namespace("lab")
        self.double = double
        self.api = await self.leaving.enter_async_context(opened(double.kubeconfig))

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


@asynccontextmanager
async def kept_world(folder: Path, double: Double, *, defined: bool = True) -> AsyncIterator[Kept]:
    """With the definitions of deploy/crds, and a namespace; nothing is kept yet."""
    if defined:
        define(double)
    double.make_namespace("lab")
    async with AsyncExitStack() as leaving:
        world = await leaving.enter_async_context(gateway_world(folder))
        api = await leaving.enter_async_context(opened(double.kubeconfig))
        yield Kept(world, double, api, leaving)


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
