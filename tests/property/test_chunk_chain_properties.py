"""However an output is split, repeated, sent again and raced for, and whatever is pushed between,
every point is stored once."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from trialbus.contracts.chunks import (
    ChunkReply,
    ChunkReport,
    PushedPoint,
    PushReply,
    PushReport,
    ReportedSeries,
)
from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import CHUNK, TRIAL
from trialbus.contracts.messages import Request
from trialbus.kernel.chunks import Chunk, Series
from trialbus.kernel.errors import Transient
from trialbus.kernel.line_streams import Point
from trialbus.kernel.measurements import observe
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.runtime.parts import Behaviour
from trialbus.testkit.bus_probes import at_once
from trialbus.testkit.memory_store import StoreCall
from trialbus.testkit.still_world import HastyClock, StillWorld, experiment
from trialbus_metrics_collector.main import service

RUN = "u.0.1"
REPLICAS = 2
SENDERS = 3

TRIAL_OF_THE_RUN = Trial(
    id="u.0",
    uid="u",
    version=1,
    namespace="team",
    experiment="tune",
    index=0,
    name="tune-a",
    phase=TrialPhase.CREATED,
    assignments=(),
    conditions=(),
    created_at=0.0,
)

# Pushes over the bus are numbers; an output may hold texts too.
values = st.integers(-8, 8).map(float) | st.sampled_from([math.nan, math.inf, -math.inf])
texts = st.sampled_from(["Genotype(a)", "Genotype(b)"])
# One line: metric, value, time, and the bytes after it that hold no metric.
lines = st.tuples(
    st.sampled_from(["loss", "accuracy"]),
    values | texts,
    st.integers(0, 5).map(float),
    st.integers(0, 3),
)
outputs = st.lists(lines, max_size=12)
# What is pushed: metric, value, time.
pushes = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["loss", "accuracy"]), values, st.integers(0, 5).map(float)),
        min_size=1,
        max_size=3,
    ),
    min_size=1,
    max_size=4,
)


@dataclass(frozen=True)
class Output:
    """A whole output: its points, and where a report may be cut (between lines)."""

    points: tuple[Point, ...]
    cuts: tuple[int, ...]

    @classmethod
    def of(cls, written: Sequence[tuple[str, float | str, float, int]]) -> "Output":
        points, cuts = [], [0]
        for metric, value, at, empty in written:
            end = cuts[-1] + 10
            points.append(point(metric, value, at, end))
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
                texts=tuple(point.text for point in within if point.metric == metric),
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


@dataclass(frozen=True)
class PushStep:
    """A push is said to one replica, perhaps not for the first time."""

    number: int
    replica: int


push_steps = st.builds(PushStep, number=st.integers(0, 3), replica=st.integers(0, REPLICAS - 1))
# Steps of one round are under way at the same time.
schedules = st.lists(st.lists(steps | push_steps, min_size=1, max_size=5), max_size=12)


class _Unanswered:
    """Commits arrive, their answers do not."""

    async def before(self, call: StoreCall) -> None:
        """Nothing happens."""

    async def after(self, call: StoreCall) -> None:
        if call.operation == "commit":
            raise Transient("the answer was lost")


class Collection:
    """One run's chain, replicas that serve it, and senders of the same output."""

    def __init__(
        self, output: Output, pushes: Sequence[Sequence[tuple[str, float, float]]]
    ) -> None:
        self.output = output
        self.pushes = pushes
        self.said: set[int] = set()
        self.refused: set[int] = set()
        self.world = StillWorld(clock=HastyClock())
        self.store = self.world.store
        self.told = [0] * SENDERS
        self.replicas: list[Behaviour] = []

    async def start(self) -> None:
        await self.world.prepare(experiment(1, uid="u"))
        await self.world.insert(TRIALS.name, TRIAL.encode(TRIAL_OF_THE_RUN))
        self.replicas = [await self.replica() for _ in range(REPLICAS)]

    async def replica(self) -> Behaviour:
        return await service.build(self.world.parts())

    async def play(self, step: Step | PushStep) -> None:
        await (self.send(step) if isinstance(step, Step) else self.push(step))

    async def push(self, step: PushStep) -> None:
        number = step.number % len(self.pushes)
        self.said.add(number)
        points = tuple(PushedPoint(metric=m, value=v, at=at) for m, v, at in self.pushes[number])
        data = PushReport(id=f"p{number}", points=points).to_bytes()
        request = Request(subject="trialbus.v1.push.team.tune.tune-a", data=data)
        [answer] = await self.replicas[step.replica].served[1].respond([request])
        reply = PushReply.from_bytes(at_once(answer))
        if reply.refused is not None:
            assert "has ended" in reply.refused
            self.refused.add(number)
        elif not reply.accepted:
            raise Transient("the store is away")

    async def send(self, step: Step) -> None:
        begin = self.told[step.sender] if step.at is None else self._cut(step.at)
        ends = [cut for cut in self.output.cuts if cut >= begin]
        reply = await self._ask(step.replica, self.output.report(begin, ends[step.cut % len(ends)]))
        assert reply.stored_to in {0, *(chunk.to_byte - chunk.pushed for chunk in self.chunks)}
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

    async def lose_an_answer(self, step: Step | PushStep) -> None:
        """The commit is done, but neither the collector nor the sender learns of it."""
        self.store.faults = _Unanswered()
        try:
            await self.play(step)
        except Transient:
            # As it should be: without an answer nothing is believed.
            if isinstance(step, Step):
                self.told[step.sender] = 0
        finally:
            self.store.faults = None

    async def _ask(self, replica: int, report: ChunkReport) -> ChunkReply:
        request = Request(subject="trialbus.v1.metric.n.e.t", data=report.to_bytes())
        [answer] = await self.replicas[replica].served[0].respond([request])
        reply = ChunkReply.from_bytes(at_once(answer))
        assert reply.refused is None
        return reply

    def _cut(self, number: int) -> int:
        return self.output.cuts[number % len(self.output.cuts)]

    @property
    def chunks(self) -> list[Chunk]:
        return [CHUNK.decode(document) for document in self.store.documents("chunks")]


