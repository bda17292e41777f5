"""Heavy algorithms in a worker process: started late, replaced when dead, gone with its parent."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from time import monotonic

import psutil
import pytest

from trialbus.kernel.catalogue import AlgorithmDescription
from trialbus.kernel.errors import Refused, Transient
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import (
    FinishedTrial,
    History,
    PointTexts,
    Proposal,
    ProposalRequest,
    Study,
)
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.waits import until
from trialbus_suggestion.adapters.compute import InlineCompute, ProcessCompute
from trialbus_suggestion.app.deaths import Death
from trialbus_suggestion.app.timing import Computed
from trialbus_suggestion.core.catalogue import BUILT_IN
from trialbus_suggestion.core.registry import Registry
from trialbus_suggestion.core.seeds import request_seed

DEADLINE_S = 30.0
HERE = Path(__file__).stem
PLANE = (
    Parameter(name="x", type="double", min="0", max="1"),
    Parameter(name="y", type="int", min="1", max="9"),
)
REGISTRY = Registry()


def study_of(name: str, **settings: str) -> Study:
    algorithm = AlgorithmSpec(name=name, settings=tuple(settings.items()))
    return Study(parameters=PLANE, objective=ObjectiveType.MINIMIZE, algorithm=algorithm)


HEAVY = study_of("bayesianoptimization", n_initial_points="2")


class Past:
    """An experiment whose every request sees all earlier points finished but the last."""

    def __init__(self) -> None:
        self.points: list[PointTexts] = []
        self.reads: list[tuple[int, int | None]] = []

    def request(self, count: int = 2) -> ProposalRequest:
        known = len(self.points)
        return ProposalRequest(
            number=known + 1,
            first=known,
            count=count,
            watermark=max(0, known - 1),
            seed=request_seed(3, known),
        )

    async def __call__(self, *, first: int, after: int | None) -> History:
        self.reads.append((first, after))
        finished = [
            FinishedTrial(
                number=i + 1,
                index=i,
                point=point,
                phase=TrialPhase.SUCCEEDED,
                value=float(point[0]) + float(point[1]),
            )
            for i, point in enumerate(self.points[:-1])
        ]
        new = finished if after is None else finished[after:]
        return History(first=first, points=tuple(self.points[first:]), finished=tuple(new))

    async def grow(self, compute: ProcessCompute | InlineCompute, study: Study = HEAVY) -> None:
        proposal = await compute.propose("uid", study, self.request(), self)
        self.points.extend(proposal.points)


async def expected(count: int) -> list[PointTexts]:
    """The points of an undisturbed run."""
    past, compute = Past(), InlineCompute(REGISTRY)
    for _ in range(count):
        await past.grow(compute)
    return past.points


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def until_gone(pid: int) -> None:
    await until(lambda: is_gone(pid), f"end of {pid}", within_s=DEADLINE_S)


@pytest.fixture
async def compute() -> AsyncIterator[ProcessCompute]:
    one = ProcessCompute(REGISTRY)
    yield one
    await one.close()


def pid_of(compute: ProcessCompute) -> int:
    """Of its only worker."""
    [pid] = compute.worker_pids
    return pid


async def test_light_algorithms_never_start_the_worker(compute: ProcessCompute) -> None:
    past = Past()
    await past.grow(compute, study_of("random"))
    await past.grow(compute, study_of("random"))
    compute.forget("uid")
    assert len(past.points) == 4
    assert compute.worker_pids == []


async def test_the_worker_answers_as_this_process_would_and_reads_only_news(
    compute: ProcessCompute,
) -> None:
    past = Past()
    for _ in range(3):
        await past.grow(compute)
    assert pid_of(compute) != os.getpid()
    assert past.points == await expected(3)
    # Its own points it knows; results it reads from its watermark on.
    assert past.reads == [(2, 0), (4, 1)]


async def test_a_killed_worker_is_replaced_and_told_everything(compute: ProcessCompute) -> None:
    past = Past()
    await past.grow(compute)
    first = pid_of(compute)
    os.kill(first, signal.SIGKILL)
    await until_gone(first)
    past.reads.clear()
    await past.grow(compute)
    assert pid_of(compute) != first
    assert past.reads == [(0, 0)]
    assert past.points == await expected(2)


async def test_a_worker_that_dies_while_it_computes_is_replaced(compute: ProcessCompute) -> None:
    past = Past()
    await past.grow(compute)
    first = pid_of(compute)
    os.kill(first, signal.SIGSTOP)
    answer = asyncio.create_task(past.grow(compute))
    await asyncio.sleep(0)
    os.kill(first, signal.SIGKILL)
    await answer
    assert past.points == await expected(2)


async def test_forgetting_makes_the_worker_read_everything_again(compute: ProcessCompute) -> None:
    past = Past()
    await past.grow(compute)
    compute.forget("uid")
    past.reads.clear()
    await past.grow(compute)
    assert past.reads == [(0, 0)]
    assert past.points == await expected(2)


async def test_many_experiments_may_ask_at_once(compute: ProcessCompute) -> None:
    pasts = [Past() for _ in range(4)]
    proposals = await asyncio.gather(
        *(compute.propose(f"uid-{i}", HEAVY, past.request(), past) for i, past in enumerate(pasts))
    )
    assert {proposal.points for proposal in proposals} == {tuple(await expected(1))}


async def test_what_answers_take_is_told_and_only_who_needs_a_process_waits_for_one() -> None:
    answers: list[Computed] = []
    compute = ProcessCompute(REGISTRY, tell=answers.append)
    past, began = Past(), monotonic()
    await past.grow(compute)
    await past.grow(compute)
    heavy_s = monotonic() - began
    await past.grow(compute, study_of("random"))
    await compute.close()
    first, second, light = answers
    assert [(it.algorithm, it.points) for it in answers] == [
        ("bayesianoptimization", 2),
        ("bayesianoptimization", 2),
        ("random", 2),
    ]
    assert light.waited_s is None
    assert first.waited_s is not None
    assert second.waited_s is not None
    # The process is started, and its libraries are loaded, for the first answer.
    assert first.waited_s > first.took_s
    assert first.waited_s > second.waited_s
    whole_s = first.took_s + first.waited_s + second.took_s + second.waited_s
    assert 0 < whole_s <= heavy_s


async def test_closing_leaves_no_process_and_ends_what_runs() -> None:
    deaths: list[Death] = []
    compute = ProcessCompute(REGISTRY, tell_death=deaths.append)
    past = Past()
    await past.grow(compute)
    pid = pid_of(compute)
    os.kill(pid, signal.SIGSTOP)  # a computation that does not end
    answer = asyncio.create_task(past.grow(compute))
    await asyncio.sleep(0)
    await compute.close()
    assert is_gone(pid)
    assert compute.worker_pids == []
    with pytest.raises(Transient, match="closed"):
        await answer
    await compute.close()
    with pytest.raises(Transient, match="closed"):
        await past.grow(compute)
    # Who is told to leave has not died.
    assert deaths == []


async def test_a_worker_that_died_is_told_with_what_it_died_of() -> None:
    deaths: list[Death] = []
    compute = ProcessCompute(REGISTRY, tell_death=deaths.append)
    past = Past()
    for end in (signal.SIGKILL, signal.SIGSEGV):
        await past.grow(compute)
        pid = pid_of(compute)
        os.kill(pid, end)
        await until_gone(pid)
    await past.grow(compute)
    await compute.close()
    assert deaths == ["killed", "crashed"]


# Algorithms of the tests' own: found by the worker as `implementation`.


class Endless:
    """Never answers."""

    def __init__(self, study: Study) -> None:
        """As every algorithm."""

    def restore(self, points: object, marks: object = ()) -> None: ...

    def tell(self, finished: object) -> None: ...

    def propose(self, request: ProposalRequest, rng: Random) -> Proposal:
        threading.Event().wait()
        raise AssertionError("waited for ever and yet no longer")


class Busy(Endless):
    """Computes for ever."""

    def propose(self, request: ProposalRequest, rng: Random) -> Proposal:
        # Where warnings go: its own output is the service's.
        print(os.getpid(), file=sys.stderr, flush=True)
        while True:
            rng.random()


class Deadly(Endless):
    """Takes the whole process with it, as running out of memory does."""

    def propose(self, request: ProposalRequest, rng: Random) -> Proposal:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().propose(request, rng)


class Failing(Endless):
    def propose(self, request: ProposalRequest, rng: Random) -> Proposal:
        raise ArithmeticError("no square root")


def registry_of(name: str) -> Registry:
    own = AlgorithmDescription(
        name=name.lower(), look_ahead="none", implementation=f"{HERE}:{name}", heavy=True
    )
    return Registry([*BUILT_IN, own])


@pytest.fixture
def own_algorithms(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker gets this process's import path."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.mark.usefixtures("own_algorithms")
async def test_an_endless_computation_is_cut_off() -> None:
    deaths: list[Death] = []
    compute = ProcessCompute(registry_of("Endless"), timeout_s=0.6, tell_death=deaths.append)
    past = Past()
    # Two points: a minute and a sixth, if it were a minute.
    with pytest.raises(Refused, match=r"the algorithm gave no answer in 0\.7 s"):
        await compute.propose("uid", study_of("endless"), past.request(), past)
    assert compute.worker_pids == []
    await compute.close()
    assert deaths == ["stuck"]


@pytest.mark.usefixtures("own_algorithms")
async def test_an_algorithm_that_kills_its_process_is_refused() -> None:
    deaths: list[Death] = []
    compute = ProcessCompute(registry_of("Deadly"), tell_death=deaths.append)
    past = Past()
    with pytest.raises(Refused, match="ended its process 2 times: SIGKILL"):
        await compute.propose("uid", study_of("deadly"), past.request(), past)
    await compute.close()
    assert deaths == ["killed", "killed"]


@pytest.mark.usefixtures("own_algorithms")
async def test_a_failing_algorithm_is_refused_with_its_reason_and_the_worker_goes_on() -> None:
    compute = ProcessCompute(registry_of("Failing"))
    past = Past()
    with pytest.raises(Refused, match="ArithmeticError: no square root") as caught:
        await compute.propose("uid", study_of("failing"), past.request(), past)
    assert "in propose" in caught.value.__notes__[0]
    pid = pid_of(compute)
    await past.grow(compute)
    assert pid_of(compute) == pid
    await compute.close()


PARENT = """
import asyncio, os, sys
from trialbus_suggestion.adapters.compute import ProcessCompute
import {module} as tests

async def main():
    compute = ProcessCompute(tests.REGISTRY)
    await tests.Past().grow(compute)
    print(*compute.worker_pids, flush=True)
    await asyncio.sleep(600)

if __name__ == "__main__":
    asyncio.run(main())
"""


BUSY_PARENT = """
import asyncio
from trialbus_suggestion.adapters.compute import ProcessCompute
import {module} as tests

async def main():
    compute, past = ProcessCompute(tests.registry_of("Busy")), tests.Past()
    answer = asyncio.create_task(
        compute.propose("uid", tests.study_of("busy"), past.request(), past)
    )
    await answer

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("parent_code", [PARENT, BUSY_PARENT], ids=["idle", "computing"])
async def test_the_worker_dies_with_its_parent(parent_code: str, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    path = f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}\n"
    script.write_text(path + parent_code.format(module=HERE))
    command = [sys.executable, str(script)]
    with subprocess.Popen(  # noqa: ASYNC220
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as parent:
        try:
            assert parent.stdout is not None
            pid = int(await asyncio.to_thread(parent.stdout.readline))
            assert not is_gone(pid)
        finally:
            parent.kill()
    await until_gone(pid)
