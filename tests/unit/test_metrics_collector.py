"""The metrics collector on the bus and store in memory: answers, fences, notices, purges."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from trialbus.contracts import subjects
from trialbus.contracts.chunks import ChunkReply, ChunkReport, ReportedSeries
from trialbus.contracts.collections import COLLECTIONS, EXPERIMENTS
from trialbus.contracts.documents import CHUNK, EXPERIMENT
from trialbus.contracts.envelope import decode_event, encode_event
from trialbus.contracts.messages import Request
from trialbus.kernel.chunks import Chunk
from trialbus.kernel.errors import Transient
from trialbus.kernel.events import Event
from trialbus.kernel.experiment import Experiment, ExperimentPhase, OpenState, OpenTrial
from trialbus.kernel.ids import chunk_id, trial_name
from trialbus.kernel.limits import LATE_WRITE_S
from trialbus.kernel.objective import Objective, ObjectiveType
from trialbus.kernel.spec import AlgorithmSpec, ExperimentSpec
from trialbus.ports.store import Write
from trialbus.runtime.outbox import Outbox
from trialbus.runtime.parts import Behaviour, Parts, React
from trialbus.runtime.service import RunningService
from trialbus.runtime.settings import Settings
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.memory_bus import MemoryBus
from trialbus.testkit.memory_store import MemoryStore, StoreCall
from trialbus.testkit.waits import until
from trialbus_metrics_collector.app.tails import Tails
from trialbus_metrics_collector.core.chain import Tail
from trialbus_metrics_collector.main import service

UID = "11111111-1111-4111-8111-111111111111"
MEDIAN_STOP = AlgorithmSpec(name="medianstop")


class Clock:
    """Time stands until a test moves it; waiting is real."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, delay_s: float) -> None:
        await asyncio.get_running_loop().create_future()


def experiment(
    *open_attempts: int,
    uid: str = UID,
    rule: AlgorithmSpec | None = None,
    phase: ExperimentPhase = ExperimentPhase.RUNNING,
) -> Experiment:
    """`open_attempts`: of trial 0, 1, ..."""
    spec = ExperimentSpec(
        parameters=(),
        objective=Objective(type=ObjectiveType.MINIMIZE, metric="loss"),
        algorithm=AlgorithmSpec(name="random"),
        early_stopping=rule,
    )
    return Experiment(
        id=uid,
        version=1,
        namespace="team",
        name="tune",
        spec=spec,
        source={},
        seed=1,
        phase=phase,
        created_at=0.0,
        alive_name=None,
        open={
            str(index): OpenTrial(attempt=attempt, state=OpenState.ACTIVE, request=1, opened_at=0.0)
            for index, attempt in enumerate(open_attempts)
        },
        completed_at=1000.0 if phase is ExperimentPhase.DELETED else None,
    )


@dataclass
class World:
    store: MemoryStore = field(default_factory=MemoryStore)
    bus: MemoryBus = field(default_factory=MemoryBus)
    clock: Clock = field(default_factory=Clock)

    async def prepare(self, *experiments: Experiment) -> None:
        await self.store.client("test").prepare(COLLECTIONS)
        for each in experiments:
            await self.put(each)

    async def put(self, state: Experiment) -> None:
        client = self.store.client("test")
        there = await client.get_many(EXPERIMENTS.name, [state.id])
        base = there.get(state.id)
        version = 1 if base is None else base["version"] + 1
        document = EXPERIMENT.encode(replace(state, version=version))
        await client.commit(EXPERIMENTS.name, [Write(base=base, document=document)])

    def parts(self, replica: str = "collector") -> Parts:
        bus, store, telemetry = self.bus.client(replica), self.store.client(replica), Telemetry("t")
        return Parts(
            bus=bus,
            store=store,
            clock=self.clock,
            ids=_NoIds(),
            settings=Settings.model_validate({}),
            outbox=Outbox(bus, store, self.clock, telemetry),
            telemetry=telemetry,
        )

    @property
    def chunks(self) -> list[Chunk]:
        found = [CHUNK.decode(document) for document in self.store.documents("chunks")]
        return sorted(found, key=lambda chunk: chunk.id)

    @property
    def events(self) -> list[Event]:
        return [decode_event(message) for message in self.bus.events]


