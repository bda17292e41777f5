"""What the experiment service counts of its commits: each once, by who committed, and how long."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from prometheus_client import CollectorRegistry

from trialbus.contracts.collections import ANSWERS, CHUNKS, RUNS
from trialbus.contracts.documents import ANSWER, CHUNK, EXPERIMENT, RUN
from trialbus.kernel.chunks import Chunk, MetricSummary
from trialbus.kernel.experiment import Experiment, ExperimentPhase, OpenState
from trialbus.kernel.ids import chunk_id
from trialbus.kernel.measurements import Summary
from trialbus.kernel.run import Run, RunPhase, StopReason
from trialbus.kernel.spec import AlgorithmSpec, ExperimentSpec
from trialbus.kernel.suggestion import LookAhead
from trialbus.ports.store import Outcome, Write
from trialbus.runtime import metrics
from trialbus.runtime.metric import Metric
from trialbus.testkit.experiment_states import (
    NOW,
    UID,
    answer,
    experiment,
    lost,
    opened,
    request,
    run,
    spec,
    stopped,
    with_open,
)
from trialbus.testkit.still_world import StillWorld
from trialbus.testkit.told_metrics import nonzero, observed, told_one
from trialbus_experiment.app.reacting import ExperimentReactor


class Service:
    """One experiment service over a world at rest."""

    def __init__(self, world: StillWorld, replica: str = "replica") -> None:
        self.world = world
        self.parts = world.parts(replica)
        self.reactor = ExperimentReactor(self.parts)

    @property
    def registry(self) -> CollectorRegistry:
        return self.parts.telemetry.registry

    async def look(self, *, later_s: float = 0.0) -> None:
        self.world.clock.time += later_s
        assert await self.reactor.react([UID]) == {}

    def told(self, metric: Metric, **labels: str) -> float | None:
        return told_one(self.parts.telemetry, metric, **labels)

    def series(self, metric: Metric) -> dict[tuple[str, ...], float]:
        return nonzero(self.parts.telemetry, metric)

    def observed(self, metric: Metric, **labels: str) -> tuple[int, float]:
        return observed(self.parts.telemetry, metric, **labels)

    @property
    def waits(self) -> tuple[int, float]:
        """How many places were taken again, and how long they were free together."""
        return self.observed(metrics.NEXT_START, algorithm="random")

    @property
    def state(self) -> Experiment:
        [document] = self.world.store.documents("experiments")
        return EXPERIMENT.decode(document)


async def service(state: Experiment, *, points: int = 10) -> Service:
    """Over this experiment, whose first request is answered with so many points."""
    world = StillWorld()
    world.clock.time = NOW
    await world.prepare(state)
    if points:
        await world.insert(ANSWERS.name, ANSWER.encode(answer(count=points)))
    return Service(world)


async def end(world: StillWorld, *runs: Run, loss: float | None = 0.5) -> None:
    """These runs end as they say, having reported a loss, or nothing."""
    for each in runs:
        version = replace(each, version=1)
        await world.insert(RUNS.name, RUN.encode(version))
        if each.phase is RunPhase.FINISHED:
            await world.insert(CHUNKS.name, CHUNK.encode(_final(each, loss)))


def _final(ended: Run, loss: float | None) -> Chunk:
    summary = None if loss is None else _summary(loss)
    return Chunk(
        id=chunk_id(ended.id, 0),
        uid=UID,
        run=ended.id,
        version=1,
        from_byte=0,
        to_byte=10,
        series=(),
        summaries=() if summary is None else (MetricSummary(metric="loss", summary=summary),),
        final=True,
        final_run=ended.id,
        stored_at=NOW,
    )


def _summary(loss: float) -> Summary:
    return Summary(count=1, min=loss, max=loss, latest=loss, first_at=NOW - 2, latest_at=NOW - 2)


def running(*indices: int, spec_: ExperimentSpec | None = None, **changes: Any) -> Experiment:
    return with_open(*indices, spec_=spec_, version=1, **changes)


async def test_trials_are_counted_when_they_open_and_not_again() -> None:
    one = await service(experiment(requests=(request(1, got=10),), drawn=10, next_request=2))
    await one.look()
    await one.look()
    assert one.told(metrics.TRIALS_OPENED) == 3
    assert one.series(metrics.KATIB_TRIAL_CREATED) == {("ns",): 3}
    assert one.waits == (0, 0.0)


async def test_ends_are_counted_by_how_they_ended_with_the_time_that_they_ran() -> None:
    one = await service(running(0, 1, 2, 3, 4, spec_=spec(parallel_trial_count=5)))
    await end(one.world, run(0), run(1, exit_code=1), run(3, finished_at=NOW - 3))
    await end(one.world, run(2), loss=None)
    await end(one.world, stopped(4, StopReason.EARLY_STOPPED.value))
    await one.look()
    assert one.series(metrics.TRIALS_ENDED) == {
        ("Succeeded",): 2,
        ("Failed",): 1,
        ("MetricsUnavailable",): 1,
        ("EarlyStopped",): 1,
    }
    # Each ran from NOW - 5 to NOW - 1, trial 3 to NOW - 3.
    assert one.series(metrics.TRIAL_SECONDS) == {
        ("Succeeded",): 6,
        ("Failed",): 4,
        ("MetricsUnavailable",): 4,
        ("EarlyStopped",): 4,
    }
    assert one.state.spent == 18
    assert one.series(metrics.KATIB_TRIAL_SUCCEEDED) == {("ns",): 2}
    assert one.series(metrics.KATIB_TRIAL_FAILED) == {("ns",): 1}
    assert one.series(metrics.KATIB_TRIAL_METRICS_UNAVAILABLE) == {("ns",): 1}


async def test_how_long_an_ended_trial_waited_to_be_counted() -> None:
    one = await service(running(0, 1))
    await end(one.world, run(0), run(1, finished_at=NOW - 3))
    await one.look(later_s=2)
    assert one.observed(metrics.TRIAL_COUNTED) == (2, 3 + 5)


async def test_a_place_that_is_taken_in_the_same_commit_was_free_for_no_time() -> None:
    one = await service(running(0, 1, 2))
    await end(one.world, run(0), run(2))
    await one.look(later_s=7)
    assert one.waits == (2, 0.0)


async def test_a_place_that_waits_for_points_is_timed_from_the_end_before_it() -> None:
    drawn = running(0, 1, 2, drawn=3, requests=(request(1, got=3), request(2, first=3)))
    one = await service(drawn, points=3)
    await end(one.world, run(0))
    await one.look()
    await end(one.world, run(1))
    await one.look(later_s=4)
    assert one.waits == (0, 0.0)
    await one.world.insert(ANSWERS.name, ANSWER.encode(answer(2, first=3, count=7)))
    await one.look(later_s=6)
    assert one.waits == (2, 10 + 6)


async def test_a_place_that_another_process_filled_is_not_timed() -> None:
    drawn = running(0, 1, 2, drawn=3, requests=(request(1, got=3), request(2, first=3)))
    one = await service(drawn, points=3)
    await end(one.world, run(0))
    await one.look()
    await one.world.insert(ANSWERS.name, ANSWER.encode(answer(2, first=3, count=7)))
    other = Service(one.world, "other")
    await other.look(later_s=5)
    assert other.waits == (0, 0.0)
    await end(one.world, run(1))
    await one.look(later_s=60)
    assert one.waits == (1, 0.0)


async def test_a_place_that_the_algorithm_leaves_empty_is_not_timed() -> None:
    """It has no more points until the trials of its generation have ended."""
    waiting = running(
        0, 1, 2, drawn=3, requests=(request(1, got=3), request(2, first=3)), next_request=3
    )
    one = await service(waiting, points=3)
    few = answer(2, first=3, count=0, look_ahead=LookAhead.NONE, watermark=1)
    await end(one.world, run(0))
    await one.look()
    asked = replace(one.state.requests[-1], watermark=1)
    await one.world.put(replace(one.state, requests=(asked,)))
    await one.world.insert(ANSWERS.name, ANSWER.encode(few))
    await one.look(later_s=5)
    assert one.state.waits_at == 1
    await end(one.world, run(1))
    await one.look(later_s=100)
    number = one.state.requests[-1].number
    await one.world.insert(ANSWERS.name, ANSWER.encode(answer(number, first=3, count=2)))
    await one.look(later_s=1)
    assert one.waits == (1, 1.0)


async def test_no_place_waits_at_the_end_of_the_budget() -> None:
    one = await service(running(0, 1, 2, spec_=spec(max_trial_count=3), drawn=3))
    await end(one.world, run(0))
    await one.look()
    await one.world.put(replace(one.state, spec=spec(max_trial_count=10), drawn=10))
    await end(one.world, run(1))
    await one.look(later_s=50)
    assert one.waits == (1, 0.0)


async def test_lost_attempts_are_counted_and_paid_for_and_end_no_trial() -> None:
    one = await service(running(0, 1, 2))
    await end(one.world, lost(1))
    await one.look()
    await one.look()
    assert one.told(metrics.ATTEMPTS_LOST) == 1
    assert one.series(metrics.TRIAL_SECONDS) == {("Lost",): 4}
    assert one.series(metrics.TRIALS_ENDED) == {}
    assert one.told(metrics.TRIALS_OPENED) == 0


async def test_the_last_lost_attempt_of_a_trial_is_counted_too() -> None:
    open_ = opened(0, attempt=4, lost=3)
    one = await service(running(0, open=open_))
    await end(one.world, lost(0, attempt=4))
    await one.look()
    assert one.told(metrics.ATTEMPTS_LOST) == 1
    assert one.series(metrics.TRIALS_ENDED) == {("Failed",): 1}


async def test_who_gives_a_trial_back_has_lost_nothing() -> None:
    one = await service(running(0))
    await end(one.world, replace(lost(0), stop_reason=StopReason.RELEASED.value))
    await one.look()
    assert one.state.open["0"].attempt == 2
    assert one.told(metrics.ATTEMPTS_LOST) == 0


async def test_a_suspended_attempt_is_paid_for_once() -> None:
    suspended = running(0, phase=ExperimentPhase.SUSPENDED, open=opened(0, stop="Suspended"))
    one = await service(suspended)
    await end(one.world, stopped(0, StopReason.SUSPENDED.value))
    await one.look()
    await one.look()
    assert one.state.open["0"].state is OpenState.PAUSED
    assert one.series(metrics.TRIAL_SECONDS) == {("Suspended",): 4}
    assert one.told(metrics.ATTEMPTS_LOST) == 0


async def test_a_lost_race_counts_nothing() -> None:
    one = await service(running(0, 1, 2))
    await end(one.world, run(0))
    commit = one.parts.store.commit

    async def late(collection: str, writes: Sequence[Write]) -> list[Outcome]:
        """Another replica is faster, once."""
        if collection == "experiments" and one.told(metrics.CONFLICTS) == 0:
            await Service(one.world, "faster").look()
        return await commit(collection, writes)

    one.parts.store.commit = late  # type: ignore[method-assign]
    await one.look()
    assert one.told(metrics.CONFLICTS) == 1
    assert one.series(metrics.TRIALS_ENDED) == {}
    assert one.series(metrics.TRIAL_SECONDS) == {}
    assert one.told(metrics.TRIALS_OPENED) == 0


async def test_an_experiment_is_counted_when_it_ends_and_when_it_is_deleted() -> None:
    one = await service(running(0, spec_=spec(max_trial_count=1), drawn=1, best=None))
    await end(one.world, run(0))
    await one.look()
    assert one.state.phase is ExperimentPhase.SUCCEEDED
    assert one.series(metrics.EXPERIMENTS_ENDED) == {("Succeeded",): 1}
    assert one.series(metrics.KATIB_EXPERIMENT_SUCCEEDED) == {("ns",): 1}
    assert one.series(metrics.KATIB_EXPERIMENT_DELETED) == {}
    await one.world.put(replace(one.state, phase=ExperimentPhase.DELETING, active=True))
    await one.look()
    await one.look()
    assert one.series(metrics.KATIB_EXPERIMENT_DELETED) == {("ns",): 1}
    assert one.series(metrics.KATIB_TRIAL_DELETED) == {("ns",): 1}
    assert one.series(metrics.EXPERIMENTS_ENDED) == {("Succeeded",): 1}


async def test_a_failed_experiment_is_counted_as_one() -> None:
    one = await service(running(0, spec_=spec(max_failed_trial_count=1)))
    await end(one.world, run(0, exit_code=1))
    await one.look()
    assert one.series(metrics.EXPERIMENTS_ENDED) == {("Failed",): 1}
    assert one.series(metrics.KATIB_EXPERIMENT_FAILED) == {("ns",): 1}


async def test_experiments_that_have_been_kept_long_enough_count_as_deleted_once() -> None:
    month_s = 40 * 24 * 3600.0
    old = experiment(
        version=1, phase=ExperimentPhase.SUCCEEDED, active=False, completed_at=NOW, next_index=2
    )
    one = await service(old)
    one.world.clock.time += month_s
    for uid in await one.reactor.sweep():
        assert await one.reactor.react([uid]) == {}
    await one.reactor.sweep()
    assert one.series(metrics.KATIB_EXPERIMENT_DELETED) == {("ns",): 1}
    assert one.series(metrics.KATIB_TRIAL_DELETED) == {("ns",): 2}


async def test_waits_are_told_by_algorithm() -> None:
    sobol = spec(algorithm=AlgorithmSpec(name="sobol"))
    one = await service(running(0, 1, 2, spec_=sobol))
    await end(one.world, run(0))
    await one.look()
    assert one.observed(metrics.NEXT_START, algorithm="sobol") == (1, 0.0)


async def test_latencies_carry_the_trace_of_their_experiment() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    one = await service(running(0, 1, 2, traceparent=f"00-{trace}-b7ad6b7169203331-01"))
    await end(one.world, run(0))
    await one.look()
    exemplars = [
        (sample.name, sample.exemplar.labels)
        for family in one.registry.collect()
        for sample in family.samples
        if sample.exemplar is not None
    ]
    named = {"trace_id": trace}
    assert ("trialbus_trial_counting_seconds_bucket", named) in exemplars
    assert ("trialbus_next_trial_seconds_bucket", named) in exemplars
