"""kill -9 of every process of a stack in the middle of a run costs time and nothing else."""

import asyncio
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from trialbus.adapters.mongo_store import MongoStore
from trialbus.contracts.collections import CHUNKS, RUNS, TRIALS
from trialbus.contracts.documents import CHUNK, RUN, TRIAL
from trialbus.kernel.chunks import Chunk
from trialbus.kernel.experiment import ExperimentPhase
from trialbus.kernel.run import Run
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.local.supervisor import SERVICES
from trialbus.ports.store import Query
from trialbus.testkit.real_stack import RealStack, experiment_object, find_experiment
from trialbus.testkit.run_probes import is_alive
from trialbus.testkit.waits import until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

PROBED = Path(__file__).parents[1] / "data" / "trials" / "probed.py"
SERVERS = ("nats-server", "mongod")
PARALLEL = 8
POINTS = 20
TRIAL_S = 0.2
# Of one trial in sixteen: it outlives what happens to its stack.
LONG_S = 3.0
# From the last fault to the end: what is left to do takes a few seconds.
END_DEADLINE_S = 90.0
# Of the one who waits from before the first fault to the end.
WAIT_S = 200


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[RealStack]:
    stack = RealStack(tmp_path)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


class Workload:
    """One experiment of probed trials, and how far it is."""

    def __init__(self, stack: RealStack, name: str, trials: int) -> None:
        self.stack = stack
        self.name = name
        self.trials = trials
        self.probe = stack.folder / f"{name}.probe"

    def begin(self) -> None:
        command = ["python", "-IS", str(PROBED), str(self.probe), "{x}", str(POINTS)]
        durations = [str(TRIAL_S), str(LONG_S)]
        self.stack.apply(
            experiment_object(
                self.name, [*command, *durations], trials=self.trials, parallel=PARALLEL
            )
        )

    @property
    def traces(self) -> list["Trace"]:
        if not self.probe.exists():
            return []
        return [Trace.of(line) for line in self.probe.read_text().splitlines()]

    @property
    def begun(self) -> int:
        return sum(trace.what == "begun" for trace in self.traces)

    async def until_begun(self, trials: int) -> None:
        await until(
            lambda: self.begun >= trials, f"{trials} trials have begun", within_s=END_DEADLINE_S
        )

    async def until_ended(self, store: MongoStore) -> float:
        began = time.monotonic()

        async def is_over() -> bool:
            found = await find_experiment(store, self.name)
            return found is not None and found.ended

        await until(is_over, f"{self.name} has ended", within_s=END_DEADLINE_S)
        return time.monotonic() - began


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One line of the probe file. at: of the machine's monotonic clock."""

    trial: str
    attempt: int
    what: str
    at: float

    @staticmethod
    def of(line: str) -> "Trace":
        trial, attempt, _, what, at = line.split()
        return Trace(trial=trial, attempt=int(attempt), what=what, at=float(at))


