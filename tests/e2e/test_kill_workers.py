"""Workers, the gateway and every service are killed in the middle of ask and tell: no trial is
lost, none counts twice, and never more run than are allowed.

`KILLS=100 ASKED_TRIALS=2000 TRIAL_S=0.5` is the long run of `make test-asked-faults`.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from trialbus.adapters.mongo_store import MongoStore
from trialbus.contracts.collections import RUNS, TRIALS
from trialbus.contracts.documents import RUN, TRIAL
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.trial import Trial
from trialbus.local.supervisor import SERVICES
from trialbus.ports.store import Query
from trialbus.testkit.memory_launcher import most_at_once
from trialbus.testkit.real_stack import NAMESPACE, RealStack, experiment_object, find_experiment
from trialbus.testkit.waits import until

KILLS = int(os.environ.get("KILLS", "8"))
TRIALS_WANTED = int(os.environ.get("ASKED_TRIALS", "120"))
TRIAL_S = float(os.environ.get("TRIAL_S", "0.2"))
IN_FLIGHT = 16
WORKERS, THREADS = 4, 4
LEASE_S = 4.0
SERVERS = ("nats-server", "mongod")
BETWEEN_KILLS_S = 1.0
END_DEADLINE_S = 120.0 + TRIALS_WANTED * TRIAL_S

pytestmark = [pytest.mark.servers, pytest.mark.timeout(0 if KILLS > 10 else 300)]

WORKER = Path(__file__).parents[1] / "data" / "trials" / "asking_worker.py"


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[RealStack]:
    stack = RealStack(tmp_path)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


class Crew:
    """Worker processes; who is killed is replaced."""

    def __init__(self, stack: RealStack, name: str) -> None:
        self.notes = stack.folder / "notes"
        self._command = [
            sys.executable, str(WORKER), str(stack.data), NAMESPACE, name,
            str(self.notes), str(TRIAL_S), str(THREADS), str(LEASE_S),
        ]  # fmt: skip
        self._log = stack.folder / "workers.log"
        self._processes: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def at_work(self) -> Iterator[None]:
        try:
            for _ in range(WORKERS):
                self._start()
            yield
        finally:
            for process in self._processes:
                process.kill()
                process.wait()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._processes.append(
                subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            )

    def kill_one(self, rng: random.Random) -> None:
        victim = rng.choice(self._processes)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        self._processes.remove(victim)
        self._start()

    def noted(self, what: str) -> list[list[str]]:
        if not self.notes.exists():
            return []
        lines = (line.split() for line in self.notes.read_text().splitlines())
        return [words[1:] for words in lines if words[0] == what]

    @property
    def said(self) -> str:
        return self._log.read_text()[-2000:]


async def test_asked_trials_bear_the_death_of_anybody(stack: RealStack) -> None:
    name = "asked"
    stack.apply(asked_experiment(name))
    crew, rng = Crew(stack, name), random.Random(20)
    victims = ["worker", "worker", *SERVICES, *SERVERS]
    killed: Counter[str] = Counter()
    with crew.at_work():
        await until(lambda: len(crew.noted("told")) > 0, "the first result", within_s=60.0)
        for number in range(KILLS):
            due = time.monotonic() + BETWEEN_KILLS_S
            victim = victims[number % len(victims)]
            if victim == "worker":
                crew.kill_one(rng)
            elif (pid := stack.process(victim).pid) is not None:
                with suppress(ProcessLookupError):  # it has just ended of the kill before
                    os.kill(pid, signal.SIGKILL)
            killed[victim] += 1
            await until(partial(is_past, due), "the next kill is due")
        async with stack.store() as store:
            state = await ended(store, name, crew)
            await check(store, state, crew)
    print(f"{sum(killed.values())} kills ({dict(killed)}), {TRIALS_WANTED} trials: none lost")


def is_past(due: float) -> bool:
    return time.monotonic() >= due


def asked_experiment(name: str) -> dict[str, object]:
    experiment = experiment_object(name, ["true"], trials=TRIALS_WANTED, parallel=IN_FLIGHT)
    experiment["metadata"]["annotations"] = {"trialbus.io/trials-by": "workers"}
    del experiment["spec"]["trialTemplate"]
    return experiment


async def ended(store: MongoStore, name: str, crew: Crew) -> Experiment:
    found: list[Experiment] = []

    async def is_over() -> bool:
        state = await find_experiment(store, name)
        if state is None or not state.ended:
            return False
        found.append(state)
        return True

    try:
        await until(is_over, f"{name} has ended", within_s=END_DEADLINE_S)
    except AssertionError as error:
        raise AssertionError(f"{error}; workers said: {crew.said}") from error
    return found[0]


async def check(store: MongoStore, state: Experiment, crew: Crew) -> None:
    assert state.phase is ExperimentPhase.SUCCEEDED, state.verdict
    assert state.next_index == state.finished == state.counts.succeeded == TRIALS_WANTED
    assert not state.open
    assert not state.closing
    below = Query(prefix=f"{state.id}.")
    trials = [TRIAL.decode(it) for it in await store.find(TRIALS.name, below)]
    runs = [RUN.decode(it) for it in await store.find(RUNS.name, below)]
    check_results(trials, crew)
    check_attempts(runs, trials, crew)


def check_results(trials: list[Trial], crew: Crew) -> None:
    """What a worker heard was stored is what counts; nothing counts twice."""
    assert sorted(trial.index for trial in trials) == list(range(TRIALS_WANTED))
    counted = {(trial.name, str(trial.attempt)): trial.value for trial in trials}
    told = {(name, attempt): float(loss) for name, attempt, loss in crew.noted("told")}
    assert told.items() <= counted.items()
    # A worker may die between the answer and its note.
    assert len(told) >= TRIALS_WANTED - KILLS * THREADS
    lost = {(name, attempt) for name, attempt in crew.noted("lost")}
    assert not lost & counted.keys()


def check_attempts(runs: list[Run], trials: list[Trial], crew: Crew) -> None:
    lives = [(run.created_at, run.finished_at) for run in runs]
    assert most_at_once(lives) <= IN_FLIGHT
    assert all(run.ended for run in runs)
    finished = [run for run in runs if run.phase is RunPhase.FINISHED]
    assert len(finished) == len(trials)
    begun = Counter((name, attempt) for name, attempt, _ in crew.noted("begun"))
    assert set(begun.values()) == {1}, "an attempt was given to two"