def check_chain(world: Collection) -> None:
    """The chain holds the output's points and those of each push once and in order, and sums them
    up."""
    chain, output = sorted(world.chunks, key=lambda chunk: chunk.id), world.output
    assert [chunk.from_byte for chunk in chain] == [0, *(chunk.to_byte for chunk in chain[:-1])]
    assert chain[-1].to_byte - chain[-1].pushed == output.length
    assert [chunk.final for chunk in chain] == [False] * (len(chain) - 1) + [True]
    in_order: list[Point] = []
    for chunk in chain:
        for series in chunk.series:
            known = sum(it.metric == series.metric and not it.text for it in in_order)
            assert series.first_step == known + 1
            in_order += points_of(series)
    assert repr(printed(chain)) == repr(by_metric(output.points))
    keys = {chunk.push: chunk for chunk in chain if chunk.push is not None}
    assert len(keys) == sum(chunk.push is not None for chunk in chain)
    stored = {number for number in world.said if f"{RUN}#p{number}/0" in keys}
    assert len(stored) == len(keys)
    # What was refused came after the end; everything else is there.
    assert world.said - stored == world.refused
    for number in stored:
        expected = [
            Point(metric=m, value=v, at=at, end_byte=0) for m, v, at in world.pushes[number]
        ]
        chunk = keys[f"{RUN}#p{number}/0"]
        found = [point for series in chunk.series for point in points_of(series)]
        # NaN is not equal to itself; its text is.
        assert repr(by_metric(found)) == repr(by_metric(expected))
    summaries = {it.metric: it.summary for it in chain[-1].summaries}
    assert repr(sorted(summaries.items())) == repr(sorted(observe(in_order).items()))


def points_of(series: Series) -> list[Point]:
    return [
        Point(metric=series.metric, value=value, at=at, end_byte=0, text=text)
        for value, at, text in zip(
            series.values, series.times, series.texts or [""] * len(series.values), strict=True
        )
    ]


def point(metric: str, value: float | str, at: float, end: int) -> Point:
    if isinstance(value, str):
        return Point(metric=metric, value=math.nan, at=at, end_byte=end, text=value)
    return Point(metric=metric, value=value, at=at, end_byte=end)


def printed(chain: Sequence[Chunk]) -> dict[str, list[tuple[float, float, str]]]:
    return by_metric(
        [
            point
            for chunk in chain
            if chunk.push is None
            for series in chunk.series
            for point in points_of(series)
        ]
    )


def by_metric(points: Sequence[Point]) -> dict[str, list[tuple[float, float, str]]]:
    return {
        metric: [(it.value, it.at, it.text) for it in points if it.metric == metric]
        for metric in ("loss", "accuracy")
    }


@settings(max_examples=200)
@given(
    written=outputs,
    pushed=pushes,
    schedule=schedules,
    crashes=st.sets(st.integers(0, 11), max_size=3),
)
def test_any_splits_repeats_restarts_races_and_pushes_store_every_point_once(
    written: list[tuple[str, float | str, float, int]],
    pushed: list[list[tuple[str, float, float]]],
    schedule: list[list[Step | PushStep]],
    crashes: set[int],
) -> None:
    output = Output.of(written)

    async def play() -> Collection:
        world = Collection(output, pushed)
        await world.start()
        for number, together in enumerate(schedule):
            await asyncio.gather(*(world.play(step) for step in together))
            if number in crashes:
                await world.lose_an_answer(together[0])
                world.replicas[0] = await world.replica()
        await world.finish()
        assert not world.store.full_scans
        return world

    check_chain(asyncio.run(play()))