class _NoIds:
    def new_id(self) -> str:
        raise AssertionError("what is stored has keys of its own")


def said(
    run: str, from_byte: int, to_byte: int, *losses: float, final: bool = False
) -> ChunkReport:
    times = tuple(float(second) for second in range(len(losses)))
    series = (ReportedSeries(metric="loss", values=losses, times=times),) if losses else ()
    return ChunkReport(run=run, from_byte=from_byte, to_byte=to_byte, series=series, final=final)


async def ask(behaviour: Behaviour, *reports: ChunkReport | bytes) -> list[ChunkReply]:
    """One group."""
    requests = [
        Request(
            subject="trialbus.v1.metric.team.tune.trial",
            data=report if isinstance(report, bytes) else report.to_bytes(),
        )
        for report in reports
    ]
    answers = await behaviour.served[0].respond(requests)
    return [ChunkReply.from_bytes(answer) for answer in answers]


def stored(to_byte: int, *, final: bool = False) -> ChunkReply:
    return ChunkReply(stored_to=to_byte, final=final)


def run(index: int = 0, attempt: int = 1, uid: str = UID) -> str:
    return f"{uid}.{index}.{attempt}"


async def started(world: World, *experiments: Experiment, replica: str = "a") -> Behaviour:
    await world.prepare(*experiments)
    return await service.build(world.parts(replica))


async def test_a_run_is_stored_chunk_by_chunk_up_to_its_observation() -> None:
    world = World()
    collector = await started(world, experiment(1))
    assert await ask(collector, said(run(), 0, 20, 0.5, math.nan)) == [stored(20)]
    assert await ask(collector, said(run(), 20, 30, 0.25)) == [stored(30)]
    assert await ask(collector, said(run(), 30, 30, final=True)) == [stored(30, final=True)]
    assert [chunk.id for chunk in world.chunks] == [chunk_id(run(), at) for at in (0, 20, 30)]
    assert [chunk.final_run for chunk in world.chunks] == [None, None, run()]
    [loss] = world.chunks[-1].metric_values
    assert (loss.name, loss.min, loss.max) == ("loss", 0.25, 0.5)
    assert math.isnan(loss.latest), "the time of NaN is the newest"
    assert world.chunks[1].series[0].first_step == 3


async def test_a_repeat_commits_nothing_and_is_told_the_end() -> None:
    world = World()
    collector = await started(world, experiment(1))
    await ask(collector, said(run(), 0, 20, 0.5))
    await ask(collector, said(run(), 20, 40, 0.4))
    before = world.store.writes_by_collection
    assert await ask(collector, said(run(), 0, 20, 0.5)) == [stored(40)]
    assert await ask(collector, said(run(), 0, 60, 0.5, 0.4, 0.3)) == [stored(40)]
    assert world.store.writes_by_collection == before


async def test_a_report_beyond_the_end_is_told_where_to_go_on() -> None:
    world = World()
    collector = await started(world, experiment(1))
    await ask(collector, said(run(), 0, 20, 0.5))
    assert await ask(collector, said(run(), 30, 40, 0.4)) == [stored(20)]
    assert len(world.chunks) == 1


async def test_a_report_of_no_bytes_asks_where_the_chain_ends() -> None:
    world = World()
    first = await started(world, experiment(1))
    second = await service.build(world.parts("b"))
    assert await ask(first, said(run(), 0, 0)) == [stored(0)]
    await ask(second, said(run(), 0, 20, 0.5))
    assert await ask(first, said(run(), 0, 0)) == [stored(20)]
    assert len(world.chunks) == 1


