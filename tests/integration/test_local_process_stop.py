"""Stopping local processes: nothing of a run survives it, and nothing else is hit."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from trialbus.ports.launcher import RunPlan, RunState
from trialbus.testkit.run_probes import (
    WAIT_S,
    end_of,
    marked_processes,
    output_of,
    python,
    run,
    shell,
    sleeper,
    status_of,
    until_output,
)
from trialbus.testkit.waits import until
from trialbus_trial_launcher.adapters.local_process import LocalProcessLauncher, processes, spawn
from trialbus_trial_launcher.adapters.local_process.folders import CLAIM
from trialbus_trial_launcher.adapters.local_process.processes import open_marked

RUN = "0b1e.0.1"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Whatever a test leaves alive of its runs is killed."""
    folder = tmp_path / "runs"
    yield folder
    for pid in of_runs_in(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
async def launcher(folder: Path) -> AsyncIterator[LocalProcessLauncher]:
    launcher = LocalProcessLauncher(folder)
    yield launcher
    await launcher.close()


def of_runs_in(folder: Path) -> list[int]:
    """The pid of every process of any run below the folder."""
    return marked_processes(f"{spawn.FOLDER_VARIABLE}={folder}/")


# Stopping -----------------------------------------------------------------------------------------


async def test_sigterm_reaches_every_process_of_the_group_and_the_result_is_the_commands(
    launcher: LocalProcessLauncher,
) -> None:
    code = "trap 'echo child' TERM; sleep 600 & trap 'echo bye; exit 5' TERM; echo up; wait"
    await launcher.start([RunPlan(run_id=RUN, command=shell(code))])
    await until_output(launcher, RUN, b"up")
    await launcher.stop(RUN, reason="EarlyStopped", grace_s=60)
    status = await end_of(launcher, RUN)
    assert (status.exit_code, status.stop_reason) == (5, "EarlyStopped")
    assert await output_of(launcher, RUN) == b"up\nbye\n"


async def test_fifty_children_that_ignore_sigterm_and_leave_the_group_are_gone_after_a_stop(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    code = """
        import os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for number in range(50):
            if os.fork() == 0:
                if number % 2:
                    os.setsid()
                if number % 5 == 0:
                    os.closerange(0, 100)
                time.sleep(600)
        os.write(1, b"up")
        time.sleep(600)
    """
    await launcher.start([RunPlan(run_id=RUN, command=python(code))])
    await until_output(launcher, RUN, b"up")
    assert len(of_runs_in(folder)) == 52
    await launcher.stop(RUN, reason="EarlyStopped", grace_s=0.1)
    assert (await end_of(launcher, RUN)).signal == 9
    await until(lambda: not of_runs_in(folder), "all are gone", within_s=15)


async def test_a_chain_of_processes_that_a_finished_command_left_is_ended(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    # Each child moves to a session of its own, forks the next and ends: never more than a few.
    code = """
        import os, time
        os.write(1, b"up")
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if os.fork() != 0:
                os._exit(0)
            os.setsid()
    """
    await launcher.start([RunPlan(run_id=RUN, command=python(code))])
    await until_output(launcher, RUN, b"up")
    await end_of(launcher, RUN)
    await until(lambda: not of_runs_in(folder), "all are gone", within_s=15)


@pytest.mark.parametrize(
    "left",
    ["sleep 600 &", "sleep 600 9>&- &", "setsid sleep 600 &"],
    ids=["in its group", "in its group without the lock", "in another session with the lock"],
)
async def test_what_a_finished_command_left_in_the_background_is_ended(
    folder: Path, launcher: LocalProcessLauncher, left: str
) -> None:
    status, _ = await run(launcher, RunPlan(run_id=RUN, command=shell(f"{left} exit 3")))
    assert (status.state, status.exit_code) == (RunState.FINISHED, 3)
    await until(lambda: not of_runs_in(folder), "all are gone", within_s=15)


async def test_what_was_left_while_no_launcher_lived_is_ended_by_the_next(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    first = LocalProcessLauncher(folder)
    await first.start([RunPlan(run_id=RUN, command=shell("setsid sleep 600 & exit 3"))])
    await first.close()
    await until(lambda: b"exit 3\n" in (folder / RUN / CLAIM).read_bytes(), "it ends")
    assert len(of_runs_in(folder)) >= 1
    assert (await status_of(launcher, RUN)).exit_code == 3
    await until(lambda: not of_runs_in(folder), "all are gone", within_s=15)


async def test_a_recycled_pid_is_never_signalled(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    """The journal names the pid of a stranger, and the lock is held: the worst case."""
    stranger = sleeper(dict(os.environ))
    try:
        first = LocalProcessLauncher(folder)
        await first.start([RunPlan(run_id=RUN, command=shell("echo $PPID; exec sleep 600"))])
        await until_output(first, RUN, b"\n")
        await first.close()
        wrapper = int(await output_of(launcher, RUN))
        claim = folder / RUN / CLAIM
        journal = claim.read_bytes().replace(b"pid %d\n" % wrapper, b"pid %d\n" % stranger.pid)
        claim.write_bytes(journal)
        assert open_marked(stranger.pid, b"TRIALBUS_RUN_FOLDER=" + bytes(folder / RUN)) is None
        await launcher.stop(RUN, reason="EarlyStopped", grace_s=0)
        assert (await end_of(launcher, RUN)).stop_reason == "EarlyStopped"
        assert of_runs_in(folder) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_without_group_signals_by_pidfd_an_older_kernel_does_as_well(
    folder: Path, launcher: LocalProcessLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = signal.pidfd_send_signal

    def older_kernel(pidfd: int, number: int, info: None = None, flags: int = 0) -> None:
        if flags:
            raise OSError(22, "Invalid argument")
        real(pidfd, number)

    monkeypatch.setattr(signal, "pidfd_send_signal", older_kernel)
    await launcher.start([RunPlan(run_id=RUN, command=shell("sleep 600 & echo up; sleep 600"))])
    await until_output(launcher, RUN, b"up")
    await launcher.stop(RUN, reason="EarlyStopped", grace_s=60)
    assert (await end_of(launcher, RUN)).signal == 15
    await until(lambda: not of_runs_in(folder), "all are gone", within_s=15)


async def test_a_run_that_writes_more_than_the_limit_is_stopped(folder: Path) -> None:
    launcher = LocalProcessLauncher(folder, max_output_bytes=1_000_000)
    await launcher.start([RunPlan(run_id=RUN, command=("yes",))])

    async def is_over() -> bool:
        return (await status_of(launcher, RUN)).state is RunState.FINISHED

    await until(is_over, "it is stopped", within_s=WAIT_S)
    status = await status_of(launcher, RUN)
    assert (status.signal, status.stop_reason) == (15, "OutputLimit")
    assert status.output_bytes > 1_000_000
    await launcher.close()


async def test_a_sweep_ends_marked_processes_and_nothing_else(tmp_path: Path) -> None:
    mark = f"{spawn.FOLDER_VARIABLE}={tmp_path}/x"
    env = {**os.environ, spawn.FOLDER_VARIABLE: f"{tmp_path}/x"}
    longer = {**os.environ, spawn.FOLDER_VARIABLE: f"{tmp_path}/xy"}
    marked = sleeper(env)
    other = sleeper(longer)
    try:
        await asyncio.to_thread(processes.kill_marked, {mark.encode()})
        assert marked.wait(WAIT_S) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for process in (marked, other):
            process.kill()
            process.wait()
