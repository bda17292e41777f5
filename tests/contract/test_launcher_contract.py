"""What every Launcher promises, checked on real processes and on the one of the simulations."""

import asyncio
import itertools
import shlex
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from trialbus.kernel.errors import Refused
from trialbus.ports.launcher import Launcher, PrivateFile, RunPlan, RunState, RunStatus
from trialbus.testkit.memory_launcher import HANG, LOST, MemoryWorld, Script
from trialbus.testkit.waits import until
from trialbus_trial_launcher.adapters.local_process import LocalProcessLauncher

WAIT_S = 20.0


class Bench(Protocol):
    """One place where runs execute, and the means to put a script there."""

    def launcher(self) -> Launcher: ...

    def crash(self, launcher: Launcher) -> None:
        """The launcher is gone without a word; the place is not."""

    def plan(self, run_id: str, script: Script, *, deadline_s: float | None = None) -> RunPlan: ...

    def starts(self, run_id: str) -> int:
        """How often the script was executed."""


class MemoryBench:
    def __init__(self) -> None:
        self._scripts: dict[str, Script] = {}
        self._world = MemoryWorld(lambda run_id, _plan: self._scripts[run_id])

    def launcher(self) -> Launcher:
        return self._world.launcher()

    def crash(self, launcher: Launcher) -> None:
        launcher.crash()  # type: ignore[attr-defined]

    def plan(self, run_id: str, script: Script, *, deadline_s: float | None = None) -> RunPlan:
        self._scripts[run_id] = script
        return RunPlan(
            run_id=run_id,
            command=("scripted",),
            deadline_s=deadline_s,
            files={"beside.txt": "a note\n"},
        )

    def starts(self, run_id: str) -> int:
        return self._world.starts[run_id]


class LocalBench:
    """Scripts become shell scripts; each execution adds a line to a probe file.

    A crashed launcher is one that is never asked again (and closed at the end of the test)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def launcher(self) -> Launcher:
        return LocalProcessLauncher(self._folder / "runs")

    def crash(self, launcher: Launcher) -> None:
        pass

    def plan(self, run_id: str, script: Script, *, deadline_s: float | None = None) -> RunPlan:
        lines = [f"echo started >> {shlex.quote(str(self._probe(run_id)))}"]
        if script.ignores_sigterm:
            lines.append("trap '' TERM")
        at = 0.0
        said = [(after_s, "", data) for after_s, data in script.output]
        for after_s, path, data in sorted((*said, *script.files), key=lambda it: it[0]):
            lines += [f"sleep {after_s - at}"] if after_s > at else []
            lines.append(f"printf %s {shlex.quote(data.decode())}{_to(path)}")
            at = after_s
        if script.duration_s is None:
            lines.append("exec sleep 600")
        elif script.duration_s > at:
            lines.append(f"sleep {script.duration_s - at}")
        if script.is_lost:
            lines += ["kill -9 $PPID", "exec sleep 600"]
        elif script.signal is not None:
            lines.append(f"kill -{script.signal} $$")
        else:
            lines.append(f"exit {script.exit_code}")
        command = ("/bin/sh", "-c", "\n".join(lines))
        return RunPlan(
            run_id=run_id,
            command=command,
            deadline_s=deadline_s,
            folders=tuple(str(Path(path).parent) for _, path, _ in script.files),
            files={"beside.txt": "a note\n"},
        )

    def starts(self, run_id: str) -> int:
        probe = self._probe(run_id)
        return probe.read_text().count("started") if probe.exists() else 0

    def _probe(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.probe"


def _to(path: str) -> str:
    """Where `printf` writes: the output, or a private file."""
    if not path:
        return ""
    folder = '"$TRIALBUS_RUN_FOLDER/private"'
    return f" >> {folder}/{path} || exit 99"


@pytest.fixture(params=["memory", "local"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return MemoryBench() if request.param == "memory" else LocalBench(tmp_path)


@pytest.fixture
async def launcher(bench: Bench) -> AsyncIterator[Launcher]:
    launcher = bench.launcher()
    yield launcher
    await launcher.close()


_numbers = itertools.count()


@pytest.fixture
async def run_id(launcher: Launcher) -> AsyncIterator[str]:
    run_id = f"5f0c.{next(_numbers)}.1"
    yield run_id
    await launcher.stop(run_id, reason="end of test", grace_s=0.0)
    await ended_status(launcher, run_id)


async def status_of(launcher: Launcher, run_id: str) -> RunStatus:
    return (await launcher.status([run_id]))[run_id]


async def ended_status(launcher: Launcher, run_id: str) -> RunStatus:
    async def is_over() -> bool:
        return (await status_of(launcher, run_id)).state is not RunState.RUNNING

    await until(is_over, f"{run_id} ends", within_s=WAIT_S)
    return await status_of(launcher, run_id)


async def wait_for_end(launcher: Launcher, run_id: str) -> RunStatus:
    """By the event alone: asks for the status once, after it."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if run_id in await launcher.ended(timeout_s=WAIT_S):
            return await status_of(launcher, run_id)
    raise AssertionError(f"no word of the end of {run_id}")


