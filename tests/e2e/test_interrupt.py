"""`trialbus run` that is interrupted or killed leaves nothing behind, and goes on later."""

import asyncio
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from trialbus.local import stack_file
from trialbus.testkit.real_stack import RealStack, experiment_object
from trialbus.testkit.run_probes import is_alive
from trialbus.testkit.waits import until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

PROBED = Path(__file__).parents[1] / "data" / "trials" / "probed.py"
TRIALS = 12
PARALLEL = 3
POINTS = 10
DEADLINE_S = 60.0


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[RealStack]:
    stack = RealStack(tmp_path / "one", kill_grace_s="0.5")
    try:
        yield stack
    finally:
        stack.down()


def experiment(stack: RealStack, trial_s: float = 0.5, trials: int = TRIALS) -> str:
    """The file of one whose trials trace what they do."""
    command = ["python", "-IS", str(PROBED), str(probe(stack)), "{x}", str(POINTS)]
    durations = [str(trial_s), str(trial_s)]
    return stack.write(
        experiment_object("tune", [*command, *durations], trials=trials, parallel=PARALLEL)
    )


def probe(stack: RealStack) -> Path:
    return stack.folder / "tune.probe"


def traces(stack: RealStack, what: str) -> list[tuple[str, int, int]]:
    """Trial, attempt and pid of what the trials say."""
    if not probe(stack).exists():
        return []
    lines = [line.split() for line in probe(stack).read_text().splitlines()]
    return [(it[0], int(it[1]), int(it[2])) for it in lines if it[3] == what]


def trials_that(stack: RealStack, what: str) -> set[str]:
    return {trial for trial, _, _ in traces(stack, what)}


