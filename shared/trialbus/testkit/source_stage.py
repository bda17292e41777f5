"""A trial launcher and a metrics collector over a store in memory, with trials as real processes.

A trial of a test does one step for each file `step-<n>` that the test puts into its folder.
"""

import asyncio
import json
import os
import signal
import sys
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from trialbus.contracts.collections import COLLECTIONS, EXPERIMENTS, TRIALS
from trialbus.contracts.documents import CHUNK, EXPERIMENT, RUN, TRIAL
from trialbus.kernel.chunks import Chunk
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import trial_id, trial_name
from trialbus.kernel.run import Run
from trialbus.kernel.spec import MetricsCollectorSpec, TrialTemplate
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.ports.store import Write
from trialbus.runtime.clock import RandomIds, SystemClock
from trialbus.runtime.outbox import Outbox
from trialbus.runtime.parts import Parts, ServiceDefinition
from trialbus.runtime.service import RunningService
from trialbus.runtime.settings import Settings
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.memory_bus import MemoryBus
from trialbus.testkit.memory_store import MemoryStore
from trialbus.testkit.run_probes import marked_processes
from trialbus.testkit.still_world import UID, experiment
from trialbus.testkit.waits import until

RUN_ID = f"{UID}.0.1"
WAIT_S = 30.0
_STEPPING = """
import os, sys, time
def step(n):
    while not os.path.exists(os.path.join({folder!r}, f"step-{{n}}")):
        time.sleep(0.01)
"""


class SourceStage:
    """One experiment with one open trial. `settings`: of the services."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self._settings = Settings.model_validate({"data_dir": folder / "data", **settings})
        self._store = MemoryStore()
        self._bus = MemoryBus()
        self._services: dict[str, asyncio.Task[None]] = {}
        # Of each service's newest life.
        self.telemetries: dict[str, Telemetry] = {}
        self._lives = 0

    # The experiment ----------------------------------------------------------------------------

    def program(self, code: str) -> tuple[str, ...]:
        """A command that runs this code, in which `step(n)` waits for step n."""
        stepping = _STEPPING.format(folder=str(self.folder))
        return (sys.executable, "-c", stepping + textwrap.dedent(code))

    async def open_trial(
        self,
        command: Sequence[str],
        collector: MetricsCollectorSpec,
        *,
        metrics: Sequence[str] = (),
    ) -> None:
        """Of an experiment that minimises `loss`. metrics: others that it wants."""
        await self._store.client("test").prepare(COLLECTIONS)
        state = experiment(1)
        spec = replace(
            state.spec,
            objective=replace(state.spec.objective, additional=tuple(metrics)),
            template=_template(command),
            metrics_collector=collector,
        )
        await self._insert(EXPERIMENTS.name, EXPERIMENT.encode(replace(state, spec=spec)))
        await self._insert(TRIALS.name, TRIAL.encode(_trial(state)))

    async def _insert(self, collection: str, document: dict[str, object]) -> None:
        await self._store.client("test").commit(collection, [Write(base=None, document=document)])

    async def want_stopped(self, reason: str) -> None:
        """The experiment wants the trial stopped, and says so."""
        client = self._store.client("test")
        base = (await client.get_many(EXPERIMENTS.name, [UID]))[UID]
        state = EXPERIMENT.decode(base)
        stopped = replace(state.open["0"], stop=reason)
        after = replace(state, version=state.version + 1, open={"0": stopped})
        document = EXPERIMENT.encode(after)
        await client.commit(EXPERIMENTS.name, [Write(base=base, document=document)])

    def step(self, number: int) -> None:
        (self.folder / f"step-{number}").touch()

    # Services ----------------------------------------------------------------------------------

    def start(self, *definitions: ServiceDefinition) -> None:
        for definition in definitions:
            self._lives += 1
            parts = self._parts(f"{definition.name}-{self._lives}")
            self.telemetries[definition.name] = parts.telemetry
            running = RunningService(definition, parts).run(asyncio.Event())
            self._services[definition.name] = asyncio.ensure_future(running)

    async def kill(self, name: str) -> None:
        """Without draining. (Signals to whole processes are for the tests of the real stack.)"""
        task = self._services.pop(name)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def _parts(self, replica: str) -> Parts:
        bus, store = self._bus.client(replica), self._store.client(replica)
        clock, telemetry = SystemClock(), Telemetry(replica)
        return Parts(
            bus=bus,
            store=store,
            clock=clock,
            ids=RandomIds(),
            settings=self._settings,
            outbox=Outbox(bus, store, clock, telemetry),
            telemetry=telemetry,
            serves_grpc=False,
        )

    async def close(self) -> None:
        for name in list(self._services):
            await self.kill(name)
        for pid in marked_processes(f"{self.folder}/data/runs/"):
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, signal.SIGKILL)

    # What is there -----------------------------------------------------------------------------

    @property
    def chunks(self) -> list[Chunk]:
        found = [CHUNK.decode(document) for document in self._store.documents("chunks")]
        return sorted(found, key=lambda chunk: chunk.id)

    def values(self, metric: str = "loss") -> list[float]:
        return [value for value, _ in self.points(metric)]

    def points(self, metric: str = "loss") -> list[tuple[float, float]]:
        """(value, time) of all that is stored, in order."""
        return [
            point
            for chunk in self.chunks
            for series in chunk.series
            if series.metric == metric
            for point in zip(series.values, series.times, strict=True)
        ]

    async def until_values(self, *expected: float, metric: str = "loss") -> None:
        """While the trial runs."""
        await until(
            lambda: len(self.values(metric)) >= len(expected), f"{expected}", within_s=WAIT_S
        )
        assert self.values(metric) == list(expected)
        assert not self.chunks[-1].final

    async def ended(self) -> Run:
        """Its run, once its end is recorded."""

        def run() -> Run | None:
            found = [RUN.decode(it) for it in self._store.documents("runs")]
            return next((it for it in found if it.ended), None)

        await until(run, "the run has ended", within_s=WAIT_S)
        found = run()
        assert found is not None
        return found

    def run_folder(self, run_id: str = RUN_ID) -> Path:
        return self.folder / "data" / "runs" / run_id

    def announce_gateway(self, address: str) -> None:
        path = self.folder / "data" / "run" / "gateway.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"grpc": address}))


def _template(command: Sequence[str]) -> TrialTemplate:
    container = {"name": "main", "image": "none", "command": list(command)}
    return TrialTemplate(
        trial_spec={
            "apiVersion": "batch/v1",
            "kind": "Job",
            "spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}},
        },
        primary_container="main",
        retain=True,
    )


def _trial(state: Experiment) -> Trial:
    return Trial(
        id=trial_id(state.id, 0),
        uid=state.id,
        version=1,
        namespace=state.namespace,
        experiment=state.name,
        index=0,
        name=trial_name(state.name, state.id, 0),
        phase=TrialPhase.CREATED,
        assignments=(),
        conditions=(),
        created_at=1.0,
    )
