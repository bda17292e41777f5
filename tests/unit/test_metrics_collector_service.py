"""The metrics collector as a whole service: notices after the commit, purges of the deleted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from trialbus.contracts import subjects
from trialbus.contracts.chunks import ChunkReply, ChunkReport, ReportedSeries
from trialbus.contracts.documents import CHUNK
from trialbus.contracts.envelope import encode_event
from trialbus.contracts.messages import Request
from trialbus.kernel.chunks import Chunk
from trialbus.kernel.events import Event
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import chunk_id, trial_name
from trialbus.kernel.limits import LATE_WRITE_S
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.runtime.parts import Behaviour, React
from trialbus.runtime.service import RunningService
from trialbus.testkit.bus_probes import at_once
from trialbus.testkit.still_world import UID, StillWorld, deleted, experiment
from trialbus.testkit.waits import until
from trialbus_metrics_collector.main import service

MEDIAN_STOP = AlgorithmSpec(name="medianstop")


class World(StillWorld):
    @property
    def chunks(self) -> list[Chunk]:
        found = [CHUNK.decode(document) for document in self.store.documents("chunks")]
        return sorted(found, key=lambda chunk: chunk.id)


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
    return [ChunkReply.from_bytes(at_once(answer)) for answer in answers]


def stored(to_byte: int, *, final: bool = False) -> ChunkReply:
    return ChunkReply(stored_to=to_byte, final=final)


def run(index: int = 0, attempt: int = 1, uid: str = UID) -> str:
    return f"{uid}.{index}.{attempt}"


async def started(world: World, *experiments: Experiment, replica: str = "a") -> Behaviour:
    await world.prepare(*experiments)
    return await service.build(world.parts(replica))


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
    return [ChunkReply.from_bytes(at_once(answer)) for answer in answers]


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
