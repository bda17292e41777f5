"""A gateway over the bus and the store in memory, and documents for it to show."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from trialbus.adapters.http import health_routes, serving
from trialbus.contracts import subjects
from trialbus.contracts.collections import (
    COLLECTIONS,
    EXPERIMENTS,
    RUNS,
    TRIALS,
)
from trialbus.contracts.documents import EXPERIMENT, RUN, TRIAL, Document
from trialbus.contracts.envelope import encode_event
from trialbus.kernel.catalogue import Catalogue
from trialbus.kernel.events import Event
from trialbus.kernel.experiment import (
    Experiment,
    OpenState,
    OpenTrial,
)
from trialbus.kernel.ids import run_id, trial_name
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.templates import DefaultTemplate
from trialbus.kernel.trial import Assignment, Trial, TrialPhase
from trialbus.ports.bus import Bus
from trialbus.ports.store import Store, Write
from trialbus.runtime.clock import RandomIds, SystemClock
from trialbus.runtime.outbox import Outbox
from trialbus.runtime.parts import Parts
from trialbus.runtime.settings import Settings
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.memory_bus import MemoryBus
from trialbus.testkit.memory_bus import MemoryClient as BusClient
from trialbus.testkit.memory_store import MemoryClient as StoreClient
from trialbus.testkit.memory_store import MemoryStore
from trialbus_experiment.app.commanding import Commanding as ExperimentCommanding
from trialbus_gateway.adapters.access.door import Door
from trialbus_gateway.adapters.http_metrics import CLUSTER
from trialbus_gateway.adapters.kubernetes import kubernetes_routes
from trialbus_gateway.adapters.routes import http_app
from trialbus_gateway.app.changes import Changes
from trialbus_gateway.app.commanding import Commanding
from trialbus_gateway.app.experiment_ends import ExperimentEnds
from trialbus_gateway.app.following import Following
from trialbus_gateway.app.guarded_ports import guarded
from trialbus_gateway.app.ingress import Ingress
from trialbus_gateway.app.port_metrics import ObservedHttp
from trialbus_gateway.app.questions import Questions
from trialbus_gateway.app.shipping import Shipping
from trialbus_gateway.app.showing import Showing
from trialbus_gateway.app.webhooks import Webhooks
from trialbus_gateway.app.working import Working
from trialbus_suggestion.core.descriptions.sampling import RANDOM

PATH = "/v1/namespaces/lab/experiments/tune"
CATALOGUE = Catalogue(algorithms={"random": RANDOM}, stopping_rules={})
DEFAULT = DefaultTemplate(command=("/py", "-m", "trainer"))


def katib(name: str = "tune", namespace: str = "lab", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "parallelTrialCount": 2,
            "maxTrialCount": 5,
            "objective": {"type": "maximize", "goal": 0.9, "objectiveMetricName": "accuracy"},
            "algorithm": {"algorithmName": "random"},
            "parameters": [
                {
                    "name": "--lr",
                    "parameterType": "double",
                    "feasibleSpace": {"min": "0.1", "max": "0.9"},
                }
            ],
            **spec,
        },
    }


@dataclass
class World:
    """One gateway, with an experiment service that takes commands and does no more. ends: not
    followed, unless a test runs it."""

    bus: MemoryBus
    store: MemoryStore
    gateway_bus: BusClient
    gateway_store: StoreClient
    parts: Parts
    client: httpx.AsyncClient
    app: Any
    changes: Changes
    ends: ExperimentEnds

    async def put(self, *documents: Document, into: str) -> None:
        writes = [Write(base=None, document=document) for document in documents]
        await self.store.client("tests").commit(into, writes)

    async def apply(self, name: str = "tune", namespace: str = "lab") -> Experiment:
        path = f"/v1/namespaces/{namespace}/experiments/{name}"
        answer = await self.client.put(path, json={"object": katib(name, namespace)})
        assert answer.status_code == 201, answer.text
        return await self.experiment(answer.json()["uid"])

    async def experiment(self, uid: str) -> Experiment:
        found = await self.store.client("tests").get_many(EXPERIMENTS.name, [uid])
        return EXPERIMENT.decode(found[uid])

    async def experiments(self) -> list[Experiment]:
        return [EXPERIMENT.decode(it) for it in self.store.documents(EXPERIMENTS.name)]

    async def change(self, state: Experiment, **changes: Any) -> Experiment:
        after = replace(state, version=state.version + 1, **changes)
        write = Write(base=EXPERIMENT.encode(state), document=EXPERIMENT.encode(after))
        await self.store.client("tests").commit(EXPERIMENTS.name, [write])
        return after

    async def tell(self, state: Experiment, event_type: str = "trial.created") -> None:
        """An event of it, as a hint that something changed."""
        event = Event(
            id=self.parts.ids.new_id(),
            type=event_type,
            uid=state.id,
            namespace=state.namespace,
            experiment=state.name,
            at=0.0,
        )
        await self.bus.client("tests").publish([encode_event(event)])

    async def get(self, path: str, status: int = 200) -> Any:
        answer = await self.client.get(path)
        assert answer.status_code == status, answer.text
        return answer.json()


def parts_of(bus: Bus, store: Store, service_name: str, data_dir: Path) -> Parts:
    clock, telemetry = SystemClock(), Telemetry(service_name)
    return Parts(
        bus=bus,
        store=store,
        clock=clock,
        ids=RandomIds(),
        # The environment of the tests is none of its business.
        settings=Settings.model_validate({"data_dir": data_dir}),
        outbox=Outbox(bus, store, clock, telemetry),
        telemetry=telemetry,
    )


@asynccontextmanager
async def gateway_world(
    folder: Path,
    door: Callable[[Parts], Door] | None = None,
    buses: Mapping[str, Bus] | None = None,
) -> AsyncIterator[World]:
    """A gateway without a network; `World.app` can also be served for real. door: made of the
    unguarded parts; without it the gateway asks nobody for a token. buses: of `gateway` and
    `experiment`; without them in memory."""
    bus, store = MemoryBus(), MemoryStore()
    in_memory = {name: bus.client(name) for name in ("gateway", "experiment")}
    used: Mapping[str, Bus] = buses or in_memory
    gateway_bus, gateway_store = used["gateway"], store.client("gateway")
    await gateway_store.prepare(COLLECTIONS)
    unguarded = parts_of(gateway_bus, gateway_store, "gateway", folder)
    parts = guarded(unguarded)
    questions = Questions(
        parts,
        default=DEFAULT,
        interpreter="/py",
        following=Following(parts, heartbeat_s=0.05),
    )
    commanding, changes = Commanding(parts, CATALOGUE, deadline_s=3.0), Changes(parts)
    working = Working(parts, deadline_s=3.0, attempt_s=0.1)
    ingress = Ingress(parts, commanding, questions, working)
    app = http_app(
        questions,
        commanding,
        health_routes(
            lambda: gateway_bus.connected and gateway_store.connected, parts.telemetry.registry
        ),
        ingress=ingress,
        working=working,
        shipping=Shipping(parts, deadline_s=3.0, attempt_s=0.1),
        webhooks=Webhooks(parts),
        kubernetes=kubernetes_routes(Showing(parts, commanding, changes)),
        door=None if door is None else door(unguarded),
        observer=ObservedHttp(parts.telemetry, parts.clock, passed_on=CLUSTER),
    )
    experiment_parts = parts_of(
        used["experiment"], store.client("experiment"), "experiment", folder
    )
    commands = ExperimentCommanding(experiment_parts, CATALOGUE)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        experiment_parts.bus.serve(
            subjects.commands(), "experiment", commands.respond, max_group=8
        ),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
    ):
        yield World(
            bus=bus,
            store=store,
            gateway_bus=in_memory["gateway"],
            gateway_store=gateway_store,
            parts=parts,
            client=client,
            app=app,
            changes=changes,
            ends=ingress.ends,
        )
        await changes.close()


@asynccontextmanager
async def real_client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """The same gateway behind a real server."""
    async with (
        serving(world.app, host="127.0.0.1", port=0) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        yield client


def trial_of(state: Experiment, index: int, **changes: Any) -> Trial:
    made = Trial(
        id=f"{state.id}.{index}",
        uid=state.id,
        version=1,
        namespace=state.namespace,
        experiment=state.name,
        index=index,
        name=trial_name(state.name, state.id, index),
        phase=TrialPhase.CREATED,
        assignments=(Assignment(name="--lr", value="0.5"),),
        conditions=(),
        created_at=state.created_at + 1,
    )
    return replace(made, **changes)


def run_of(state: Experiment, index: int, attempt: int = 1, **changes: Any) -> Run:
    made = Run(
        id=run_id(state.id, index, attempt),
        uid=state.id,
        index=index,
        attempt=attempt,
        version=1,
        namespace=state.namespace,
        experiment=state.name,
        trial=trial_name(state.name, state.id, index),
        phase=RunPhase.RUNNING,
        host="box.lan",
        boot_id="b",
        created_at=state.created_at + 2,
        started_at=state.created_at + 3,
    )
    return replace(made, **changes)


def open_trial(attempt: int = 1) -> OpenTrial:
    return OpenTrial(attempt=attempt, state=OpenState.ACTIVE, request=1, opened_at=1.0)


async def running_trial(
    world: World, attempt: int = 1, *, namespace: str = "lab", **run: Any
) -> tuple[Experiment, Trial]:
    """An experiment with one open trial whose newest attempt has a run."""
    state = await world.apply(namespace=namespace)
    state = await world.change(state, open={"0": open_trial(attempt)}, next_index=1)
    trial = trial_of(state, 0)
    await world.put(TRIAL.encode(trial), into=TRIALS.name)
    await world.put(RUN.encode(run_of(state, 0, attempt, **run)), into=RUNS.name)
    return state, trial
