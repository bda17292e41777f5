"""Metrics that a trial's own code pushes: whose they are, what is refused, what is stored."""

import asyncio
import math
from dataclasses import dataclass, field, replace

import pytest

from trialbus.contracts.chunks import ChunkReply, ChunkReport, PushedPoint, PushReply, PushReport
from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import CHUNK, TRIAL
from trialbus.contracts.messages import Request
from trialbus.kernel.chunks import Chunk
from trialbus.kernel.errors import NotNow, NotThere, Refused, TooLarge, Transient
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.limits import MAX_CHUNK_POINTS, MAX_RUN_METRICS, PUSH_DEADLINE_S
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.ports.store import Query
from trialbus.runtime.parts import Behaviour, Parts
from trialbus.testkit.bus_probes import at_once
from trialbus.testkit.memory_store import StoreCall
from trialbus.testkit.still_world import (
    UID,
    HastyClock,
    StillClock,
    StillWorld,
    deleted,
    experiment,
)
from trialbus_metrics_collector.app.appending import Appending
from trialbus_metrics_collector.app.chains import Chains
from trialbus_metrics_collector.app.experiments import Experiments
from trialbus_metrics_collector.app.notices import Notices
from trialbus_metrics_collector.app.observation_logs import ObservationLogs, Row, Wanted
from trialbus_metrics_collector.app.pushes import Addressed, Point, Pushes
from trialbus_metrics_collector.app.tails import Tails
from trialbus_metrics_collector.main import service

NAME = "tune-a"
RUN = f"{UID}.0.1"


class CountingIds:
    def __init__(self, replica: str) -> None:
        self._replica = replica
        self._given = 0

    def new_id(self) -> str:
        self._given += 1
        return f"{self._replica}-{self._given}"


@dataclass
class World(StillWorld):
    clock: StillClock = field(default_factory=HastyClock)

    async def begin(self, state: Experiment, *trials: Trial) -> None:
        await self.prepare(state)
        for each in trials or (trial(),):
            await self.insert(TRIALS.name, TRIAL.encode(each))

    def parts(self, replica: str = "replica") -> Parts:
        return replace(super().parts(replica), ids=CountingIds(replica))

    def pushes(self, replica: str = "replica") -> Pushes:
        parts = self.parts(replica)
        chains = Chains(parts, Tails(parts.store), Notices(parts.outbox))
        return Pushes(parts, Appending(parts, Experiments(parts.store), chains))

    def logs(self) -> ObservationLogs:
        parts = self.parts("logs")
        return ObservationLogs(parts, Tails(parts.store))

    @property
    def chunks(self) -> list[Chunk]:
        found = [CHUNK.decode(document) for document in self.store.documents("chunks")]
        return sorted(found, key=lambda chunk: chunk.id)

    @property
    def losses(self) -> list[float]:
        return [
            value
            for chunk in self.chunks
            for series in chunk.series
            if series.metric == "loss"
            for value in series.values
        ]


def trial(name: str = NAME, *, uid: str = UID, phase: TrialPhase = TrialPhase.CREATED) -> Trial:
    return Trial(
        id=f"{uid}.0",
        uid=uid,
        version=1,
        namespace="team",
        experiment="tune",
        index=0,
        name=name,
        phase=phase,
        assignments=(),
        conditions=(),
        created_at=0.0,
    )


def losses(*values: float) -> list[Point]:
    return [Point(metric="loss", value=value, at=5.0) for value in values]


async def report(collector: Behaviour, said: ChunkReport) -> ChunkReply:
    request = Request(subject="trialbus.v1.metric.team.tune.tune-a", data=said.to_bytes())
    [answer] = await collector.served[0].respond([request])
    return ChunkReply.from_bytes(at_once(answer))


