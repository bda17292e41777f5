"""The wrapper of pods against the services on the real nats-server and mongod: with a trial's own
token, what it ships is stored once, and early stopping reaches it."""

import asyncio
import json
import signal
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from trialbus.adapters.mongo_store import MongoSettings, MongoStore
from trialbus.adapters.nats_bus import ConnectionOptions, NatsBus
from trialbus.contracts.collections import COLLECTIONS, EVIDENCE, EXPERIMENTS, RUNS, TRIALS
from trialbus.contracts.documents import CHUNK, EXPERIMENT, RUN, TRIAL
from trialbus.contracts.token_file import StaticToken, hash_of, write_tokens
from trialbus.contracts.trial_tokens import trial_token
from trialbus.kernel.access import Role, TrialGrant
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import trial_name
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.spec import (
    AlgorithmSpec,
    CollectorKind,
    MetricsCollectorSpec,
    MetricsFormat,
    MetricsPath,
    PathKind,
)
from trialbus.ports.store import Query, Write
from trialbus.runtime.parts import ServiceDefinition
from trialbus.runtime.service import RunningService
from trialbus.runtime.settings import Settings
from trialbus.runtime.trial_keys import trial_keys
from trialbus.testkit.gateway_world import parts_of, trial_of
from trialbus.testkit.still_world import experiment
from trialbus.testkit.waits import until
from trialbus.testkit.wrapped import Ended, Wrapped, python
from trialbus_gateway.main import service as gateway
from trialbus_metrics_collector.main import service as collector
from trialbus_trial_launcher.main import service as launcher

pytestmark = pytest.mark.servers

ADMIN = f"tbs_{'x' * 40}"


@dataclass
class Stack:
    """Three services in this process. state: of an experiment whose trial 0 runs in a pod."""

    bus: NatsBus
    store: MongoStore
    folder: Path
    program: Path
    state: Experiment
    running: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = field(default_factory=dict)

    @property
    def trial(self) -> str:
        return trial_name(self.state.name, self.state.id, 0)

    @property
    def run_id(self) -> str:
        return f"{self.state.id}.0.1"

    def start(self, definition: ServiceDefinition) -> None:
        parts = parts_of(self.bus, self.store, definition.name, self.folder)
        settings = Settings.model_validate(
            {"data_dir": self.folder, "tokens_file": str(self.folder / "tokens"), "grpc_port": 0}
        )
        stop = asyncio.Event()
        service = RunningService(definition, replace(parts, settings=settings))
        self.running[definition.name] = stop, asyncio.create_task(service.run(stop))

    async def stop(self, name: str) -> None:
        stop, task = self.running.pop(name)
        stop.set()
        await asyncio.wait_for(task, 20)

    async def begin(self, collect: MetricsCollectorSpec, rule: AlgorithmSpec | None = None) -> None:
        spec = replace(self.state.spec, metrics_collector=collect, early_stopping=rule)
        self.state = replace(self.state, spec=spec)
        await self.insert(EXPERIMENTS.name, EXPERIMENT.encode(self.state))
        await self.insert(TRIALS.name, TRIAL.encode(trial_of(self.state, 0)))
        await self.insert(RUNS.name, RUN.encode(self._run()))

    def _run(self) -> Run:
        return Run(
            id=self.run_id,
            uid=self.state.id,
            index=0,
            attempt=1,
            version=1,
            namespace=self.state.namespace,
            experiment=self.state.name,
            trial=self.trial,
            phase=RunPhase.RUNNING,
            host="cluster:tests",
            boot_id="",
            created_at=time.time(),
        )

    async def insert(self, collection: str, document: dict[str, object]) -> None:
        await self.store.commit(collection, [Write(base=None, document=document)])

    def pod(self, name: str, **more: str) -> Wrapped:
        folder = self.folder / name
        folder.mkdir()
        told = json.loads((self.folder / "run" / "gateway.json").read_text())
        grant = TrialGrant(
            namespace=self.state.namespace,
            experiment=self.state.name,
            uid=self.state.id,
            trial=self.trial,
            index=0,
            attempt=1,
        )
        settings = Settings.model_validate({"data_dir": self.folder})
        ours = {
            "TRIALBUS_TOKEN": trial_token(grant, trial_keys(settings)[0]),
            "TRIALBUS_TRIAL": self.trial,
            "TRIALBUS_POD_UID": name,
        }
        return Wrapped(self.program, folder, told["http"], ours | more)

    async def values(self) -> list[float]:
        found = await self.store.find("chunks", Query(prefix=self.run_id, order="_id"))
        return [
            value
            for chunk in map(CHUNK.decode, found)
            for series in chunk.series
            if series.metric == "loss"
            for value in series.values
        ]

    async def is_final(self) -> bool:
        found = await self.store.find("chunks", Query(prefix=self.run_id, order="_id"))
        return bool(found) and CHUNK.decode(found[-1]).final