async def test_a_complete_chain_says_so_to_every_repeat() -> None:
    world = World()
    collector = await started(world, experiment(1))
    await ask(collector, said(run(), 0, 20, 0.5, final=True))
    restarted = await service.build(world.parts("b"))
    for each in (collector, restarted):
        assert await ask(each, said(run(), 0, 20, 0.5, final=True)) == [stored(20, final=True)]
        assert await ask(each, said(run(), 20, 30, 0.1)) == [stored(20, final=True)]
    assert len(world.chunks) == 1


async def test_one_chunk_of_a_run_is_taken_from_a_group() -> None:
    world = World()
    collector = await started(world, experiment(1, 1))
    answers = await ask(
        collector,
        said(run(), 20, 40, 0.4),
        said(run(1), 0, 10, 0.9),
        said(run(), 0, 20, 0.5),
        said(run(), 0, 20, 0.5),
    )
    assert answers == [stored(20), stored(10), stored(20), stored(20)]
    assert world.store.calls["chunks", "commit"] == 1


async def test_a_replica_that_is_behind_learns_the_end_from_the_store() -> None:
    world = World()
    first = await started(world, experiment(1))
    second = await service.build(world.parts("b"))
    await ask(first, said(run(), 0, 20, 0.5))
    await ask(second, said(run(), 20, 40, 0.4))
    # It remembers 20: a conflict tells it that somebody stored more, and how much.
    assert await ask(first, said(run(), 20, 50, 0.4, 0.3)) == [stored(40)]
    await ask(second, said(run(), 40, 60, 0.3))
    # It remembers 40: a sender that is further was told so by somebody.
    assert await ask(first, said(run(), 60, 70, 0.2)) == [stored(70)]
    assert [chunk.series[0].first_step for chunk in world.chunks] == [1, 2, 3, 4]


async def test_two_replicas_that_race_store_one_chunk_and_agree() -> None:
    world = World()
    first = await started(world, experiment(1))
    second = await service.build(world.parts("b"))
    one, other = await asyncio.gather(
        ask(first, said(run(), 0, 20, 0.5)), ask(second, said(run(), 0, 30, 0.5, 0.4))
    )
    [chunk] = world.chunks
    assert one == other == [stored(chunk.to_byte)]


@pytest.mark.parametrize(
    ("state", "who", "why"),
    [
        (experiment(2), run(), "trial 0 is at attempt 2, not 1"),
        (experiment(1), run(7), "trial 7 is not open"),
        (experiment(1, phase=ExperimentPhase.DELETED), run(), "the experiment is deleted"),
        (experiment(1), run(uid="nobody"), "the experiment is deleted"),
    ],
)
async def test_what_is_not_wanted_any_more_is_refused(
    state: Experiment, who: str, why: str
) -> None:
    world = World()
    collector = await started(world, state)
    assert await ask(collector, said(who, 0, 20, 0.5)) == [ChunkReply(refused=why)]
    assert not world.chunks


async def test_an_older_attempt_is_refused_though_its_chain_is_remembered() -> None:
    world = World()
    collector = await started(world, experiment(1))
    await ask(collector, said(run(), 0, 20, 0.5))
    await world.put(experiment(2))
    older, newer = await ask(collector, said(run(), 20, 40, 0.4), said(run(attempt=2), 0, 5, 0.7))
    assert (older.refused, newer) == ("trial 0 is at attempt 2, not 1", stored(5))
    assert [chunk.run for chunk in world.chunks] == [run(), run(attempt=2)]


@pytest.mark.parametrize(
    "bad",
    [
        b"no json",
        said("no-run", 0, 20, 0.5).to_bytes(),
        said(f"{UID}.0.01", 0, 20, 0.5).to_bytes(),
        said(run(), 20, 0, 0.5).to_bytes(),
        said(run(), 5, 5, 0.5).to_bytes(),
        b" " * 300_000,
    ],
)
async def test_one_unreadable_report_fails_alone(bad: bytes) -> None:
    world = World()
    collector = await started(world, experiment(1, 1))
    refused, taken = await ask(collector, bad, said(run(1), 0, 20, 0.5))
    assert refused.refused is not None
    assert taken == stored(20)
    assert [chunk.run for chunk in world.chunks] == [run(1)]