async def wait_for_output(launcher: Launcher, run_id: str, expected: bytes) -> None:
    async def has_written() -> bool:
        return await launcher.read(run_id, 0, 1000) == expected

    await until(has_written, f"{run_id} writes {expected!r}", within_s=WAIT_S)


async def test_a_run_that_was_never_started_is_absent(launcher: Launcher) -> None:
    assert await launcher.status(["5f0c.77.1"]) == {
        "5f0c.77.1": RunStatus(run_id="5f0c.77.1", state=RunState.ABSENT)
    }
    assert await launcher.read("5f0c.77.1", 0, 100) == b""


@pytest.mark.parametrize("exit_code", [0, 3, 126, 127, 137, 200, 255])
async def test_a_run_ends_with_the_exit_code_of_its_command(
    bench: Bench, launcher: Launcher, run_id: str, exit_code: int
) -> None:
    await launcher.start([bench.plan(run_id, Script(exit_code=exit_code))])
    status = await wait_for_end(launcher, run_id)
    assert (status.state, status.exit_code, status.signal) == (RunState.FINISHED, exit_code, None)
    assert (status.stop_reason, status.message) == ("", "")


@pytest.mark.parametrize("signal", [1, 2, 6, 9, 11, 13, 15])
async def test_a_run_that_a_signal_ended_says_which(
    bench: Bench, launcher: Launcher, run_id: str, signal: int
) -> None:
    await launcher.start([bench.plan(run_id, Script(exit_code=None, signal=signal))])
    status = await wait_for_end(launcher, run_id)
    assert (status.state, status.exit_code, status.signal) == (RunState.FINISHED, None, signal)
    assert status.stop_reason == ""


