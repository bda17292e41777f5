"""The memory launcher's world counts what simulations check, and has faults of its own."""

import pytest

from trialbus.kernel.errors import Transient
from trialbus.ports.launcher import RunPlan, RunState
from trialbus.testkit.memory_launcher import HANG, LOST, MemoryWorld, Script


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def plan(run_id: str) -> RunPlan:
    return RunPlan(run_id=run_id, command=("scripted",))


async def test_runs_that_live_are_counted_by_experiment_at_any_instant() -> None:
    time = Time()
    world = MemoryWorld(lambda _run_id, _plan: Script(duration_s=10.0), now=time)
    launcher = world.launcher()
    await launcher.start([plan("a.0.1"), plan("a.1.1"), plan("b.0.1")])
    assert (world.alive("a"), world.alive("b"), world.alive("c")) == (2, 1, 0)
    time.now = 110.0  # both have ended: one that starts at this instant is alone
    await launcher.start([plan("a.2.1")])
    assert (world.alive("a"), world.most_alive("a"), world.most_alive("b")) == (1, 2, 1)


async def test_starts_are_counted_over_crashes_and_forgetting() -> None:
    world = MemoryWorld(lambda _run_id, _plan: Script())
    first = world.launcher()
    await first.start([plan("a.0.1")])
    first.crash()
    second = world.launcher()
    await second.start([plan("a.0.1")])
    assert world.starts == {"a.0.1": 1}
    await second.forget(["a.0.1"])
    await second.start([plan("a.0.1")])
    assert world.starts == {"a.0.1": 2}


async def test_a_reboot_loses_what_lives_and_nothing_else() -> None:
    scripts = {"a.0.1": Script(exit_code=3), "a.1.1": HANG, "a.2.1": LOST}
    world = MemoryWorld(lambda run_id, _plan: scripts[run_id])
    launcher = world.launcher()
    await launcher.start([plan(run_id) for run_id in scripts])
    world.reboot()
    found = await world.launcher().status(["a.0.1", "a.1.1", "a.2.1", "a.3.1"])
    assert [status.state for status in found.values()] == [
        RunState.FINISHED,
        RunState.LOST,
        RunState.LOST,
        RunState.ABSENT,
    ]


async def test_a_run_that_a_fault_takes_while_it_is_stopped_was_stopped() -> None:
    time = Time()
    script = Script(duration_s=None, ignores_sigterm=True)
    world = MemoryWorld(lambda _run_id, _plan: script, now=time)
    launcher = world.launcher()
    await launcher.start([plan("a.0.1")])
    await launcher.stop("a.0.1", reason="GoalReached", grace_s=10.0)
    time.now = 105.0
    world.lose("a.0.1")
    status = (await launcher.status(["a.0.1"]))["a.0.1"]
    assert (status.state, status.signal, status.stop_reason) == (
        RunState.FINISHED,
        9,
        "GoalReached",
    )
    assert status.finished_at == 105.0


async def test_a_place_that_is_unable_starts_nothing() -> None:
    world = MemoryWorld(lambda _run_id, _plan: HANG)
    world.unable = "no more processes"
    with pytest.raises(Transient, match="no more processes"):
        await world.launcher().start([plan("a.0.1")])
    assert world.starts == {}
    assert world.alive("a") == 0