async def test_a_killed_process_of_each_kind_loses_and_doubles_nothing(stack: RealStack) -> None:
    work = Workload(stack, "killed", 200)
    victims = [*SERVICES, *SERVERS]
    restarts = dict.fromkeys(victims, 1)
    work.begin()
    waiting = asyncio.create_task(
        stack.cli("wait", work.name, f"--timeout={WAIT_S}s", within_s=WAIT_S + 40)
    )
    for number, victim in enumerate(victims, start=1):
        await work.until_begun(number * work.trials // (len(victims) + 2))
        killed = stack.kill(victim)
        began, seen = time.monotonic(), work.begun
        back_s = await stack.returned(victim, killed)
        await work.until_begun(min(seen + PARALLEL, work.trials))
        round_s = time.monotonic() - began
        print(f"{victim}: ready after {back_s:.2f} s, {PARALLEL} more trials after {round_s:.2f} s")
    async with stack.store() as store:
        print(f"ended {await work.until_ended(store):.2f} s after the last recovery")
        assert {name: stack.process(name).restarts for name in victims} == restarts
        await check_exactness(work, store)
    waited = await waiting
    assert waited.code == 0, waited.err
    await check_that_down_leaves_nothing(stack)


async def test_all_services_killed_at_once_lose_and_double_nothing(stack: RealStack) -> None:
    work = Workload(stack, "blackout", 60)
    work.begin()
    for share in (0.3, 0.6):
        await work.until_begun(int(share * work.trials))
        killed = {name: stack.kill(name) for name in (*SERVICES, *SERVERS)}
        for name, pid in killed.items():
            await stack.returned(name, pid)
    async with stack.store() as store:
        await work.until_ended(store)
        await check_exactness(work, store)


async def test_a_wiped_message_store_loses_nothing(stack: RealStack) -> None:
    work = Workload(stack, "wiped", 80)
    work.begin()
    for share in (0.3, 0.6):
        await work.until_begun(int(share * work.trials))
        await wipe_while_stopped(stack)
    async with stack.store() as store:
        print(f"ended {await work.until_ended(store):.2f} s after the last wipe")
        await check_exactness(work, store)


async def wipe_while_stopped(stack: RealStack) -> None:
    """As if the disk were lost: the server is killed and starts on an empty store."""
    supervisor = stack.status.pid
    os.kill(supervisor, signal.SIGSTOP)  # it must not be quicker than the wipe
    try:
        killed = stack.kill("nats-server")
        # Until it is dead it may write.
        await until(lambda: not is_alive(killed), "nats-server is dead")
        store = stack.data / "nats" / "data" / "jetstream"
        assert any(store.iterdir())
        shutil.rmtree(store)
    finally:
        os.kill(supervisor, signal.SIGCONT)


async def check_exactness(work: Workload, store: MongoStore) -> None:
    """Exactly the trials that were asked for, each run once, with exactly the printed points."""
    found = await find_experiment(store, work.name)
    assert found is not None
    assert found.phase is ExperimentPhase.SUCCEEDED
    assert (found.next_index, found.finished, found.counts.succeeded) == (work.trials,) * 3
    assert not found.open
    assert not found.closing
    trials = [TRIAL.decode(it) for it in await _below(store, TRIALS.name, found.id)]
    runs = [RUN.decode(it) for it in await _below(store, RUNS.name, found.id)]
    chunks = [CHUNK.decode(it) for it in await _below(store, CHUNKS.name, found.id)]
    check_trials(trials, work.trials)
    check_probe(work.traces, {trial.name for trial in trials})
    check_points(trials, runs, chunks)
    await until(lambda: _outboxes_are_empty(store, work.name, found.id), "all events are sent")


def check_trials(trials: list[Trial], expected: int) -> None:
    assert Counter(trial.phase for trial in trials) == {TrialPhase.SUCCEEDED: expected}
    assert sorted(trial.index for trial in trials) == list(range(expected))
    numbers = sorted(trial.finished or 0 for trial in trials)
    assert numbers == list(range(1, expected + 1))
    assert {trial.attempt for trial in trials} == {1}


def check_probe(traces: list[Trace], names: set[str]) -> None:
    """What the trials themselves have seen."""
    for what in ("begun", "ended"):
        seen = Counter((it.trial, it.attempt) for it in traces if it.what == what)
        assert seen == dict.fromkeys([(name, 1) for name in names], 1)
    live = 0
    for trace in sorted(traces, key=lambda it: it.at):
        live += 1 if trace.what == "begun" else -1
        assert live <= PARALLEL


def check_points(trials: list[Trial], runs: list[Run], chunks: list[Chunk]) -> None:
    """Each run's chain of chunks: without gap or overlap, to the end, with the printed values."""
    assert {run.id for run in runs} == {f"{trial.id}.1" for trial in trials}
    length = {run.id: run.output_bytes for run in runs}
    assert {chunk.run for chunk in chunks} == set(length)
    for trial in trials:
        chain = [chunk for chunk in chunks if chunk.run == f"{trial.id}.1"]
        chain.sort(key=lambda chunk: chunk.from_byte)
        assert chain[0].from_byte == 0
        assert all(one.to_byte == next_.from_byte for one, next_ in pairwise(chain))
        assert chain[-1].to_byte == length[chain[-1].run]
        assert [chunk.final for chunk in chain] == [False] * (len(chain) - 1) + [True]
        x = float(trial.assignments[0].value)
        printed = [x * number for number in range(1, POINTS + 1)]
        assert list(_values(chain)) == printed
        [observed] = trial.observation
        assert (observed.min, observed.max, observed.latest) == (x, printed[-1], printed[-1])


def _values(chain: list[Chunk]) -> Iterator[float]:
    for chunk in chain:
        for series in chunk.series:
            assert series.metric == "loss"
            yield from series.values


async def _below(store: MongoStore, collection: str, uid: str) -> list[dict[str, object]]:
    return await store.find(collection, Query(prefix=f"{uid}."))


async def _outboxes_are_empty(store: MongoStore, name: str, uid: str) -> bool:
    found = await find_experiment(store, name)
    trials = await _below(store, TRIALS.name, uid)
    return found is not None and not found.outbox and not any(it["outbox"] for it in trials)


async def check_that_down_leaves_nothing(stack: RealStack) -> None:
    known = [each.pid for each in (stack.status.services | stack.status.servers).values()]
    supervisor = stack.status.pid
    assert {*known, supervisor} <= set(stack.processes())
    done = await stack.cli("down")
    assert done.code == 0, done.err
    # The supervisor goes last of all, when it has said that the folder is free.
    assert set(stack.processes()) <= {supervisor}
    await stack.until_nothing_runs(within_s=30)
