"""`trialbus run` that is interrupted or killed leaves nothing behind, and goes on later."""

import asyncio
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from trialbus.local import stack_file
from trialbus.testkit.real_stack import RealStack, experiment_object
from trialbus.testkit.run_probes import is_alive
from trialbus.testkit.waits import until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

# `<trial> <attempt> <pid> begun|ended` in the probe file. Between the two a trial waits for the
# gate; the one that takes the pass, where there is one, goes on at once.
GATED = """\
import os, sys, time
folder, x = sys.argv[1:]

def say(what):
    trial, attempt = os.environ["TRIALBUS_TRIAL_NAME"], os.environ["TRIALBUS_ATTEMPT"]
    os.write(trace, f"{trial} {attempt} {os.getpid()} {what}\\n".encode())

def has_pass():
    try:
        os.unlink(f"{folder}/pass")
    except FileNotFoundError:
        return False
    return True

trace = os.open(f"{folder}/probe", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
say("begun")
print(f"loss={x}", flush=True)
if not has_pass():
    while not os.path.exists(f"{folder}/gate"):
        time.sleep(0.02)
say("ended")
"""
TRIALS = 12
PARALLEL = 3
DEADLINE_S = 90.0


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[RealStack]:
    stack = RealStack(tmp_path / "one", kill_grace_s="0.5")
    try:
        yield stack
    finally:
        stack.down()


def experiment(stack: RealStack, trials: int = TRIALS) -> str:
    """The file of one whose trials trace what they do, and end when the gate is there."""
    script = stack.folder / "gated.py"
    script.write_text(GATED)
    command = ["python", "-IS", str(script), str(stack.folder), "{x}"]
    return stack.write(experiment_object("tune", command, trials=trials, parallel=PARALLEL))


def open_gate(stack: RealStack) -> None:
    (stack.folder / "gate").touch()


def probe(stack: RealStack) -> Path:
    return stack.folder / "probe"


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


async def text_of(process: "subprocess.Popen[str]") -> str:
    """What it has said, once it has ended."""
    out, err = await asyncio.to_thread(process.communicate, timeout=DEADLINE_S)
    return out + err


def processes_of(stack: RealStack) -> list[int]:
    """Of the stack itself, without trials."""
    status = stack.status
    every = [status.pid, *(it.pid for it in (status.services | status.servers).values())]
    return [pid for pid in every if pid is not None]


def is_ready(stack: RealStack) -> bool:
    status = stack_file.read_running(stack.data)
    return status is not None and status.ready


async def until_gone(pids: Sequence[int]) -> None:
    await until(lambda: not any(is_alive(pid) for pid in pids), "no orphans", within_s=DEADLINE_S)


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
    (stack.folder / "pass").touch()
    with running(stack, file) as run:
        # The last of them has the place of the one that has ended, so that is recorded.
        await until_begun(stack, PARALLEL + 1)
        os.killpg(run.pid, number)
        told = await text_of(run)
        assert run.returncode == 130
        assert "interrupted: stopping its trials" in told
        assert "go on with: " in told
    await stack.until_nothing_runs(within_s=30)
    assert not stack_file.is_held(stack.data)
    begun, ended = trials_that(stack, "begun"), trials_that(stack, "ended")
    assert (len(begun), len(ended)) == (PARALLEL + 1, 1)
    open_gate(stack)
    done = await stack.cli("run", file, "--json")
    assert done.code == 0, done.err
    check_all_are_done(stack, json.loads(done.out))
    # Only what was interrupted ran again, as the next attempt.
    again = {trial: attempt for trial, attempt, _ in traces(stack, "begun") if attempt > 1}
    assert again == dict.fromkeys(begun - ended, 2)
    await stack.until_nothing_runs(within_s=30)


async def test_an_interruption_before_the_experiment_began_leaves_nothing(stack: RealStack) -> None:
    file = experiment(stack)
    with running(stack, file) as run:
        await until(lambda: stack_file.is_held(stack.data), "a stack is coming up")
        os.killpg(run.pid, signal.SIGINT)
        await text_of(run)
        assert run.returncode == 130
    await stack.until_nothing_runs()
    assert traces(stack, "begun") == []


@pytest.mark.parametrize("at_once", [True, False], ids=["while they run", "when they have ended"])
async def test_a_killed_run_takes_its_stack_along_and_its_trials_are_taken_over(
    stack: RealStack, at_once: bool
) -> None:
    """Trials belong to the folder, not to the processes that started them: they go on to their
    end, and the next run takes their results."""
    trials = 2 * PARALLEL
    file = experiment(stack, trials)
    with running(stack, file) as run:
        await until_begun(stack, PARALLEL)
        every = processes_of(stack)
        run.kill()
        await text_of(run)
    await until_gone(every)
    assert traces(stack, "ended") == []
    assert all(is_alive(pid) for _, _, pid in traces(stack, "begun"))
    if not at_once:
        open_gate(stack)
        await stack.until_nothing_runs()
        # They were not stopped: they have said all they had to say.
        assert sorted(traces(stack, "ended")) == sorted(traces(stack, "begun"))
    with running(stack, file, "--json") as again:
        if at_once:
            await until(lambda: is_ready(stack), "they are taken over", within_s=DEADLINE_S)
            open_gate(stack)
        out, err = await asyncio.to_thread(again.communicate, timeout=DEADLINE_S)
        assert again.returncode == 0, err
    check_all_are_done(stack, json.loads(out), trials)
    assert {attempt for _, attempt, _ in traces(stack, "begun")} == {1}


@pytest.mark.parametrize("interrupted", [False, True])
async def test_a_killed_supervisor_takes_all_along_and_the_run_says_so(
    stack: RealStack, interrupted: bool
) -> None:
    file = experiment(stack)
    with running(stack, file) as run:
        await until_begun(stack, PARALLEL)
        every = processes_of(stack)
        supervisor = stack.status.pid
        if interrupted:
            os.kill(supervisor, signal.SIGSTOP)  # so that the run is in the midst of stopping
            os.killpg(run.pid, signal.SIGINT)
        os.kill(supervisor, signal.SIGKILL)
        told = await text_of(run)
        assert run.returncode == (130 if interrupted else 1)
        assert "has ended" in told
    await until_gone(every)
    open_gate(stack)
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
    await stack.until_nothing_runs(within_s=30)


async def test_two_stacks_never_meet(stack: RealStack, tmp_path: Path) -> None:
    other = RealStack(tmp_path / "two")
    try:
        files = [experiment(each) for each in (stack, other)]
        open_gate(other)
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
        assert traces(stack, "ended") == []
        names = [{trial for trial, _, _ in traces(each, "begun")} for each in (stack, other)]
        assert not names[0] & names[1]
    finally:
        other.down()