async def test_the_output_is_read_from_any_byte_and_counted(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    script = Script(output=((0.0, b"loss=0.5\n"), (0.1, b"loss=0.25\n")), duration_s=0.1)
    await launcher.start([bench.plan(run_id, script)])
    status = await wait_for_end(launcher, run_id)
    assert status.output_bytes == 19
    assert await launcher.read(run_id, 0, 1000) == b"loss=0.5\nloss=0.25\n"
    assert await launcher.read(run_id, 9, 4) == b"loss"
    assert await launcher.read(run_id, 19, 1000) == b""
    assert await launcher.read(run_id, 1000, 1000) == b""


async def test_the_output_of_a_running_run_is_there_as_it_comes(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    await launcher.start([bench.plan(run_id, Script(output=((0.0, b"first\n"),), duration_s=None))])
    await wait_for_output(launcher, run_id, b"first\n")
    status = await status_of(launcher, run_id)
    assert (status.state, status.output_bytes) == (RunState.RUNNING, 6)
    assert (status.exit_code, status.signal, status.finished_at) == (None, None, None)


async def test_private_files_are_listed_and_read_while_they_grow(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    script = Script(
        files=(
            (0.0, "logs/b/two.log", b"22"),
            (0.0, "logs/one.log", b"first\n"),
            (0.0, "other/three.log", b"3"),
            (0.2, "logs/one.log", b"second\n"),
        ),
        output=((0.1, b"wrote\n"),),
        duration_s=0.2,
    )
    await launcher.start([bench.plan(run_id, script)])
    await wait_for_output(launcher, run_id, b"wrote\n")
    assert await launcher.read_private(run_id, "logs/one.log", 0, 6) == b"first\n"
    assert (await wait_for_end(launcher, run_id)).exit_code == 0
    assert list(await launcher.private_files(run_id, "logs")) == [
        PrivateFile(path="b/two.log", size_bytes=2),
        PrivateFile(path="one.log", size_bytes=13),
    ]
    assert len(await launcher.private_files(run_id, "")) == 3
    assert await launcher.read_private(run_id, "logs/one.log", 6, 3) == b"sec"
    assert await launcher.read_private(run_id, "logs/one.log", 13, 100) == b""


async def test_private_files_that_are_not_there_are_empty(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    await launcher.start([bench.plan(run_id, Script())])
    await wait_for_end(launcher, run_id)
    for asked in (run_id, "5f0c.77.1"):
        assert list(await launcher.private_files(asked, "logs")) == []
        assert await launcher.read_private(asked, "logs/one.log", 0, 100) == b""


async def test_notes_are_kept_beside_a_run_for_the_next_launcher_and_only_at_their_end(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    await launcher.start([bench.plan(run_id, Script())])
    await wait_for_end(launcher, run_id)
    assert await launcher.read_kept(run_id, "beside.txt", 2, 100) == b"note\n"
    assert await launcher.read_kept(run_id, "spool.jsonl", 0, 100) == b""
    assert await launcher.keep(run_id, "spool.jsonl", 0, b"one\n")
    assert not await launcher.keep(run_id, "spool.jsonl", 0, b"another\n")
    assert not await launcher.keep(run_id, "spool.jsonl", 5, b"another\n")
    assert await launcher.keep(run_id, "spool.jsonl", 4, b"two\n")
    second = bench.launcher()
    assert await second.read_kept(run_id, "spool.jsonl", 0, 100) == b"one\ntwo\n"
    await second.close()
    assert not await launcher.keep("5f0c.77.1", "spool.jsonl", 0, b"one\n")


async def test_times_are_those_of_the_run(bench: Bench, launcher: Launcher, run_id: str) -> None:
    await launcher.start([bench.plan(run_id, Script(duration_s=0.3))])
    started_at = (await status_of(launcher, run_id)).started_at
    status = await wait_for_end(launcher, run_id)
    assert started_at is not None and status.finished_at is not None
    assert status.started_at == started_at
    assert 0.28 <= status.finished_at - started_at < WAIT_S


async def test_a_run_id_starts_once_however_often_it_is_asked_for(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    plan = bench.plan(run_id, Script(exit_code=4))
    await launcher.start([plan, plan])
    await asyncio.gather(*(launcher.start([plan]) for _ in range(5)))
    await wait_for_end(launcher, run_id)
    await launcher.start([plan])
    assert (await status_of(launcher, run_id)).exit_code == 4
    assert bench.starts(run_id) == 1


async def test_the_next_launcher_adopts_a_run_and_hears_of_its_end(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    first = bench.launcher()
    script = Script(output=((0.0, b"hello\n"),), duration_s=0.3, exit_code=5)
    await first.start([bench.plan(run_id, script)])
    bench.crash(first)
    assert (await status_of(launcher, run_id)).state is RunState.RUNNING
    await launcher.start([bench.plan(run_id, script)])
    assert (await wait_for_end(launcher, run_id)).exit_code == 5
    assert await launcher.read(run_id, 0, 100) == b"hello\n"
    assert bench.starts(run_id) == 1
    await first.close()


async def test_the_end_of_a_run_without_a_launcher_is_found(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    first = bench.launcher()
    await first.start([bench.plan(run_id, Script(exit_code=6))])
    bench.crash(first)
    assert (await ended_status(launcher, run_id)).exit_code == 6
    await first.close()


async def test_a_run_that_left_no_result_is_lost_and_never_starts_again(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    plan = bench.plan(run_id, LOST)
    await launcher.start([plan])
    status = await wait_for_end(launcher, run_id)
    assert (status.state, status.exit_code, status.signal) == (RunState.LOST, None, None)
    assert (status.finished_at, status.stop_reason) == (None, "")
    await launcher.start([plan])
    assert (await status_of(launcher, run_id)).state is RunState.LOST
    assert bench.starts(run_id) == 1


async def test_stop_ends_a_run_by_sigterm_and_keeps_the_first_reason(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    script = Script(output=((0.0, b"up\n"),), duration_s=None)
    await launcher.start([bench.plan(run_id, script)])
    await wait_for_output(launcher, run_id, b"up\n")
    await launcher.stop(run_id, reason="EarlyStopped", grace_s=60.0)
    await launcher.stop(run_id, reason="another", grace_s=60.0)
    status = await wait_for_end(launcher, run_id)
    assert (status.state, status.signal, status.exit_code) == (RunState.FINISHED, 15, None)
    assert status.stop_reason == "EarlyStopped"
    await launcher.stop(run_id, reason="too late", grace_s=60.0)
    assert await status_of(launcher, run_id) == status


async def test_a_run_that_ignores_sigterm_is_killed_after_the_grace(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    script = Script(output=((0.0, b"up\n"),), duration_s=None, ignores_sigterm=True)
    await launcher.start([bench.plan(run_id, script)])
    await wait_for_output(launcher, run_id, b"up\n")
    await launcher.stop(run_id, reason="EarlyStopped", grace_s=0.2)
    running = await status_of(launcher, run_id)
    assert (running.state, running.stop_reason) == (RunState.RUNNING, "EarlyStopped")
    status = await wait_for_end(launcher, run_id)
    assert (status.state, status.signal) == (RunState.FINISHED, 9)
    assert (status.exit_code, status.stop_reason) == (None, "EarlyStopped")


async def test_a_run_that_another_launcher_started_can_be_stopped(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    first = bench.launcher()
    await first.start([bench.plan(run_id, Script(output=((0.0, b"up\n"),), duration_s=None))])
    bench.crash(first)
    await wait_for_output(launcher, run_id, b"up\n")
    await launcher.stop(run_id, reason="GoalReached", grace_s=60.0)
    status = await wait_for_end(launcher, run_id)
    assert (status.signal, status.stop_reason) == (15, "GoalReached")
    await first.close()


async def test_a_run_that_was_stopped_before_its_start_never_starts(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    await launcher.stop(run_id, reason="GoalReached", grace_s=1.0)
    await launcher.start([bench.plan(run_id, HANG)])
    status = await status_of(launcher, run_id)
    assert (status.state, status.stop_reason) == (RunState.FINISHED, "GoalReached")
    assert (status.exit_code, status.signal, status.started_at) == (None, None, None)
    assert status.message == "stopped before it started"
    assert bench.starts(run_id) == 0


async def test_a_run_past_its_deadline_is_stopped(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    await launcher.start([bench.plan(run_id, HANG, deadline_s=0.2)])
    status = await wait_for_end(launcher, run_id)
    assert (status.signal, status.stop_reason) == (15, "DeadlineExceeded")


async def test_an_adopted_run_keeps_its_deadline(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    first = bench.launcher()
    await first.start([bench.plan(run_id, HANG, deadline_s=0.3)])
    bench.crash(first)
    await first.close()
    assert (await status_of(launcher, run_id)).state is RunState.RUNNING
    assert (await wait_for_end(launcher, run_id)).stop_reason == "DeadlineExceeded"


async def test_a_run_that_ends_before_its_deadline_is_left_alone(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    await launcher.start([bench.plan(run_id, Script(exit_code=0), deadline_s=60.0)])
    assert (await wait_for_end(launcher, run_id)).stop_reason == ""


async def test_nothing_ended_is_told_after_the_timeout(launcher: Launcher) -> None:
    assert list(await launcher.ended(timeout_s=0.01)) == []


async def test_each_end_is_told_once(bench: Bench, launcher: Launcher, run_id: str) -> None:
    await launcher.start([bench.plan(run_id, Script())])
    await wait_for_end(launcher, run_id)
    assert list(await launcher.ended(timeout_s=0.05)) == []


async def test_what_is_forgotten_leaves_nothing_behind(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    await launcher.start([bench.plan(run_id, Script(output=((0.0, b"x"),)))])
    await wait_for_end(launcher, run_id)
    await launcher.forget([run_id, "5f0c.88.1"])
    assert (await status_of(launcher, run_id)).state is RunState.ABSENT
    assert await launcher.read(run_id, 0, 10) == b""


async def test_a_live_run_is_not_forgotten_but_all_others_are(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    other = f"{run_id}0"
    await launcher.start([bench.plan(other, Script())])
    await wait_for_end(launcher, other)
    await launcher.start([bench.plan(run_id, HANG)])
    with pytest.raises(Refused) as refusal:
        await launcher.forget([run_id, other])
    assert [problem.field for problem in refusal.value.problems] == [run_id]
    states: Sequence[RunStatus] = list((await launcher.status([run_id, other])).values())
    assert [status.state for status in states] == [RunState.RUNNING, RunState.ABSENT]


async def test_runs_go_on_when_the_launcher_leaves(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    first = bench.launcher()
    script = Script(output=((0.0, b"one\n"), (0.3, b"two\n")), duration_s=0.3)
    await first.start([bench.plan(run_id, script)])
    await first.close()
    assert (await ended_status(launcher, run_id)).exit_code == 0
    assert await launcher.read(run_id, 0, 100) == b"one\ntwo\n"