@pytest.fixture
async def stack(
    nats_url: str, mongo_url: str, tmp_path: Path, program: Path
) -> AsyncIterator[Stack]:
    database = f"wrapper_{uuid.uuid4().hex[:12]}"
    store = MongoStore(MongoSettings(url=mongo_url, database=database, app_name="tests"))
    bus = await NatsBus.open(ConnectionOptions(servers=[nats_url], name="tests"))
    await bus.provision()
    await store.prepare(COLLECTIONS)
    token = StaticToken(name="t", sha256=hash_of(ADMIN), role=Role.ADMIN, namespaces="*")
    (tmp_path / "tokens").write_bytes(write_tokens([token]))
    state = replace(experiment(1, uid=str(uuid.uuid4())), namespace=f"n{uuid.uuid4().hex[:9]}")
    made = Stack(bus, store, tmp_path, program, state)
    for definition in (gateway, collector, launcher):
        made.start(definition)
    told = tmp_path / "run" / "gateway.json"
    await until(told.exists, "the gateway listens", within_s=30)
    yield made
    for name in list(made.running):
        await made.stop(name)
    await bus.close()
    await store.close()


async def run(pod: Wrapped, *command: str) -> Ended:
    return await asyncio.to_thread(pod.run, *command)


async def test_output_is_stored_once_though_the_collector_goes_and_comes(stack: Stack) -> None:
    await stack.begin(MetricsCollectorSpec())
    pod = stack.pod("pod-1")
    code = (
        "import os, sys, time\n"
        "for n in range(3000):\n"
        "    print(f'epoch {n} loss={n}', file=(sys.stdout, sys.stderr)[n % 2], flush=True)\n"
        "    while n == 1500 and not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
    )
    process = pod.start(*python(code, str(pod.folder / "go")))
    await until(stack.values, "the first values are stored", within_s=30)
    await stack.stop(collector.name)
    (pod.folder / "go").touch()
    await asyncio.to_thread(until_written, process)
    stack.start(collector)
    ended = await asyncio.to_thread(pod.end, process)
    assert (ended.code, ended.told["error"]) == (0, "")
    assert ended.told["stored"] == ended.told["total"]
    assert sorted(await stack.values()) == [float(n) for n in range(3000)]
    assert await stack.is_final()
    [document] = (await stack.store.get_many(RUNS.name, [stack.run_id])).values()
    assert RUN.decode(document).holder == "pod-1"


def until_written(process: object) -> None:
    """The command has said its last word; nobody is there to store it."""
    out = process.stdout  # type: ignore[attr-defined]
    while b"epoch 2998 " not in out.readline():
        pass


async def test_a_second_pod_and_an_ended_attempt_run_nothing(stack: Stack) -> None:
    await stack.begin(MetricsCollectorSpec())
    assert (await run(stack.pod("pod-1"), "echo", "loss=1")).code == 0
    second = await run(stack.pod("pod-2"), "echo", "never")
    assert (second.code, second.stdout) == (78, b"")
    assert "another pod has this attempt: pod-1" in second.told["error"]
    base = (await stack.store.get_many(RUNS.name, [stack.run_id]))[stack.run_id]
    ended = replace(RUN.decode(base), version=base["version"] + 1, phase=RunPhase.FINISHED)
    await stack.store.commit(RUNS.name, [Write(base=base, document=RUN.encode(ended))])
    late = await run(stack.pod("pod-3"), "echo", "never")
    assert (late.code, late.stdout) == (78, b"")
    assert "has ended" in late.told["error"]
    forged = await run(stack.pod("pod-4", TRIALBUS_TOKEN=ADMIN), "echo", "never")
    assert (forged.code, forged.stdout) == (78, b""), "an administrator is no trial"