@contextmanager
def running(stack: RealStack, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """`trialbus run`, in a process group of its own; never longer than inside."""
    process = stack.start("run", *arguments)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def until_begun(stack: RealStack, trials: int) -> None:
    await until(
        lambda: len(traces(stack, "begun")) >= trials,
        f"{trials} trials have begun",
        within_s=DEADLINE_S,
    )


async def text_of(process: "subprocess.Popen[str]", within_s: float = DEADLINE_S) -> str:
    """What it has said, once it has ended."""
    out, err = await asyncio.to_thread(process.communicate, timeout=within_s)
    return out + err


def check_all_are_done(stack: RealStack, final: dict[str, Any], trials: int = TRIALS) -> None:
    """final: the experiment as `--json` prints it. Every trial has succeeded, once."""
    assert final["status"]["trialsSucceeded"] == final["status"]["trials"] == trials
    ended = Counter(trial for trial, _, _ in traces(stack, "ended"))
    assert ended == dict.fromkeys(ended, 1)
    assert len(ended) == trials
    begun = Counter((trial, attempt) for trial, attempt, _ in traces(stack, "begun"))
    assert set(begun.values()) == {1}
    assert {trial for trial, _ in begun} == set(ended)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_run_stops_everything_and_goes_on_later(
    stack: RealStack, number: signal.Signals
) -> None:
    file = experiment(stack)
    with running(stack, file) as run:
        await until_begun(stack, PARALLEL + 1)
        os.killpg(run.pid, number)
        told = await text_of(run)
        assert run.returncode == 130
        assert "interrupted: stopping its trials" in told
        assert "go on with: " in told
    await stack.until_nothing_runs(within_s=5)
    assert not stack_file.is_held(stack.data)
    begun, ended = trials_that(stack, "begun"), trials_that(stack, "ended")
    done = await stack.cli("run", file, "--json")
    assert done.code == 0, done.err
    check_all_are_done(stack, json.loads(done.out))
    # Only what was interrupted ran again, as the next attempt: the trials that had begun, and such
    # as were started and stopped before their first word.
    again = {trial: attempt for trial, attempt, _ in traces(stack, "begun") if attempt > 1}
    assert set(again.values()) == {2}
    assert begun - ended <= set(again)
    assert not ended & set(again)
    assert len(again) <= PARALLEL
    await stack.until_nothing_runs(within_s=5)


async def test_an_interruption_before_the_experiment_began_leaves_nothing(stack: RealStack) -> None:
    file = experiment(stack)
    with running(stack, file) as run:
        await until(lambda: stack_file.is_held(stack.data), "a stack is coming up", within_s=30)
        os.killpg(run.pid, signal.SIGINT)
        await text_of(run)
        assert run.returncode == 130
    await stack.until_nothing_runs(within_s=20)
    assert traces(stack, "begun") == []


@pytest.mark.parametrize("at_once", [True, False], ids=["while they run", "when they have ended"])
async def test_a_killed_run_takes_its_stack_along_and_its_trials_are_taken_over(
    stack: RealStack, at_once: bool
) -> None:
    """Trials belong to the folder, not to the processes that started them: they go on to their
    end, and the next run takes their results."""
    trials = 2 * PARALLEL
    file = experiment(stack, trial_s=6.0 if at_once else 1.0, trials=trials)
    with running(stack, file) as run:
        await until_begun(stack, PARALLEL)
        status = stack.status
        every = [status.pid, *(it.pid for it in (status.services | status.servers).values())]
        run.kill()
        await text_of(run)
    await until(
        lambda: not any(is_alive(pid) for pid in every if pid), "no orphans", within_s=DEADLINE_S
    )
    if at_once:
        assert traces(stack, "ended") == []
        assert all(is_alive(pid) for _, _, pid in traces(stack, "begun"))
    else:
        await stack.until_nothing_runs()
        # The last ones were not stopped: they have said all they had to say.
        assert sorted(traces(stack, "ended")) == sorted(traces(stack, "begun"))
    done = await stack.cli("run", file, "--json")
    assert done.code == 0, done.err
    check_all_are_done(stack, json.loads(done.out), trials)
    assert {attempt for _, attempt, _ in traces(stack, "begun")} == {1}


@pytest.mark.parametrize("interrupted", [False, True])
async def test_a_killed_supervisor_takes_all_along_and_the_run_says_so(
    stack: RealStack, interrupted: bool
) -> None:
    file = experiment(stack)
    with running(stack, file) as run:
        await until_begun(stack, PARALLEL)
        supervisor = stack.status.pid
        if interrupted:
            os.kill(supervisor, signal.SIGSTOP)  # so that the run is in the midst of stopping
            os.killpg(run.pid, signal.SIGINT)
        os.kill(supervisor, signal.SIGKILL)
        told = await text_of(run, within_s=20)
        assert run.returncode == (130 if interrupted else 1)
        assert "has ended" in told
    await stack.until_nothing_runs()
    done = await stack.cli("run", file, "--json")
    assert done.code == 0, done.err
    check_all_are_done(stack, json.loads(done.out))


async def test_a_failing_experiment_is_told_by_the_exit_code(stack: RealStack) -> None:
    done = await stack.cli(
        "run", stack.write(experiment_object("bad", ["/bin/sh", "-c", "echo {x}; exit 7"]))
    )
    assert done.code == 1, done.err
    assert "bad failed (ExperimentFailed): 1 failed" in done.out
    await stack.until_nothing_runs(within_s=5)


async def test_two_stacks_never_meet(stack: RealStack, tmp_path: Path) -> None:
    other = RealStack(tmp_path / "two")
    try:
        files = [experiment(each) for each in (stack, other)]
        with running(stack, files[0]) as one, running(other, files[1]) as two:
            await asyncio.gather(until_begun(stack, 1), until_begun(other, 1))
            states = [stack.status, other.status]
            addresses = [(it.http, it.grpc, it.nats, it.mongo) for it in states]
            assert not set(addresses[0]) & set(addresses[1])
            os.killpg(one.pid, signal.SIGINT)
            assert "interrupted" in await text_of(one)
            told = await text_of(two)
            assert (one.returncode, two.returncode) == (130, 0), told
        assert len(traces(other, "ended")) == TRIALS
        assert len(traces(stack, "ended")) < TRIALS
        names = [{trial for trial, _, _ in traces(each, "begun")} for each in (stack, other)]
        assert not names[0] & names[1]
    finally:
        other.down()