async def test_one_unstorable_report_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    collector = await started(world, experiment(1, 1))
    monkeypatch.setattr("trialbus.testkit.memory_collection.MAX_DOCUMENT_BYTES", 1000)
    refused, taken = await ask(
        collector, said(run(), 0, 20, *map(float, range(100))), said(run(1), 0, 20, 0.5)
    )
    assert refused.refused is not None and "1000 can be kept" in refused.refused
    assert taken == stored(20)


async def test_a_store_that_is_away_gives_no_answer_and_the_repeat_is_taken() -> None:
    world = World()
    collector = await started(world, experiment(1))
    world.store.available = False
    with pytest.raises(Transient):
        await ask(collector, said(run(), 0, 20, 0.5))
    world.store.available = True
    assert await ask(collector, said(run(), 0, 20, 0.5)) == [stored(20)]


async def test_a_commit_with_an_unknown_result_is_not_stored_twice() -> None:
    class Loses:
        async def before(self, call: StoreCall) -> None:
            """The write arrives."""

        async def after(self, call: StoreCall) -> None:
            if call.operation == "commit":
                raise Transient("the answer was lost")

    world = World()
    collector = await started(world, experiment(1))
    await ask(collector, said(run(), 0, 20, 0.5))
    world.store.faults = Loses()
    with pytest.raises(Transient):
        await ask(collector, said(run(), 20, 40, 0.4))
    world.store.faults = None
    assert await ask(collector, said(run(), 20, 60, 0.4, 0.3)) == [stored(40)]
    assert [chunk.to_byte for chunk in world.chunks] == [20, 40]


async def test_a_new_run_costs_two_calls_of_the_store() -> None:
    world = World()
    collector = await started(world, experiment(1))
    world.store.calls.clear()
    await ask(collector, said(run(), 0, 20, 0.5, final=True))
    assert world.store.calls == {("experiments", "get_many"): 1, ("chunks", "commit"): 1}
    assert not world.store.full_scans


async def test_remembered_tails_are_bounded_and_the_oldest_goes() -> None:
    tails = Tails(World().store.client("a"), capacity=2)
    for name in ("a", "b"):
        tails.remember(name, Tail(to_byte=1))
    assert tails.known("a") is not None
    tails.remember("c", Tail(to_byte=1))
    assert [name for name in "abc" if tails.known(name)] == ["a", "c"]


@asynccontextmanager
async def running(world: World) -> AsyncIterator[None]:
    """The whole service, as a process runs it."""
    stop = asyncio.Event()
    whole = RunningService(service, world.parts("whole"))
    task = asyncio.ensure_future(whole.run(stop))
    try:
        await until(lambda: whole.ready, "the service is ready")
        yield
    finally:
        stop.set()
        await task


async def say(world: World, *reports: ChunkReport) -> list[ChunkReply]:
    client = world.bus.client("launcher")
    answers = [
        await client.request(
            Request(subject=subjects.metric("team", "tune", "trial"), data=report.to_bytes()),
            timeout_s=5.0,
        )
        for report in reports
    ]
    return [ChunkReply.from_bytes(answer) for answer in answers]


async def test_a_stopping_rule_is_told_of_its_metric() -> None:
    world = World()
    await world.prepare(experiment(1, rule=MEDIAN_STOP))
    async with running(world):
        assert await say(world, said(run(), 0, 20, 0.5)) == [stored(20)]
        await until(lambda: world.events, "a notice")
    [event] = world.events
    assert (event.type, event.uid, event.namespace, event.experiment, event.id) == (
        "metric.recorded",
        UID,
        "team",
        "tune",
        f"{chunk_id(run(), 0)}.metric.recorded",
    )


