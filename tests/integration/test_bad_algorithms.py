"""Algorithms that hang, die, are slow or behave badly: their own experiment has the damage."""

import asyncio
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from multiprocessing.context import SpawnProcess
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest

from trialbus.kernel.catalogue import AlgorithmDescription
from trialbus.kernel.errors import Refused, Transient
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import History, Proposal, ProposalRequest, Study
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.testkit.waits import until, until_sync
from trialbus_suggestion.adapters import compute as adapter
from trialbus_suggestion.adapters.compute import ProcessCompute
from trialbus_suggestion.core.catalogue import BUILT_IN
from trialbus_suggestion.core.registry import Registry

HERE = Path(__file__).stem
# A process of its own, with the libraries of all algorithms.
STARTS_WITHIN_S = 60.0
SPACE = (Parameter(name="x", type="int", min="0", max="100"),)

Start = Callable[..., Awaitable[ProcessCompute]]


class Plain:
    """Answers with zeros."""

    def __init__(self, study: Study) -> None:
        self.settings = dict(study.algorithm.settings)

    def restore(self, points: Any, marks: Any = ()) -> None: ...

    def tell(self, finished: Any) -> None: ...

    def propose(self, request: ProposalRequest, rng: Random) -> Proposal:
        return Proposal(points=(("0",),) * request.count)


class Gated(Plain):
    """Computes until the file that its setting names is there."""

    def propose(self, request: ProposalRequest, rng: Random) -> Proposal:
        gate = Path(self.settings["gate"])
        gate.with_suffix(".begun").touch()
        until_sync(gate.exists, "let through", within_s=60.0)
        return super().propose(request, rng)


class Leaving(Plain):
    def propose(self, request: ProposalRequest, rng: Random) -> Proposal:
        os._exit(3)


class Exiting(Plain):
    def propose(self, request: ProposalRequest, rng: Random) -> Proposal:
        sys.exit("enough")


class Once(Plain):
    """Ends its process the first time."""

    def propose(self, request: ProposalRequest, rng: Random) -> Proposal:
        told = Path(self.settings["gate"])
        if not told.exists():
            told.touch()
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().propose(request, rng)


class Forking(Plain):
    """Dies, and leaves behind a process that holds all it had."""

    def propose(self, request: ProposalRequest, rng: Random) -> Proposal:
        if os.fork() == 0:
            try:
                until_sync(Path(self.settings["gate"]).exists, "let through", within_s=60.0)
            finally:
                os._exit(0)
        os._exit(4)


class Noisy(Plain):
    """Prints, takes signals and threads for itself."""

    def propose(self, request: ProposalRequest, rng: Random) -> Proposal:
        print("\x00garbage\n" * 1000)
        os.write(1, b"\xff\xfe" * 1000)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        threading.Thread(target=threading.Event().wait, daemon=False).start()
        return super().propose(request, rng)


class Counting(Plain):
    """Proposes how many of its kind there are."""

    living: ClassVar["weakref.WeakSet[Counting]"] = weakref.WeakSet()

    def __init__(self, study: Study) -> None:
        super().__init__(study)
        self.living.add(self)

    def propose(self, request: ProposalRequest, rng: Random) -> Proposal:
        return Proposal(points=((str(len(self.living)),),) * request.count)


OWN = [
    AlgorithmDescription(name=kind.__name__.lower(), implementation=f"{HERE}:{kind.__name__}")
    for kind in (Plain, Gated, Leaving, Exiting, Once, Forking, Noisy, Counting)
]
OWN.append(AlgorithmDescription(name="missing", implementation="no_such_package:Algorithm"))