async def test_a_push_takes_its_place_in_the_chain_and_output_goes_on_where_it_was() -> None:
    world = World()
    await world.begin(experiment(1))
    collector, pushes = await service.build(world.parts()), world.pushes()
    await report(collector, ChunkReport(run=RUN, from_byte=0, to_byte=20))
    await pushes.push(Addressed(trial=NAME), losses(0.5, 0.25))
    reply = await report(collector, ChunkReport(run=RUN, from_byte=20, to_byte=30))
    assert reply == ChunkReply(stored_to=30)
    reply = await report(collector, ChunkReport(run=RUN, from_byte=30, to_byte=30, final=True))
    assert reply == ChunkReply(stored_to=30, final=True)
    spans = [(it.from_byte, it.to_byte, it.pushed, it.final) for it in world.chunks]
    assert spans == [(0, 20, 0, False), (20, 22, 2, False), (22, 32, 2, False), (32, 32, 2, True)]
    assert [it.push for it in world.chunks] == [None, f"{RUN}#replica-1/0", None, None]
    assert world.losses == [0.5, 0.25]


async def test_a_collector_that_knows_nothing_finds_the_output_behind_a_push() -> None:
    world = World()
    await world.begin(experiment(1))
    await world.pushes().push(Addressed(trial=NAME), losses(0.5))
    fresh = await service.build(world.parts("fresh"))
    reply = await report(fresh, ChunkReport(run=RUN, from_byte=0, to_byte=20))
    assert reply == ChunkReply(stored_to=20), "it lost the race for the beginning, and went on"
    assert [(it.from_byte, it.to_byte) for it in world.chunks] == [(0, 1), (1, 21)]


@pytest.mark.parametrize(
    ("state", "addressed", "error", "why"),
    [
        (experiment(1), Addressed(trial="nobody"), NotThere, "no trial 'nobody'"),
        (deleted(experiment()), Addressed(trial=NAME), NotThere, "no trial 'tune-a'"),
        (experiment(), Addressed(trial=NAME), NotNow, "its run has ended"),
        (experiment(2), Addressed(trial=NAME, attempt=1), NotNow, "at attempt 2, not 1"),
        (experiment(1), Addressed(trial=NAME, namespace="other"), NotThere, "has no trial"),
        (experiment(1), Addressed(trial=NAME, experiment="other"), NotThere, "has no trial"),
    ],
)
async def test_what_is_for_no_living_run_is_refused(
    state: Experiment, addressed: Addressed, error: type[Exception], why: str
) -> None:
    world = World()
    ended = TrialPhase.CREATED if state.open else TrialPhase.SUCCEEDED
    await world.begin(state, trial(phase=ended))
    with pytest.raises(error, match=why):
        await world.pushes().push(addressed, losses(0.5))
    assert not world.chunks


async def test_the_newest_attempt_is_meant() -> None:
    world = World()
    await world.begin(experiment(3))
    await world.pushes().push(Addressed(trial=NAME), losses(0.5))
    assert [chunk.run for chunk in world.chunks] == [f"{UID}.0.3"]


async def test_of_namesakes_the_living_one_is_meant() -> None:
    world, other = World(), "22222222-2222-4222-8222-222222222222"
    await world.begin(experiment(1, uid=other), trial(phase=TrialPhase.FAILED), trial(uid=other))
    await world.pushes().push(Addressed(trial=NAME), losses(0.5))
    assert [chunk.uid for chunk in world.chunks] == [other]


async def test_after_the_final_chunk_a_push_is_refused_and_a_repeat_is_not() -> None:
    world = World()
    await world.begin(experiment(1))
    collector, pushes = await service.build(world.parts()), world.pushes()
    await pushes.push(Addressed(trial=NAME), losses(0.5), push_id="one")
    await report(collector, ChunkReport(run=RUN, from_byte=0, to_byte=20, final=True))
    await pushes.push(Addressed(trial=NAME), losses(0.5), push_id="one")
    with pytest.raises(NotNow, match="its run has ended"):
        await pushes.push(Addressed(trial=NAME), losses(0.1), push_id="two")
    assert world.losses == [0.5]


async def test_the_same_id_is_taken_once_for_each_attempt() -> None:
    world = World()
    await world.begin(experiment(1))
    first, second = world.pushes("a"), world.pushes("b")
    for pushes in (first, second, first):
        await pushes.push(Addressed(trial=NAME), losses(0.5), push_id="one")
    assert len(world.chunks) == 1
    await world.put(experiment(2))
    await second.push(Addressed(trial=NAME), losses(0.5), push_id="one")
    assert [chunk.run for chunk in world.chunks] == [RUN, f"{UID}.0.2"]