async def test_a_file_of_json_is_stored_once(stack: Stack) -> None:
    path = MetricsPath(path="/m.json", kind=PathKind.FILE, format=MetricsFormat.JSON)
    await stack.begin(MetricsCollectorSpec(kind=CollectorKind.FILE, path=path))
    file = stack.folder / "m.json"
    pod = stack.pod("pod-1", TRIALBUS_WRAP_KIND="file", TRIALBUS_WRAP_PATH=str(file))
    code = (
        "import json, sys\n"
        "with open(sys.argv[1], 'w') as f:\n"
        "    for n in range(20_000): print(json.dumps({'loss': str(n), 'other': n}), file=f)\n"
    )
    assert (await run(pod, *python(code, str(file)))).code == 0
    assert await stack.values() == [float(n) for n in range(20_000)]
    assert await stack.is_final()


async def test_a_file_of_text_is_read_with_the_filters(stack: Stack) -> None:
    path = MetricsPath(path="/m.log", kind=PathKind.FILE)
    await stack.begin(
        MetricsCollectorSpec(kind=CollectorKind.FILE, path=path, filters=(r"(\w+) is (\d+)",))
    )
    file = stack.folder / "m.log"
    pod = stack.pod("pod-1", TRIALBUS_WRAP_KIND="file", TRIALBUS_WRAP_PATH=str(file))
    ended = await run(pod, "sh", "-c", f"printf 'loss is 3\\nloss=4\\nloss is 5' > {file}")
    assert ended.code == 0
    assert await stack.values() == [3.0, 5.0]


@pytest.mark.parametrize("tag", ["loss", "loss_1"])
async def test_event_files_are_stored_once(stack: Stack, tag: str) -> None:
    """Of the metric's own tag, and of a longer one where there is no other."""
    path = MetricsPath(path="/logs", kind=PathKind.DIRECTORY)
    await stack.begin(MetricsCollectorSpec(kind=CollectorKind.TENSORFLOW_EVENT, path=path))
    folder = stack.folder / "logs"
    code = (
        "import sys; from tensorboardX import SummaryWriter\n"
        "for name in ('a', 'b'):\n"
        "    with SummaryWriter(f'{sys.argv[1]}/{name}') as writer:\n"
        "        for n in range(1000): writer.add_scalar(sys.argv[2], n, n)\n"
        "        writer.add_scalar('loss_12', 7, 0)\n"
    )
    pod = stack.pod("pod-1", TRIALBUS_WRAP_KIND="tfevent", TRIALBUS_WRAP_PATH=str(folder))
    interpreter = python("")[0]
    ended = await run(pod, interpreter, "-c", code, str(folder), tag)
    assert ended.code == 0, ended.stderr
    assert sorted(await stack.values()) == sorted([*map(float, range(1000))] * 2)
    assert await stack.is_final()


async def test_early_stopping_reaches_a_silent_command_within_a_second(stack: Stack) -> None:
    await stack.begin(MetricsCollectorSpec(), AlgorithmSpec(name="medianstop"))
    pod = stack.pod("pod-1")
    process = pod.start("sh", "-c", "echo loss=1; exec sleep 600")
    await until(stack.values, "it has reported", within_s=30)
    verdict = {"stop": True, "reason": "worse", "rules": []}
    began = time.monotonic()
    await stack.insert(
        EVIDENCE.name,
        {"_id": stack.run_id, "version": 1, "uid": stack.state.id, "verdict": verdict},
    )
    ended = await asyncio.to_thread(pod.end, process)
    assert time.monotonic() - began < 8.0, "a second, and what a busy machine adds"
    assert (ended.code, ended.told["stop"]) == (128 + signal.SIGTERM, "EarlyStopped")
    assert await stack.is_final()