async def test_without_a_stopping_rule_only_observations_are_told() -> None:
    world = World()
    await world.prepare(experiment(1, 1))
    async with running(world):
        await say(world, said(run(), 0, 20, 0.5), said(run(1), 0, 9, 0.5, final=True))
        await until(lambda: world.events, "a notice")
    [event] = world.events
    assert event.type == "observation.recorded"
    assert event.data == {"trials": [trial_name("tune", UID, 1)]}


async def test_other_metrics_and_bytes_without_points_wake_no_rule() -> None:
    world = World()
    await world.prepare(experiment(1, rule=MEDIAN_STOP))
    other = ReportedSeries(metric="accuracy", values=(0.9,), times=(1.0,))
    async with running(world):
        await say(world, said(run(), 0, 20).model_copy(update={"series": (other,)}))
        await say(world, said(run(), 20, 30))
    assert len(world.chunks) == 2
    assert not world.events


async def test_a_bus_without_room_for_notices_delays_no_answer() -> None:
    world = World()
    collector = await started(world, experiment(1, rule=MEDIAN_STOP))
    # Nobody runs the notices' task here: the answer does not wait for it.
    assert await ask(collector, said(run(), 0, 20, 0.5)) == [stored(20)]
    assert await ask(collector, said(run(), 20, 40, 0.4)) == [stored(40)]
    assert not world.events
    await collector.close()
    # Both say "look at this experiment": one notice is enough.
    assert [event.id for event in world.events] == [f"{chunk_id(run(), 20)}.metric.recorded"]


def deleted(state: Experiment) -> Experiment:
    return replace(state, phase=ExperimentPhase.DELETED, open={}, completed_at=1000.0)


async def test_the_chunks_of_a_deleted_experiment_are_removed() -> None:
    world, other = World(), "22222222-2222-4222-8222-222222222222"
    collector = await started(world, experiment(1), experiment(1, uid=other))
    await ask(collector, said(run(), 0, 20, 0.5), said(run(uid=other), 0, 20, 0.5))
    react = _reactor(collector)
    assert await react([UID]) == {}
    assert len(world.chunks) == 2
    await world.put(deleted(experiment()))
    await react([UID])
    assert [chunk.uid for chunk in world.chunks] == [other]


async def test_the_event_of_a_deletion_is_enough() -> None:
    world = World()
    await world.prepare(experiment(1))
    async with running(world):
        await say(world, said(run(), 0, 20, 0.5))
        await world.put(deleted(experiment()))
        gone = Event(
            id="d-1",
            type="experiment.deleted",
            uid=UID,
            namespace="team",
            experiment="tune",
            at=1000.0,
        )
        await world.bus.client("experiment").publish([encode_event(gone)])
        await until(lambda: not world.chunks, "the chunks are removed")
        [late] = await say(world, said(run(), 20, 40, 0.4))
    assert late.refused == "the experiment is deleted"


async def test_a_lost_event_of_a_deletion_is_found_by_the_sweep_once() -> None:
    world = World()
    collector = await started(world, experiment(1))
    assert collector.reactor is not None
    assert await collector.reactor.sweep() == []
    await world.put(deleted(experiment()))
    assert await collector.reactor.sweep() == [UID]
    await collector.reactor.react([UID])
    assert await collector.reactor.sweep() == []


async def test_a_chunk_that_is_stored_after_the_purge_is_removed_too() -> None:
    world = World()
    collector = await started(world, experiment(1))
    react = _reactor(collector)
    assert collector.reactor is not None
    await world.put(deleted(experiment()))
    await react([UID])
    # Let in by another replica just before the deletion.
    await world.put(experiment(1))
    await ask(await service.build(world.parts("b")), said(run(), 0, 20, 0.5))
    await world.put(deleted(experiment()))
    world.clock.time += LATE_WRITE_S + 1
    await react(await collector.reactor.sweep())
    assert not world.chunks
    world.clock.time += 3600
    assert await collector.reactor.sweep() == []


def _reactor(behaviour: Behaviour) -> React:
    assert behaviour.reactor is not None
    return behaviour.reactor.react
