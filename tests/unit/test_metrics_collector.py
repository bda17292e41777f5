"""The metrics collector on the bus and store in memory: answers, fences, notices, purges."""

import asyncio
import math

import pytest

from trialbus.contracts.chunks import ChunkReply, ChunkReport, ReportedSeries
from trialbus.contracts.documents import CHUNK
from trialbus.contracts.messages import Request
from trialbus.kernel.chunks import Chunk
from trialbus.kernel.errors import Transient
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.ids import chunk_id
from trialbus.runtime.parts import Behaviour
from trialbus.testkit.bus_probes import at_once
from trialbus.testkit.memory_store import StoreCall
from trialbus.testkit.still_world import UID, StillWorld, experiment
from trialbus_metrics_collector.app.tails import Tails
from trialbus_metrics_collector.core.chain import Tail
from trialbus_metrics_collector.main import service


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
