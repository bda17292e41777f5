"""What the metrics collector tells of chunks and points: each once, after the commit."""

from dataclasses import replace

import pytest

from trialbus.contracts.chunks import ChunkReport, PushedPoint, PushReport, ReportedSeries
from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import TRIAL
from trialbus.contracts.messages import Request
from trialbus.kernel.errors import NotNow, NotThere, Refused, TooLarge, Transient
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.limits import MAX_CHUNK_POINTS, MAX_RUN_METRICS
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.runtime import metrics
from trialbus.runtime.clock import RandomIds
from trialbus.runtime.metric import Metric
from trialbus.runtime.parts import Behaviour, Parts
from trialbus.testkit.still_world import UID, StillWorld, experiment
from trialbus.testkit.told_metrics import told, told_seconds
from trialbus_metrics_collector.app.appending import Appending
from trialbus_metrics_collector.app.chains import Chains
from trialbus_metrics_collector.app.experiments import Experiments
from trialbus_metrics_collector.app.notices import Notices
from trialbus_metrics_collector.app.pushes import Addressed, Point, Pushes
from trialbus_metrics_collector.app.tails import Tails
from trialbus_metrics_collector.main import service

# The clock stands at 1000.
RUN, NAME = f"{UID}.0.1", "tune-a"
OUTCOMES = ("stored", "repeated", "gap", "refused")
REASONS = ("stale", "repeated", "limit", "invalid")


class Bench:
    """One collector of one replica."""

    def __init__(self, world: StillWorld, parts: Parts, behaviour: Behaviour) -> None:
        self.world = world
        self.parts = parts
        self.behaviour = behaviour
        chains = Chains(parts, Tails(parts.store), Notices(parts.outbox))
        self.pushes = Pushes(parts, Appending(parts, Experiments(parts.store), chains))

    async def say(self, *reports: ChunkReport | bytes) -> None:
        """One group."""
        requests = [
            Request(
                subject="trialbus.v1.metric.team.tune.trial",
                data=it if isinstance(it, bytes) else it.to_bytes(),
            )
            for it in reports
        ]
        await self.behaviour.served[0].respond(requests)

    @property
    def chunks(self) -> dict[str, float]:
        """By outcome, where there are any."""
        return self._by(metrics.METRIC_CHUNKS, "outcome", OUTCOMES)

    @property
    def not_taken(self) -> dict[str, float]:
        """Points, by reason."""
        return self._by(metrics.METRIC_REFUSED, "reason", REASONS)

    @property
    def points(self) -> float:
        return told(self.parts.telemetry, metrics.METRIC_POINTS)

    def _by(self, metric: Metric, label: str, values: tuple[str, ...]) -> dict[str, float]:
        found = {it: told(self.parts.telemetry, metric, **{label: it}) for it in values}
        return {key: count for key, count in found.items() if count}


async def bench(state: Experiment, world: StillWorld | None = None) -> Bench:
    if world is None:
        world = StillWorld()
        await world.prepare(state)
        await world.insert(TRIALS.name, TRIAL.encode(TRIAL_THAT_RUNS))
    parts = replace(world.parts(), ids=RandomIds())
    return Bench(world, parts, await service.build(parts))


TRIAL_THAT_RUNS = Trial(
    id=f"{UID}.0",
    uid=UID,
    version=1,
    namespace="team",
    experiment="tune",
    index=0,
    name=NAME,
    phase=TrialPhase.CREATED,
    assignments=(),
    conditions=(),
    created_at=0.0,
)


def said(
    from_byte: int, to_byte: int, points: int = 0, *, run: str = RUN, at: float = 990.0
) -> ChunkReport:
    values = tuple(float(number) for number in range(points))
    times = tuple(at + number / 1000 for number in range(points))
    series = (ReportedSeries(metric="loss", values=values, times=times),) if points else ()
    return ChunkReport(run=run, from_byte=from_byte, to_byte=to_byte, series=series)


async def test_what_is_stored_is_counted_by_chunk_and_by_point() -> None:
    one = await bench(experiment(1, 1))
    await one.say(said(0, 10, 3), said(0, 5, 2, run=f"{UID}.1.1"))
    await one.say(said(10, 20))
    assert one.chunks == {"stored": 3}
    assert one.points == 5
    assert one.not_taken == {}


async def test_from_a_points_time_to_its_being_stored_is_told_once_for_each_chunk() -> None:
    one = await bench(experiment(1))
    telemetry = one.parts.telemetry
    await one.say(said(0, 10, 3, at=990.0))
    await one.say(said(10, 20, 2, at=998.5))
    assert told(telemetry, metrics.REPORT_STORED) == 2
    assert told_seconds(telemetry, metrics.REPORT_STORED) == pytest.approx(11.5)
    # A reporter whose clock is ahead; bytes without points tell nothing.
    await one.say(said(20, 30, 1, at=2000.0))
    await one.say(said(30, 40))
    assert told(telemetry, metrics.REPORT_STORED) == 3
    assert told_seconds(telemetry, metrics.REPORT_STORED) == pytest.approx(11.5)


async def test_what_was_before_the_experiment_is_history_and_no_delay() -> None:
    one = await bench(replace(experiment(1), created_at=500.0))
    await one.say(said(0, 10, 3, at=499.0))
    assert one.points == 3
    assert told(one.parts.telemetry, metrics.REPORT_STORED) == 0
    imported = replace(experiment(1), spec=replace(experiment(1).spec, trials_by=TrialsBy.IMPORT))
    another = await bench(imported)
    await another.pushes.push(Addressed(trial=NAME), [Point(metric="loss", value=1, at=900.0)])
    assert another.points == 1
    assert told(another.parts.telemetry, metrics.REPORT_STORED) == 0