async def test_pushes_at_the_same_time_are_all_stored_in_the_order_of_each_sender() -> None:
    world = World()
    await world.begin(experiment(1))
    replicas = [world.pushes("a"), world.pushes("b")]

    async def send(sender: int) -> None:
        for number in range(10):
            value = sender * 100.0 + number
            await replicas[sender % 2].push(Addressed(trial=NAME), losses(value))

    await asyncio.gather(*(send(sender) for sender in range(4)))
    assert len(world.losses) == 40
    for sender in range(4):
        own = [value for value in world.losses if value // 100 == sender]
        assert own == sorted(own)
    assert [it.from_byte for it in world.chunks] == list(range(40))


async def test_pushes_of_many_runs_at_the_same_time_are_one_commit() -> None:
    world = World()
    trials = [replace(trial(f"tune-{n}"), id=f"{UID}.{n}", index=n) for n in range(5)]
    await world.begin(experiment(1, 1, 1, 1, 1), *trials)
    pushes = world.pushes()
    world.store.calls.clear()
    await asyncio.gather(*(pushes.push(Addressed(trial=each.name), losses(0.5)) for each in trials))
    assert len(world.chunks) == 5
    assert world.store.calls["chunks", "commit"] <= 2
    assert not world.store.full_scans


async def test_a_long_log_is_stored_in_pieces_and_read_back_whole() -> None:
    world = World()
    await world.begin(experiment(1))
    count = 2 * MAX_CHUNK_POINTS + 5
    points = [Point(metric="loss", value=float(n), at=float(n)) for n in range(count)]
    await world.pushes().push(Addressed(trial=NAME), points)
    assert [it.to_byte - it.from_byte for it in world.chunks] == [1000, 1000, 5]
    rows = await world.logs().read(NAME, Wanted())
    assert [row.value for row in rows] == [float(n) for n in range(count)]
    assert not world.store.full_scans


@pytest.mark.parametrize(
    "bad",
    [
        Point(metric="", value=1.0),
        Point(metric="a" * 256, value=1.0),
        Point(metric="a\0b", value=1.0),
        Point(metric="a", value=1.0, at=math.inf),
        Point(metric="a", value=1.0, at=1e15),
        Point(metric="a", value=1.0, at=-1e300),
    ],
)
async def test_of_a_push_with_a_wrong_point_nothing_is_stored(bad: Point) -> None:
    world = World()
    await world.begin(experiment(1))
    with pytest.raises(Refused, match=r"points\[1\]"):
        await world.pushes().push(Addressed(trial=NAME), [*losses(1.0), bad])
    assert not world.chunks


async def test_a_run_has_so_many_metrics_and_no_more() -> None:
    world = World()
    await world.begin(experiment(1))
    pushes = world.pushes()
    many = [Point(metric=f"m{n}", value=1.0) for n in range(MAX_RUN_METRICS)]
    await pushes.push(Addressed(trial=NAME), many)
    await pushes.push(Addressed(trial=NAME), many[:1])
    for more in (losses(1.0), [*many, *losses(1.0)]):
        with pytest.raises(TooLarge, match="at most 256 metrics"):
            await pushes.push(Addressed(trial=NAME), more)


async def test_a_point_without_a_time_has_the_time_of_its_coming() -> None:
    world = World()
    await world.begin(experiment(1))
    await world.pushes().push(Addressed(trial=NAME), [Point(metric="loss", value=1.0)])
    assert world.chunks[0].series[0].times == (1000.0,)


async def test_a_store_that_is_away_is_waited_for_and_then_told() -> None:
    world = World()
    await world.begin(experiment(1))
    pushes = world.pushes()
    refused: list[StoreCall] = []

    class Fails:
        async def before(self, call: StoreCall) -> None:
            if call.operation == "commit" and len(refused) < 3:
                refused.append(call)
                raise Transient("away")

        async def after(self, call: StoreCall) -> None:
            """Nothing happens."""

    world.store.faults = Fails()
    await pushes.push(Addressed(trial=NAME), losses(0.5))
    assert world.losses == [0.5]
    world.store.available = False
    began = world.clock.time
    with pytest.raises(Transient):
        await pushes.push(Addressed(trial=NAME), losses(0.4))
    assert world.clock.time - began <= PUSH_DEADLINE_S + 1


async def test_a_commit_whose_answer_is_lost_is_not_stored_twice() -> None:
    world = World()
    await world.begin(experiment(1))
    lost: list[StoreCall] = []

    class LosesOne:
        async def before(self, call: StoreCall) -> None:
            """The write arrives."""

        async def after(self, call: StoreCall) -> None:
            if call.operation == "commit" and not lost:
                lost.append(call)
                raise Transient("the answer was lost")

    world.store.faults = LosesOne()
    pushes = world.pushes()
    await pushes.push(Addressed(trial=NAME), losses(0.5))
    await pushes.push(Addressed(trial=NAME), losses(0.25))
    assert world.losses == [0.5, 0.25]


async def test_over_the_bus_each_push_is_answered_alone() -> None:
    world = World()
    await world.begin(experiment(1))
    collector = await service.build(world.parts())
    good = PushReport(id="a", points=(PushedPoint(metric="loss", value=math.nan),)).to_bytes()
    subjects = [
        ("trialbus.v1.push.team.tune.tune-a", good),
        ("trialbus.v1.push.team.tune.tune-a", b"no json"),
        ("trialbus.v1.push.team.tune.nobody", good),
        ("trialbus.v1.push.team.tune.tune-a", good),
    ]
    requests = [Request(subject=subject, data=data) for subject, data in subjects]
    answers = await collector.served[1].respond(requests)
    replies = [PushReply.from_bytes(at_once(answer)) for answer in answers]
    assert [reply.accepted for reply in replies] == [True, False, False, True]
    assert replies[2].refused == "there is no trial 'nobody'"
    [loss] = world.losses
    assert math.isnan(loss)


async def test_a_log_is_in_the_order_of_time_and_of_one_time_as_reported() -> None:
    world = World()
    await world.begin(experiment(1))
    pushes, logs = world.pushes(), world.logs()
    said = [("loss", 3.0, 7.0), ("acc", 0.3, 7.0), ("loss", 2.0, 7.0), ("acc", 0.2, 7.0)]
    await pushes.push(Addressed(trial=NAME), [Point(metric=m, value=v, at=t) for m, v, t in said])
    await pushes.push(Addressed(trial=NAME), [Point(metric="loss", value=9.0, at=1.5)])
    rows = await logs.read(NAME, Wanted())
    assert [(row.at_us, row.metric, row.value) for row in rows] == [
        (1_500_000, "loss", 9.0),
        *((int(at * 1e6), metric, value) for metric, value, at in said),
    ]
    assert await logs.read(NAME, Wanted(metric="acc", from_us=7_000_000, to_us=7_000_000)) == [
        Row(7_000_000, "acc", 0.3),
        Row(7_000_000, "acc", 0.2),
    ]
    assert await logs.read(NAME, Wanted(from_us=7_000_001)) == []


async def test_only_the_log_of_an_ended_trial_can_be_deleted() -> None:
    world = World()
    await world.begin(experiment(1))
    await world.pushes().push(Addressed(trial=NAME), losses(0.5))
    logs = world.logs()
    with pytest.raises(NotNow, match="has not ended"):
        await logs.delete(NAME)
    # Counted, but its own document does not say so yet: the point is still needed.
    await world.put(experiment())
    with pytest.raises(NotNow, match="has not ended"):
        await logs.delete(NAME)
    assert len(world.chunks) == 1
    await logs.delete("nobody")


async def test_deleting_takes_the_chunks_of_all_attempts() -> None:
    world = World()
    await world.begin(experiment(1), trial())
    await world.pushes().push(Addressed(trial=NAME), losses(0.5))
    await world.put(experiment(2))
    await world.pushes().push(Addressed(trial=NAME), losses(0.25))
    assert len(world.chunks) == 2
    await world.put(experiment(phase=ExperimentPhase.SUCCEEDED))
    client = world.store.client("test")
    found = (await client.get_many(TRIALS.name, [f"{UID}.0"]))[f"{UID}.0"]
    await client.delete(TRIALS.name, Query(prefix=f"{UID}."))
    await world.insert(TRIALS.name, {**found, "phase": "Succeeded", "attempt": 2})
    await world.logs().delete(NAME)
    assert not world.chunks
    assert await world.logs().read(NAME, Wanted()) == []
