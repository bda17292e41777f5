"""What the trial launcher tells of processes: true while they run, after restarts and losses."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trialbus.kernel.run import RunPhase
from trialbus.kernel.spec import MetricsCollectorSpec
from trialbus.runtime import metrics
from trialbus.runtime.metric import Metric
from trialbus.testkit.run_probes import marked_processes
from trialbus.testkit.source_stage import SourceStage
from trialbus.testkit.told_metrics import told, told_seconds
from trialbus.testkit.waits import until
from trialbus_metrics_collector.main import service as metrics_collector
from trialbus_trial_launcher.adapters.local_process import spawn
from trialbus_trial_launcher.main import service as trial_launcher

STDOUT = MetricsCollectorSpec()
LAUNCHER = trial_launcher.name


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[SourceStage]:
    stage = SourceStage(tmp_path, sweep_interval_s=0.05)
    try:
        yield stage
    finally:
        await stage.close()


def tells(stage: SourceStage, metric: Metric, **labels: str) -> float:
    return told(stage.telemetries[LAUNCHER], metric, place="process", **labels)


def hand(stage: SourceStage) -> tuple[float, float]:
    return (
        tells(stage, metrics.RUNS, state="waiting"),
        tells(stage, metrics.RUNS, state="running"),
    )


async def ended(stage: SourceStage) -> None:
    await stage.ended()
    await until(lambda: tells(stage, metrics.RUNS_ENDED) == 1, "its end is counted")
    assert hand(stage) == (0, 0)


async def test_a_trial_is_in_hand_until_its_end_is_committed(stage: SourceStage) -> None:
    await stage.open_trial(stage.program('print("loss=1"); step(1)'), STDOUT)
    stage.start(metrics_collector, trial_launcher)
    await until(lambda: hand(stage) == (0, 1), "it runs")
    assert tells(stage, metrics.LAUNCHED) == 1
    # Its experiment opened it at 0.
    assert told_seconds(stage.telemetries[LAUNCHER], metrics.LAUNCHED) > 1e9
    stage.step(1)
    await ended(stage)
    assert tells(stage, metrics.RUNS_ENDED, outcome="succeeded") == 1
    assert tells(stage, metrics.ADOPTIONS) == tells(stage, metrics.SPAWN_FAILURES) == 0
    assert told(stage.telemetries[LAUNCHER], metrics.INCOMPLETE) == 0


@pytest.mark.parametrize(
    ("code", "outcome"), [("raise SystemExit(3)", "failed"), ('print("loss=1")', "succeeded")]
)
async def test_an_end_is_told_as_what_it_was(stage: SourceStage, code: str, outcome: str) -> None:
    await stage.open_trial(stage.program(code), STDOUT)
    stage.start(metrics_collector, trial_launcher)
    await ended(stage)
    assert tells(stage, metrics.RUNS_ENDED, outcome=outcome) == 1


async def test_what_we_stop_is_told_as_stopped(stage: SourceStage) -> None:
    await stage.open_trial(stage.program("step(1)"), STDOUT)
    stage.start(metrics_collector, trial_launcher)
    await until(lambda: hand(stage) == (0, 1), "it runs")
    await stage.want_stopped("ExperimentStopped")
    await ended(stage)
    assert tells(stage, metrics.RUNS_ENDED, outcome="stopped") == 1


async def test_a_command_that_is_not_there_is_a_launch_that_failed(stage: SourceStage) -> None:
    await stage.open_trial(["/nowhere/at-all"], STDOUT)
    stage.start(metrics_collector, trial_launcher)
    await ended(stage)
    assert tells(stage, metrics.SPAWN_FAILURES, reason="command") == 1
    assert tells(stage, metrics.SPAWN_FAILURES, reason="machine") == 0
    assert tells(stage, metrics.LAUNCHED) == 0
    assert tells(stage, metrics.RUNS_ENDED, outcome="failed") == 1


async def test_a_restarted_launcher_adopts_what_runs_and_tells_it_as_its_own(
    stage: SourceStage,
) -> None:
    await stage.open_trial(stage.program('print("loss=1", flush=True); step(1)'), STDOUT)
    stage.start(metrics_collector, trial_launcher)
    await until(lambda: hand(stage) == (0, 1), "it runs")
    await stage.kill(LAUNCHER)
    stage.start(trial_launcher)
    await until(lambda: hand(stage) == (0, 1), "it is taken over")
    assert tells(stage, metrics.ADOPTIONS) == 1
    assert tells(stage, metrics.LAUNCHED) == 0
    stage.step(1)
    await ended(stage)
    assert tells(stage, metrics.RUNS_ENDED, outcome="succeeded") == 1
    assert tells(stage, metrics.ADOPTIONS) == 1


async def test_a_trial_whose_processes_vanish_is_told_as_lost(stage: SourceStage) -> None:
    await stage.open_trial(stage.program("step(1)"), STDOUT)
    stage.start(metrics_collector, trial_launcher)
    await until(lambda: hand(stage) == (0, 1), "it runs")
    for pid in marked_processes(f"{stage.folder}/data/runs/"):
        os.kill(pid, signal.SIGKILL)
    await ended(stage)
    run = await stage.ended()
    outcome = "lost" if run.phase is RunPhase.LOST else "failed"
    assert tells(stage, metrics.RUNS_ENDED, outcome=outcome) == 1


async def test_an_end_without_all_of_its_metrics_is_incomplete(
    stage: SourceStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no collector."""
    monkeypatch.setattr("trialbus_trial_launcher.app.following.OBSERVATION_DEADLINE_S", 0.1)
    await stage.open_trial(stage.program('print("loss=1")'), STDOUT)
    stage.start(trial_launcher)
    await ended(stage)
    assert told(stage.telemetries[LAUNCHER], metrics.INCOMPLETE) == 1


async def test_a_launch_that_the_machine_has_no_room_for_waits_and_is_tried_again(
    stage: SourceStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first spawn fails with EAGAIN."""
    real, tries = spawn.spawn, []

    def short_of_processes(*arguments: object, **options: object) -> int:
        tries.append(1)
        if len(tries) == 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(spawn, "spawn", short_of_processes)
    await stage.open_trial(stage.program('print("loss=1")'), STDOUT)
    stage.start(metrics_collector, trial_launcher)
    await until(lambda: tells(stage, metrics.SPAWN_FAILURES) == 1, "it failed")
    await ended(stage)
    assert tells(stage, metrics.LAUNCHED) == 1
    assert tells(stage, metrics.SPAWN_FAILURES, reason="machine") == 1
    assert tells(stage, metrics.ADOPTIONS) == 0
    assert tells(stage, metrics.RUNS_ENDED, outcome="succeeded") == 1
