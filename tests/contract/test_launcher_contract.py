"""What every Launcher promises, checked on real processes and on the one of the simulations."""

import asyncio
from collections.abc import Sequence

import pytest

from trialbus.kernel.errors import Refused
from trialbus.ports.launcher import Launcher, RunState, RunStatus
from trialbus.testkit.launcher_benches import (
    WAIT_S,
    Bench,
    ended_status,
    status_of,
    wait_for_end,
    wait_for_output,
)
from trialbus.testkit.memory_launcher import HANG, LOST, Script


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
