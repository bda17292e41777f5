"""The experiment service's look at what there is, over a world at rest."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from trialbus.contracts.collections import CHUNKS, RUNS
from trialbus.contracts.documents import CHUNK, RUN
from trialbus.kernel.chunks import Chunk
from trialbus.kernel.conditions import set_condition
from trialbus.kernel.experiment import Counts, Experiment, ExperimentPhase
from trialbus.kernel.ids import chunk_id, run_id
from trialbus.kernel.run import Run
from trialbus.ports.store import Document, Query
from trialbus.runtime.metric import Metric
from trialbus.testkit.experiment_states import NOW, experiment, running
from trialbus.testkit.still_world import StillWorld
from trialbus.testkit.told_metrics import nonzero, told_one
from trialbus_experiment.app.counting import Counting
from trialbus_experiment.app.surveying import Surveying

SOME = Counts(succeeded=3, failed=1, early_stopped=2)


class Surveyor:
    """Looks whenever a test says so."""

    def __init__(self) -> None:
        self.world = StillWorld()
        self.world.clock.time = NOW
        self.parts = self.world.parts()
        self.counting = Counting(self.parts.telemetry, self.parts.clock)
        self.surveying = Surveying(self.parts, self.counting)
        # What the store has given to looks since `watch`.
        self.read: list[Document] = []

    async def put(self, state: Experiment) -> None:
        await self.world.put(state)

    async def run(self, uid: str, index: int, **changes: Any) -> None:
        """Of an open trial, running unless changed."""
        run: Run = replace(running(index), id=run_id(uid, index, 1), uid=uid, version=1, **changes)
        await self.world.insert(RUNS.name, RUN.encode(run))

    async def report(self, uid: str, index: int, *, at: float, place: int = 0) -> None:
        """A chunk of this trial that was stored then. place: in its chain."""
        run = run_id(uid, index, 1)
        chunk = Chunk(
            id=chunk_id(run, place),
            uid=uid,
            run=run,
            version=1,
            from_byte=place,
            to_byte=place + 1,
            series=(),
            summaries=(),
            final=False,
            final_run=None,
            stored_at=at,
        )
        await self.world.insert(CHUNKS.name, CHUNK.encode(chunk))

    async def look(self, *, later_s: float = 0.0) -> None:
        self.world.clock.time += later_s
        await self.surveying.look()

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        find, get_many = self.parts.store.find, self.parts.store.get_many

        async def finding(collection: str, query: Query) -> list[Document]:
            self.read.extend(found := await find(collection, query))
            return found

        async def getting(*args: Any, **more: Any) -> Mapping[str, Document]:
            found = await get_many(*args, **more)
            self.read.extend(found.values())
            return found

        monkeypatch.setattr(self.parts.store, "find", finding)
        monkeypatch.setattr(self.parts.store, "get_many", getting)

    def series(self, metric: Metric) -> dict[tuple[str, ...], float]:
        return nonzero(self.parts.telemetry, metric)

    def told(self, metric: Metric, **labels: str) -> float | None:
        return told_one(self.parts.telemetry, metric, **labels)


def living(uid: str, **changes: Any) -> Experiment:
    """One that runs, unless changed."""
    conditions = set_condition((), "Created", reason="ExperimentCreated", message="", now=0.0)
    conditions = set_condition(
        conditions, "Running", reason="ExperimentRunning", message="", now=1.0
    )
    fields = {"id": uid, "alive_name": f"ns/{uid}", "conditions": conditions, **changes}
    return experiment(**fields)


def over(
    uid: str, phase: ExperimentPhase = ExperimentPhase.SUCCEEDED, **changes: Any
) -> Experiment:
    fields = {"alive_name": None, "active": False, "completed_at": NOW, "counts": SOME, **changes}
    return living(uid, phase=phase, **fields)
