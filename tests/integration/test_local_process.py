"""Runs as local processes under crashes and races: started once, adopted, never lost in silence."""

import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from trialbus.kernel.errors import Transient
from trialbus.ports.launcher import RunPlan, RunState, RunStatus
from trialbus.testkit.run_probes import (
    WAIT_S,
    end_of,
    is_alive,
    launcher_process,
    marked_processes,
    names_in,
    output_of,
    run,
    shell,
    status_of,
    until_output,
    zombies,
)
from trialbus.testkit.waits import until, until_sync
from trialbus_trial_launcher.adapters.local_process import LocalProcessLauncher, folders, spawn
from trialbus_trial_launcher.adapters.local_process.folders import CLAIM

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


# Started once -------------------------------------------------------------------------------------


async def test_a_run_survives_kill_9_of_its_launcher_and_is_adopted(
    folder: Path, launcher: LocalProcessLauncher, tmp_path: Path
) -> None:
    probe = tmp_path / "probe"
    command = shell(
        f"echo x >> {probe}; echo up; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 7"
    )
    starter = launcher_process(
        folder,
        f"""
        await launcher.start([RunPlan(run_id={RUN!r}, command={command!r})])
        os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    assert starter.wait(WAIT_S) == -signal.SIGKILL
    assert (await status_of(launcher, RUN)).state is RunState.RUNNING
    await launcher.start([RunPlan(run_id=RUN, command=command)])
    await until_output(launcher, RUN, b"up")
    (tmp_path / "go").touch()
    assert (await end_of(launcher, RUN)).exit_code == 7
    assert probe.read_text() == "x\n"


async def test_of_twenty_launchers_that_start_the_same_runs_one_wins_each(
    folder: Path, launcher: LocalProcessLauncher, tmp_path: Path
) -> None:
    probe, runs = tmp_path / "probe", [f"0b1e.{i}.1" for i in range(5)]
    # Who is ready sleeps, and lets the others become so; then all wait without sleep.
    soon, go = tmp_path / "soon", tmp_path / "go"
    racers = [
        launcher_process(
            folder,
            f"""
            # The worst case: all have looked before any of them was there.
            launcher._folders.exists = lambda _run_id: False
            command = ("/bin/sh", "-c", 'echo "$0" >> {probe}')
            plans = [RunPlan(run_id=run_id, command=(*command, run_id)) for run_id in {runs!r}]
            print("ready", file=open({str(tmp_path)!r} + "/ready." + sys.argv[1], "w"))
            while not os.path.exists({str(soon)!r}):  # and nobody waits for an orphan
                if os.getppid() == 1: sys.exit(3)
                await asyncio.sleep(0.01)
            print("awake", file=open({str(tmp_path)!r} + "/awake." + sys.argv[1], "w"))
            while not os.path.exists({str(go)!r}):
                if os.getppid() == 1: sys.exit(3)
            await launcher.start(plans)
            """,
            str(number),
        )
        for number in range(20)
    ]
    await until(lambda: len(list(tmp_path.glob("ready.*"))) == 20, "all ready", within_s=90)
    soon.touch()
    await until(lambda: len(list(tmp_path.glob("awake.*"))) == 20, "all awake", within_s=90)
    go.touch()
    assert [racer.wait(WAIT_S) for racer in racers] == [0] * 20

    async def all_ended() -> bool:
        found = await launcher.status(runs)
        return all(status.state is RunState.FINISHED for status in found.values())

    await until(all_ended, "all ended", within_s=WAIT_S)
    assert sorted(probe.read_text().split()) == runs
    assert names_in(folder) == runs


@pytest.mark.parametrize("moment", ["posix_spawn", "rename"])
async def test_a_launcher_that_dies_before_the_spawn_leaves_no_second_start(
    folder: Path, launcher: LocalProcessLauncher, tmp_path: Path, moment: str
) -> None:
    probe = tmp_path / "probe"
    command = shell(f"echo x >> {probe}")
    starter = launcher_process(
        folder,
        f"""
        os.{moment} = lambda *_a, **_k: os.kill(os.getpid(), signal.SIGKILL)
        await launcher.start([RunPlan(run_id={RUN!r}, command={command!r})])
        """,
    )
    assert starter.wait(WAIT_S) == -signal.SIGKILL
    expected = RunState.LOST if moment == "posix_spawn" else RunState.ABSENT
    assert (await status_of(launcher, RUN)).state is expected
    await launcher.start([RunPlan(run_id=RUN, command=command)])
    if expected is RunState.ABSENT:
        assert (await end_of(launcher, RUN)).exit_code == 0
        assert probe.read_text() == "x\n"
    else:
        assert (await status_of(launcher, RUN)).state is RunState.LOST
        assert not probe.exists()


def until_started(folder: Path, count: int) -> None:
    until_sync(lambda: len(list(folder.glob("0b1e.*"))) >= count, f"{count} runs", within_s=WAIT_S)


async def test_launchers_that_are_killed_at_any_moment_start_each_run_at_most_once(
    folder: Path, launcher: LocalProcessLauncher, tmp_path: Path
) -> None:
    probe, runs = tmp_path / "probe", [f"0b1e.{i}.1" for i in range(120)]
    probing = ("/bin/sh", "-c", f'echo "$0" >> {probe}')
    body = f"""
        plans = [RunPlan(run_id=run_id, command=(*{probing!r}, run_id)) for run_id in {runs!r}]
        for plan in plans:
            await launcher.start([plan])
        await asyncio.Event().wait()  # to be killed in any case
    """
    for kill in range(12):
        starter = launcher_process(folder, body)
        until_started(folder, 5 + 8 * kill)
        starter.kill()
        assert starter.wait(WAIT_S) == -signal.SIGKILL
    await launcher.start([RunPlan(run_id=run_id, command=(*probing, run_id)) for run_id in runs])

    async def all_over() -> bool:
        states = {status.state for status in (await launcher.status(runs)).values()}
        return states <= {RunState.FINISHED, RunState.LOST}

    await until(all_over, "all over", within_s=WAIT_S)
    executed = probe.read_text().split()
    assert len(executed) == len(set(executed)), "a run was executed twice"
    finished = [r for r, s in (await launcher.status(runs)).items() if s.state is RunState.FINISHED]
    assert set(finished) <= set(executed)
    # Whatever was not executed is visible as lost; a kill costs one run at most.
    assert len(executed) >= len(runs) - 12


async def test_a_killed_wrapper_takes_its_command_along_and_the_run_is_lost(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    await launcher.start([RunPlan(run_id=RUN, command=shell("echo $PPID; exec sleep 600"))])
    await until_output(launcher, RUN, b"\n")
    os.kill(int(await output_of(launcher, RUN)), signal.SIGKILL)
    status = await end_of(launcher, RUN)
    assert (status.state, status.stop_reason) == (RunState.LOST, "")
    assert of_runs_in(folder) == []


async def test_a_wrapper_that_was_killed_while_no_launcher_lived_ends_as_lost(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    first = LocalProcessLauncher(folder)
    await first.start([RunPlan(run_id=RUN, command=shell("echo $PPID; exec sleep 600"))])
    await until_output(first, RUN, b"\n")
    await first.close()
    wrapper = int(await output_of(launcher, RUN))
    os.kill(wrapper, signal.SIGKILL)
    await until(lambda: not is_alive(wrapper), "the wrapper is gone")
    assert (await status_of(launcher, RUN)).state is RunState.RUNNING  # the command computes on
    assert (await end_of(launcher, RUN)).state is RunState.LOST
    assert of_runs_in(folder) == []


async def test_a_stop_outlives_the_launcher_that_was_asked_for_it(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    first = LocalProcessLauncher(folder)
    await first.start([RunPlan(run_id=RUN, command=shell("trap '' TERM; echo up; sleep 600"))])
    await until_output(first, RUN, b"up")
    await first.stop(RUN, reason="GoalReached", grace_s=0.3)
    await first.close()
    assert (await status_of(launcher, RUN)).state is RunState.RUNNING
    status = await end_of(launcher, RUN)
    assert (status.signal, status.stop_reason) == (9, "GoalReached")


async def test_a_stop_of_a_run_whose_launcher_died_between_kill_and_result_is_settled(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    first = LocalProcessLauncher(folder)
    await first.start([RunPlan(run_id=RUN, command=shell("trap '' TERM; echo up; sleep 600"))])
    await until_output(first, RUN, b"up")
    await first.stop(RUN, reason="GoalReached", grace_s=600)
    await first.close()
    for pid in of_runs_in(folder):
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not of_runs_in(folder), "all are gone", within_s=15)
    status = await status_of(launcher, RUN)
    assert (status.state, status.signal) == (RunState.FINISHED, 9)
    assert status.stop_reason == "GoalReached"
    finished_at = (await status_of(launcher, RUN)).finished_at
    assert (await status_of(launcher, RUN)).finished_at == finished_at is not None


async def test_a_place_that_cannot_spawn_now_gives_the_claim_back(
    folder: Path, launcher: LocalProcessLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_processes(*_arguments: object, **_options: object) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_spawn", out_of_processes)
        with pytest.raises(Transient, match="temporarily unavailable"):
            await launcher.start([RunPlan(run_id=RUN, command=("true",))])
    assert (await status_of(launcher, RUN)).state is RunState.ABSENT
    assert (await run(launcher, RunPlan(run_id=RUN, command=("true",))))[0].exit_code == 0


async def test_a_claim_that_a_power_failure_emptied_is_lost_and_not_started(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    (folder / RUN).mkdir()
    (folder / RUN / CLAIM).touch()
    await launcher.start([RunPlan(run_id=RUN, command=("true",))])
    assert await status_of(launcher, RUN) == RunStatus(run_id=RUN, state=RunState.LOST)


async def test_a_run_that_ends_between_the_looks_at_result_and_lock_is_not_lost(
    folder: Path, launcher: LocalProcessLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(launcher, RunPlan(run_id=RUN, command=("true",)))
    claim = folder / RUN / CLAIM
    complete = claim.read_bytes()
    claim.write_bytes(complete.removesuffix(b"exit 0\n"))

    def ends_just_now(_descriptor: int) -> bool:
        claim.write_bytes(complete)
        return False

    monkeypatch.setattr(folders, "_is_locked", ends_just_now)
    assert (await status_of(launcher, RUN)).exit_code == 0


async def test_a_torn_result_is_no_result(folder: Path, launcher: LocalProcessLauncher) -> None:
    await run(launcher, RunPlan(run_id=RUN, command=("true",)))
    claim = folder / RUN / CLAIM
    claim.write_bytes(claim.read_bytes()[:-1])
    assert (await status_of(launcher, RUN)).state is RunState.LOST


# Resources ----------------------------------------------------------------------------------------


async def test_a_line_of_a_hundred_megabytes_is_read_in_parts(
    launcher: LocalProcessLauncher,
) -> None:
    command = shell("head -c 100000000 /dev/zero | tr '\\0' x; echo; echo loss=1")
    status, head = await run(launcher, RunPlan(run_id=RUN, command=command))
    assert (status.exit_code, status.output_bytes) == (0, 100_000_008)
    assert head == b"x" * 1024 * 1024
    assert await launcher.read(RUN, 99_999_999, 1000) == b"x\nloss=1\n"


async def test_five_hundred_runs_leave_no_descriptor_no_zombie_and_no_timer(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    await run(launcher, RunPlan(run_id=RUN, command=("true",)))
    before = names_in(Path("/proc/self/fd"))
    zombies_before = zombies()
    waiting = {f"0b1e.{number}.1" for number in range(1, 501)}
    queue = sorted(waiting)
    for first in range(0, len(queue), 50):
        part = queue[first : first + 50]
        await launcher.start([RunPlan(run_id=r, command=("true",), deadline_s=600) for r in part])
        while waiting & set(part):
            waiting -= set(await launcher.ended(timeout_s=WAIT_S))
    assert names_in(Path("/proc/self/fd")) == before
    assert zombies() == zombies_before
    await launcher.forget(queue)
    assert names_in(folder) == [RUN]


@pytest.mark.alone
async def test_the_end_of_a_run_is_known_within_milliseconds(
    launcher: LocalProcessLauncher,
) -> None:
    delays = []
    for number in range(20):
        run_id = f"0b1e.{number}.1"
        await launcher.start([RunPlan(run_id=run_id, command=shell("date +%s.%N"))])
        await end_of(launcher, run_id)
        delays.append(time.time() - float(await output_of(launcher, run_id)))
    assert sorted(delays)[10] < 0.05


async def test_what_crashed_launchers_left_half_made_is_removed(folder: Path) -> None:
    for name in (".new-0b1e.1.1-aa", ".new-0b1e.2.1-bb", ".old-0b1e.3.1-cc"):
        (folder / name).mkdir(parents=True)
    os.utime(folder / ".new-0b1e.1.1-aa", (0, 0))
    await LocalProcessLauncher(folder).close()
    assert names_in(folder) == [".new-0b1e.2.1-bb"]
