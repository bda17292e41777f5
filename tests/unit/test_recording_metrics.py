"""An end that is recorded is counted once: by who committed it, though the answer was lost."""

import asyncio
from dataclasses import replace

import pytest

from trialbus.contracts.collections import RUNS
from trialbus.contracts.documents import RUN
from trialbus.kernel.errors import Transient
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.traces import TraceContext
from trialbus.ports.tracing import NoTracing
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus.testkit.memory_store import MemoryStore, StoreCall
from trialbus.testkit.still_world import UID, HastyClock, StillWorld, experiment
from trialbus.testkit.told_metrics import told
from trialbus.testkit.waits import until
from trialbus_trial_launcher.app.hand import Hand
from trialbus_trial_launcher.app.recording import Recording

RUNNING = Run(
    id=f"{UID}.0.1",
    uid=UID,
    index=0,
    attempt=1,
    version=1,
    namespace="team",
    experiment="tune",
    trial="tune-a",
    phase=RunPhase.RUNNING,
    host="cluster",
    boot_id="",
    created_at=1.0,
    traceparent=str(TraceContext(trace_id="a" * 32, span_id="1" * 16)),
)
ENDED = replace(RUNNING, version=2, phase=RunPhase.FINISHED, exit_code=0, finished_at=5.0)


class LosesAnswers:
    """The first commit of an end is done, and nobody hears of it."""

    def __init__(self) -> None:
        self.left = 0

    async def before(self, call: StoreCall) -> None:
        """It arrives."""

    async def after(self, call: StoreCall) -> None:
        if (call.operation, call.collection) == ("commit", RUNS.name) and self.left:
            self.left -= 1
            raise Transient("the answer was lost")


def recorder(world: StillWorld, replica: str) -> tuple[Parts, Hand, Recording]:
    parts = world.parts(replica)
    parts.telemetry.tracing = Spans()
    hand = Hand(parts, "cluster")
    hand.claim(RUNNING, 1.0)
    return parts, hand, Recording(parts, hand)


class Spans(NoTracing):
    """On, and counts the spans that are told when they are over."""

    told = 0

    @property
    def on(self) -> bool:
        return True

    def record(self, *_args: object, **_options: object) -> None:
        self.told += 1


def spans(parts: Parts) -> int:
    """Of runs."""
    tracing = parts.telemetry.tracing
    assert isinstance(tracing, Spans)
    return tracing.told


def ends(parts: Parts) -> float:
    return told(parts.telemetry, metrics.RUNS_ENDED, place="cluster", outcome="succeeded")


def in_hand(parts: Parts) -> float:
    return told(parts.telemetry, metrics.RUNS)


async def recorded(*recordings: Recording, after: Run, done: list[str]) -> None:
    tasks = []
    for recording in recordings:
        recording.committed = done.append
        recording.add(RUNNING, after)
        tasks.append(asyncio.ensure_future(recording.run()))
    await until(lambda: len(done) == len(recordings), "all are recorded")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("differs", [False, True])
async def test_of_two_launchers_that_record_one_end_one_counts_it(differs: bool) -> None:
    world = StillWorld(clock=HastyClock())
    await world.prepare(experiment(1))
    await world.insert(RUNS.name, RUN.encode(RUNNING))
    (one, _, first), (two, _, second) = recorder(world, "one"), recorder(world, "two")
    await recorded(first, after=ENDED, done=[])
    await recorded(second, after=replace(ENDED, log_tail="x") if differs else ENDED, done=[])
    assert (ends(one), ends(two)) == (1, 0)
    assert (spans(one), spans(two)) == (1, 0)
    assert (in_hand(one), in_hand(two)) == (0, 0)


def test_a_run_that_two_launchers_follow_is_told_by_both_and_counted_once() -> None:
    world = StillWorld()
    (one, _, _), (two, hand, _) = recorder(world, "one"), recorder(world, "two")
    assert (in_hand(one), in_hand(two)) == (1, 1)
    # Which is why the largest is read, and no sum.
    assert metrics.RUNS.shared
    hand.drop(RUNNING.id)
    assert (in_hand(one), in_hand(two)) == (1, 0)


async def test_an_end_whose_commit_had_no_answer_is_counted_once() -> None:
    faults = LosesAnswers()
    world = StillWorld(store=MemoryStore(faults=faults), clock=HastyClock())
    await world.prepare(experiment(1))
    await world.insert(RUNS.name, RUN.encode(RUNNING))
    parts, _, recording = recorder(world, "one")
    faults.left = 1
    await recorded(recording, after=ENDED, done=[])
    assert (ends(parts), in_hand(parts)) == (1, 0)
    assert spans(parts) == 1


async def test_an_end_over_a_claim_that_came_meanwhile_is_counted_once() -> None:
    world = StillWorld(clock=HastyClock())
    await world.prepare(experiment(1))
    await world.insert(RUNS.name, RUN.encode(replace(RUNNING, version=2, holder="pod")))
    parts, _, recording = recorder(world, "one")
    await recorded(recording, after=ENDED, done=[])
    assert (ends(parts), in_hand(parts)) == (1, 0)
    [document] = world.store.documents(RUNS.name)
    assert RUN.decode(document).ended
