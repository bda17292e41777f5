"""However an output is split, repeated, sent again and raced for, its points are stored once."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from trialbus.contracts.chunks import ChunkReply, ChunkReport, ReportedSeries
from trialbus.contracts.documents import CHUNK
from trialbus.contracts.messages import Request
from trialbus.kernel.chunks import Chunk
from trialbus.kernel.errors import Transient
from trialbus.kernel.measurements import observe
from trialbus.kernel.metric_lines import Point
from trialbus.runtime.parts import Behaviour
from trialbus.testkit.memory_store import StoreCall
from trialbus.testkit.still_world import StillWorld, experiment
from trialbus_metrics_collector.main import service

RUN = "u.0.1"
REPLICAS = 2
SENDERS = 3

values = st.integers(-8, 8).map(float) | st.sampled_from([math.nan, math.inf, -math.inf])
# One line: metric, value, time, and the bytes after it that hold no metric.
lines = st.tuples(
    st.sampled_from(["loss", "accuracy"]), values, st.integers(0, 5).map(float), st.integers(0, 3)
)
outputs = st.lists(lines, max_size=12)


@dataclass(frozen=True)
class Output:
    """A whole output: its points, and where a report may be cut (between lines)."""

    points: tuple[Point, ...]
    cuts: tuple[int, ...]

    @classmethod
    def of(cls, written: Sequence[tuple[str, float, float, int]]) -> "Output":
        points, cuts = [], [0]
        for metric, value, at, empty in written:
            end = cuts[-1] + 10
            points.append(Point(metric=metric, value=value, at=at, end_byte=end))
            cuts += [end + extra for extra in range(empty + 1)]
        return cls(points=tuple(points), cuts=tuple(cuts))

    @property
    def length(self) -> int:
        return self.cuts[-1]

    def report(self, from_byte: int, to_byte: int) -> ChunkReport:
        within = [point for point in self.points if from_byte < point.end_byte <= to_byte]
        series = tuple(
            ReportedSeries(
                metric=metric,
                values=tuple(point.value for point in within if point.metric == metric),
                times=tuple(point.at for point in within if point.metric == metric),
            )
            for metric in dict.fromkeys(point.metric for point in within)
        )
        final = to_byte == self.length
        return ChunkReport(
            run=RUN, from_byte=from_byte, to_byte=to_byte, series=series, final=final
        )


@dataclass(frozen=True)
class Step:
    """One sender asks one replica. cut: which of the possible ends. at: where it begins, None:
    where it was told; else some cut, as a restarted, a mad or a late sender would."""

    sender: int
    replica: int
    cut: int
    at: int | None
    answered: bool


steps = st.builds(
    Step,
    sender=st.integers(0, SENDERS - 1),
    replica=st.integers(0, REPLICAS - 1),
    cut=st.integers(0, 40),
    at=st.none() | st.integers(0, 40),
    answered=st.booleans(),
)
# Steps of one round are under way at the same time.
schedules = st.lists(st.lists(steps, min_size=1, max_size=4), max_size=12)


class _Unanswered:
    """Commits arrive, their answers do not."""

    async def before(self, call: StoreCall) -> None:
        """Nothing happens."""

    async def after(self, call: StoreCall) -> None:
        if call.operation == "commit":
            raise Transient("the answer was lost")


class Collection:
    """One run's chain, replicas that serve it, and senders of the same output."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.world = StillWorld()
        self.store = self.world.store
        self.told = [0] * SENDERS
        self.replicas: list[Behaviour] = []

    async def start(self) -> None:
        await self.world.prepare(experiment(1, uid="u"))
        self.replicas = [await self.replica() for _ in range(REPLICAS)]

    async def replica(self) -> Behaviour:
        return await service.build(self.world.parts())

    async def send(self, step: Step) -> None:
        begin = self.told[step.sender] if step.at is None else self._cut(step.at)
        ends = [cut for cut in self.output.cuts if cut >= begin]
        reply = await self._ask(step.replica, self.output.report(begin, ends[step.cut % len(ends)]))
        assert reply.stored_to in {0, *(chunk.to_byte for chunk in self.chunks)}
        if step.answered:
            self.told[step.sender] = reply.stored_to

    async def finish(self) -> None:
        """What every sender comes to: from the answered end to the end of the output."""
        reply = ChunkReply()
        # A collector that is behind learns it from one refusal; the rest fits in one report.
        for _ in range(3):
            if not reply.final:
                rest = self.output.report(reply.stored_to, self.output.length)
                reply = await self._ask(0, rest)
        assert reply.final

    async def lose_an_answer(self, step: Step) -> None:
        """The commit is done, but neither the collector nor the sender learns of it."""
        self.store.faults = _Unanswered()
        try:
            await self.send(step)
        except Transient:
            # As it should be: without an answer nothing is believed.
            self.told[step.sender] = 0
        finally:
            self.store.faults = None

    async def _ask(self, replica: int, report: ChunkReport) -> ChunkReply:
        request = Request(subject="trialbus.v1.metric.n.e.t", data=report.to_bytes())
        [answer] = await self.replicas[replica].served[0].respond([request])
        reply = ChunkReply.from_bytes(answer)
        assert reply.refused is None
        return reply

    def _cut(self, number: int) -> int:
        return self.output.cuts[number % len(self.output.cuts)]

    @property
    def chunks(self) -> list[Chunk]:
        return [CHUNK.decode(document) for document in self.store.documents("chunks")]


def check_chain(chunks: Sequence[Chunk], output: Output) -> None:
    """The chain holds the output's points once and in order, and sums them up."""
    chain = sorted(chunks, key=lambda chunk: chunk.id)
    assert [chunk.from_byte for chunk in chain] == [0, *(chunk.to_byte for chunk in chain[:-1])]
    assert chain[-1].to_byte == output.length
    assert [chunk.final for chunk in chain] == [False] * (len(chain) - 1) + [True]
    for metric in ("loss", "accuracy"):
        expected = [(it.value, it.at) for it in output.points if it.metric == metric]
        found: list[tuple[float, float]] = []
        for chunk in chain:
            for series in chunk.series:
                if series.metric == metric:
                    assert series.first_step == len(found) + 1
                    found += zip(series.values, series.times, strict=True)
        # NaN is not equal to itself; its text is.
        assert repr(found) == repr(expected)
    summaries = {it.metric: it.summary for it in chain[-1].summaries}
    assert repr(sorted(summaries.items())) == repr(sorted(observe(output.points).items()))


@settings(max_examples=150, deadline=None)
@given(written=outputs, schedule=schedules, crashes=st.sets(st.integers(0, 11), max_size=3))
def test_any_splits_repeats_restarts_and_races_store_every_point_once(
    written: list[tuple[str, float, float, int]], schedule: list[list[Step]], crashes: set[int]
) -> None:
    output = Output.of(written)

    async def play() -> list[Chunk]:
        world = Collection(output)
        await world.start()
        for number, together in enumerate(schedule):
            await asyncio.gather(*(world.send(step) for step in together))
            if number in crashes:
                await world.lose_an_answer(together[0])
                world.replicas[0] = await world.replica()
        await world.finish()
        assert not world.store.full_scans
        return world.chunks

    check_chain(asyncio.run(play()), output)
