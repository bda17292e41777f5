"""The trial launcher's side of what pods ship, over bus and store in memory, with a collector."""

import struct
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from tensorboardX import SummaryWriter

from trialbus.contracts import subjects
from trialbus.contracts.collections import RUNS
from trialbus.contracts.documents import CHUNK, RUN
from trialbus.contracts.messages import Request
from trialbus.contracts.shipping import Claim, ClaimReply, Output, OutputReply
from trialbus.kernel.chunks import Chunk
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.spec import MetricsCollectorSpec
from trialbus.ports.store import Write
from trialbus.testkit.bus_probes import at_once
from trialbus.testkit.still_world import UID, StillWorld, experiment
from trialbus_metrics_collector.main import service as collector
from trialbus_trial_launcher.app.shipping.attempts import Attempts
from trialbus_trial_launcher.app.shipping.claiming import Claiming
from trialbus_trial_launcher.app.shipping.receiving import Receiving

KEY = f"{UID}.0.1"
SUBJECT = subjects.output("team", "tune", "tune-a")


@dataclass
class World(StillWorld):
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def begin(
        self,
        state: Experiment | None = None,
        *,
        collect: MetricsCollectorSpec | None = None,
        additional: Sequence[str] = (),
    ) -> None:
        """A run of attempt 1 of trial 0, and a collector."""
        state = state or experiment(1)
        objective = replace(state.spec.objective, additional=tuple(additional))
        spec = replace(
            state.spec, objective=objective, metrics_collector=collect or MetricsCollectorSpec()
        )
        await self.prepare(replace(state, spec=spec))
        await self.insert(RUNS.name, RUN.encode(run()))
        await self.collect()

    async def collect(self) -> None:
        parts = self.parts("collector")
        [served, *_] = (await collector.build(parts)).served
        await self.stack.enter_async_context(
            parts.bus.serve(served.subject, served.queue, served.respond, max_group=8)
        )

    def replica(self, name: str = "launcher") -> "Replica":
        parts = self.parts(name)
        attempts = Attempts(parts)
        return Replica(Claiming(parts, attempts), Receiving(parts, attempts))

    async def change(self, run: Run) -> None:
        client = self.store.client("test")
        base = (await client.get_many(RUNS.name, [run.id]))[run.id]
        after = replace(run, version=base["version"] + 1)
        await client.commit(RUNS.name, [Write(base=base, document=RUN.encode(after))])

    @property
    def run(self) -> Run:
        [document] = self.store.documents("runs")
        return RUN.decode(document)

    @property
    def chunks(self) -> list[Chunk]:
        found = [CHUNK.decode(document) for document in self.store.documents("chunks")]
        return sorted(found, key=lambda chunk: chunk.id)

    def values(self, metric: str = "loss") -> list[float]:
        return [
            value
            for chunk in self.chunks
            for series in chunk.series
            if series.metric == metric
            for value in series.values
        ]


@dataclass
class Replica:
    claiming: Claiming
    receiving: Receiving

    async def claim(self, *holders: str, run: str = KEY) -> list[ClaimReply]:
        requests = [
            Request(subject="claim", data=Claim(run=run, holder=holder).to_bytes())
            for holder in holders
        ]
        return [ClaimReply.from_bytes(it) for it in await self.claiming.respond(requests)]

    async def ship(
        self, data: bytes, start: int = 0, *, final: bool = False, note: str = "", run: str = KEY
    ) -> OutputReply:
        output = Output(run=run, start=start, data=data, final=final, note=note)
        [answer] = await self.receiving.respond([output.request(SUBJECT)])
        return OutputReply.from_bytes(at_once(answer))


def run(**fields: object) -> Run:
    made = Run(
        id=KEY,
        uid=UID,
        index=0,
        attempt=1,
        version=1,
        namespace="team",
        experiment="tune",
        trial="tune-a",
        phase=RunPhase.RUNNING,
        host="cluster:trialbus",
        boot_id="",
        created_at=0.0,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def frames_of(folder: Path, path: str, *scalars: tuple[str, float], turn: int = 1) -> bytes:
    """A real event file, framed record by record."""
    writer = SummaryWriter(str(folder / path.replace("/", "-")))
    for step, (tag, value) in enumerate(scalars):
        writer.add_scalar(tag, value, step, walltime=float(step))
    writer.close()
    [file] = (folder / path.replace("/", "-")).iterdir()
    data, framed = file.read_bytes(), b""
    while data:
        (length,) = struct.unpack_from("<Q", data)
        record, data = data[: length + 16], data[length + 16 :]
        framed += b"tfevent %d %d %s\n" % (turn, len(record), path.encode()) + record
    return framed