async def test_repeats_and_what_comes_too_early_are_told_apart() -> None:
    one = await bench(experiment(1))
    await one.say(said(0, 10, 3))
    await one.say(said(0, 10, 3), said(0, 10, 3))
    await one.say(said(50, 60, 4))
    # It only asks.
    await one.say(said(10, 10))
    assert one.chunks == {"stored": 1, "repeated": 2, "gap": 1}
    assert one.not_taken == {"repeated": 6}
    assert one.points == 3


async def test_of_two_chunks_of_a_run_that_come_together_each_counts_when_it_is_stored() -> None:
    one = await bench(experiment(1))
    await one.say(said(0, 10, 1), said(10, 20, 2))
    assert (one.chunks, one.points) == ({"stored": 1}, 1)
    await one.say(said(10, 20, 2))
    assert (one.chunks, one.points) == ({"stored": 2}, 3)


async def test_what_is_not_wanted_is_refused_with_all_its_points() -> None:
    one = await bench(experiment(2))
    await one.say(said(0, 10, 3), said(0, 10, 4, run="33333333-3333-4333-8333-333333333333.0.1"))
    assert one.not_taken == {"stale": 7}
    unfit = ChunkReport(
        run=f"{UID}.0.2",
        from_byte=0,
        to_byte=9,
        series=(ReportedSeries(metric="loss", values=(1.0, 2.0), times=(1.0,)),),
    )
    await one.say(b"no report", unfit)
    assert one.chunks == {"refused": 4}
    assert one.not_taken == {"stale": 7, "invalid": 2}
    assert one.points == 0


async def test_two_replicas_that_race_count_one_chunk_as_stored() -> None:
    one = await bench(experiment(1))
    other = await bench(experiment(1), one.world)
    await one.say(said(0, 10, 3))
    await other.say(said(0, 10, 3))
    assert (one.chunks, other.chunks) == ({"stored": 1}, {"repeated": 1})
    assert (one.points, other.points) == (3, 0)


async def test_what_was_not_committed_is_not_counted() -> None:
    one = await bench(experiment(1))
    one.world.store.available = False
    with pytest.raises(Transient):
        await one.say(said(0, 10, 3))
    assert (one.chunks, one.points) == ({}, 0)
    one.world.store.available = True
    await one.say(said(0, 10, 3))
    assert (one.chunks, one.points) == ({"stored": 1}, 3)


async def test_what_can_never_be_stored_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    one = await bench(experiment(1, 1))
    monkeypatch.setattr("trialbus.testkit.memory_collection.MAX_DOCUMENT_BYTES", 1000)
    await one.say(said(0, 10, 100), said(0, 10, 1, run=f"{UID}.1.1"))
    assert one.chunks == {"stored": 1, "refused": 1}
    assert one.not_taken == {"invalid": 100}
    assert one.points == 1


async def test_pushes_are_counted_alike() -> None:
    one = await bench(experiment(1))
    push, here = one.pushes.push, Addressed(trial=NAME)
    await push(here, points(3), push_id="a")
    await push(here, points(3), push_id="a")
    assert one.chunks == {"stored": 1, "repeated": 1}
    assert (one.points, one.not_taken) == (3, {"repeated": 3})
    with pytest.raises(NotThere):
        await push(Addressed(trial="nobody"), points(2))
    with pytest.raises(NotNow):
        await push(Addressed(trial=NAME, attempt=7), points(2))
    with pytest.raises(Refused):
        await push(here, [Point(metric="", value=1.0), *points(4)])
    with pytest.raises(TooLarge):
        await push(here, [Point(metric=f"m{it}", value=1) for it in range(MAX_RUN_METRICS + 1)])
    assert one.chunks == {"stored": 1, "repeated": 1, "refused": 4}
    assert one.not_taken == {
        "repeated": 3,
        "stale": 4,
        "invalid": 5,
        "limit": MAX_RUN_METRICS + 1,
    }
    await push(here, points(MAX_CHUNK_POINTS + 1))
    assert one.chunks["stored"] == 3
    assert one.points == 3 + MAX_CHUNK_POINTS + 1


async def test_a_repeat_after_the_runs_end_is_a_repeat_and_another_is_stale() -> None:
    one = await bench(experiment(1))
    await one.pushes.push(Addressed(trial=NAME), points(3), push_id="a")
    final = ChunkReport(run=RUN, from_byte=0, to_byte=10, final=True)
    await one.say(final)
    await one.pushes.push(Addressed(trial=NAME), points(3), push_id="a")
    with pytest.raises(NotNow):
        await one.pushes.push(Addressed(trial=NAME), points(2), push_id="b")
    assert one.chunks == {"stored": 2, "repeated": 1, "refused": 1}
    assert one.not_taken == {"repeated": 3, "stale": 2}


async def test_an_unreadable_push_over_the_bus_is_refused() -> None:
    one = await bench(experiment(1))
    good = PushReport(points=(PushedPoint(metric="loss", value=1.0),))
    subject = "trialbus.v1.push.team.tune.tune-a"
    await one.behaviour.served[1].respond(
        [Request(subject=subject, data=b"{"), Request(subject=subject, data=good.to_bytes())]
    )
    assert one.chunks == {"stored": 1, "refused": 1}
    assert one.points == 1


def points(count: int) -> list[Point]:
    return [Point(metric="loss", value=float(number)) for number in range(count)]