@pytest.fixture
async def start(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """The worker gets this process's import path."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    async with AsyncExitStack() as stack:

        async def started(**options: Any) -> ProcessCompute:
            compute = ProcessCompute(Registry([*BUILT_IN, *OWN]), **options)
            stack.push_async_callback(compute.close)
            return compute

        yield started


async def no_past(*, first: int, after: int | None) -> History:
    return History(first=first)


async def ask(
    compute: ProcessCompute, algorithm: str, uid: str = "", **settings: str
) -> tuple[tuple[str, ...], ...]:
    study = Study(
        parameters=SPACE,
        objective=ObjectiveType.MINIMIZE,
        algorithm=AlgorithmSpec(name=algorithm, settings=tuple(settings.items())),
    )
    request = ProposalRequest(number=1, first=0, count=1, watermark=0, seed=1)
    proposal = await compute.propose(uid or algorithm, study, request, no_past)
    return proposal.points


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


def let_through(gate: Path) -> None:
    gate.touch()


def begun(gate: Path) -> bool:
    return gate.with_suffix(".begun").exists()


async def test_three_slow_experiments_hold_neither_light_nor_fast_ones(
    start: Start, gate: Path
) -> None:
    compute = await start(processes=2)
    slow = [
        asyncio.create_task(ask(compute, "gated", f"slow-{i}", gate=str(gate))) for i in range(3)
    ]
    await until(lambda: begun(gate), "a slow one computes", within_s=STARTS_WITHIN_S)
    assert len(await ask(compute, "random")) == 1
    assert len(await ask(compute, "tpe")) == 1
    assert not any(it.done() for it in slow)
    # The slow one leaves the processor to others.
    own = os.getpriority(os.PRIO_PROCESS, 0)
    niceness = [os.getpriority(os.PRIO_PROCESS, pid) - own for pid in compute.worker_pids]
    assert sorted(niceness) == [0, min(10, 19 - own)]
    let_through(gate)
    assert await asyncio.gather(*slow) == [(("0",),)] * 3
    assert len(compute.worker_pids) == 2


async def test_an_experiment_that_turns_slow_is_moved_and_answers_there(
    start: Start, gate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = next(it for it in OWN if it.name == "gated")
    monkeypatch.setattr(adapter, "BUILT_IN", (*BUILT_IN, gated))
    monkeypatch.setattr("trialbus_suggestion.adapters.lanes.FAST_DEADLINE_S", 2.0)
    compute = await start(processes=2)
    slow = asyncio.create_task(ask(compute, "gated", gate=str(gate)))
    await until(lambda: begun(gate), "it computes", within_s=STARTS_WITHIN_S)
    [among_the_fast] = compute.worker_pids
    # It is in the way, until it is stopped there.
    assert len(await ask(compute, "tpe")) == 1
    assert not slow.done()
    assert among_the_fast not in compute.worker_pids
    let_through(gate)
    assert await slow == (("0",),)
    assert len(compute.worker_pids) == 2


async def test_an_experiment_that_proves_fast_comes_to_the_fast_ones(
    start: Start, gate: Path
) -> None:
    compute = await start(processes=2)
    assert await ask(compute, "plain") == (("0",),)
    deadline = time.monotonic() + STARTS_WITHIN_S
    while len(compute.worker_pids) < 2:
        assert await ask(compute, "plain") == (("0",),)
        assert time.monotonic() < deadline
    # There a slow one does not hold it.
    slow = asyncio.create_task(ask(compute, "gated", gate=str(gate)))
    await until(lambda: begun(gate), "it computes", within_s=STARTS_WITHIN_S)
    assert await ask(compute, "plain") == (("0",),)
    let_through(gate)
    await slow


async def test_one_that_hangs_is_refused_and_those_behind_it_answer(
    start: Start, gate: Path
) -> None:
    # What it needs is loaded in that time, too.
    compute = await start(processes=2, timeout_s=20.0)
    hanging = asyncio.create_task(ask(compute, "gated", gate=str(gate)))
    await until(lambda: begun(gate), "it computes", within_s=STARTS_WITHIN_S)
    behind = asyncio.create_task(ask(compute, "plain"))
    with pytest.raises(Refused, match="the algorithm gave no answer in 20 s"):
        await hanging
    assert await behind == (("0",),)


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        ("leaving", "the algorithm ended its process 2 times: exit code 3"),
        ("exiting", "SystemExit: enough"),
        ("forking", "the algorithm ended its process 2 times: exit code 4"),
        ("missing", "ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)
async def test_the_reason_of_a_bad_end_is_told(
    algorithm: str, message: str, start: Start, gate: Path
) -> None:
    compute = await start(processes=1)
    with pytest.raises(Refused, match=message):
        await ask(compute, algorithm, gate=str(gate))
    let_through(gate)
    assert await ask(compute, "plain") == (("0",),)


async def test_a_process_that_dies_once_costs_nothing(start: Start, gate: Path) -> None:
    compute = await start(processes=1)
    assert await ask(compute, "once", gate=str(gate)) == (("0",),)


async def test_noise_is_harmless(start: Start) -> None:
    compute = await start(processes=1)
    for _ in range(2):
        assert await ask(compute, "noisy") == (("0",),)
    await compute.close()
    assert compute.worker_pids == []


async def test_what_is_forgotten_takes_no_memory(start: Start) -> None:
    compute = await start(processes=1)
    assert await ask(compute, "counting", "a") == (("1",),)
    assert await ask(compute, "counting", "b") == (("2",),)
    compute.forget("a")
    compute.forget("b")
    assert await ask(compute, "counting", "c") == (("1",),)


async def test_a_machine_that_starts_no_process_is_waited_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise BlockingIOError("no more processes")

    compute = await start(processes=1)
    with monkeypatch.context() as patched:
        patched.setattr(SpawnProcess, "start", fail)
        with pytest.raises(Transient, match="no more processes"):
            await ask(compute, "plain")
    assert await ask(compute, "plain") == (("0",),)


async def test_closing_does_not_wait_for_what_computes(start: Start, gate: Path) -> None:
    compute = await start(processes=2)
    slow = asyncio.create_task(ask(compute, "gated", gate=str(gate)))
    await until(lambda: begun(gate), "it computes", within_s=STARTS_WITHIN_S)
    await compute.close()
    with pytest.raises(Transient, match="closed"):
        await slow


async def test_closing_while_the_past_is_read_is_no_fault_of_the_algorithm(start: Start) -> None:
    compute = await start(processes=1)

    async def closing(*, first: int, after: int | None) -> History:
        await compute.close()
        return History(first=first, points=(("0",),))

    algorithm = AlgorithmSpec(name="plain")
    study = Study(parameters=SPACE, objective=ObjectiveType.MINIMIZE, algorithm=algorithm)
    request = ProposalRequest(number=2, first=1, count=1, watermark=0, seed=1)
    with pytest.raises(Transient, match="closed"):
        await compute.propose("late", study, request, closing)


async def test_an_algorithm_that_is_not_built_in_computes_elsewhere(start: Start) -> None:
    compute = await start(processes=1)
    assert [compute.answers_at_once(name) for name in ("random", "tpe", "plain")] == [
        True, False, False,
    ]  # fmt: skip
