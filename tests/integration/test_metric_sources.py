"""Every kind of collector, with real trials: points come while they run, the end is whole."""

import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trialbus.kernel.run import RunPhase
from trialbus.kernel.spec import CollectorKind, MetricsCollectorSpec, MetricsEndpoint, MetricsFormat
from trialbus.ports.launcher import RunPlan, RunState
from trialbus.testkit.source_programs import (
    EVENTS_COLLECTOR,
    LOG,
    SCRAPING,
    SERVER,
    custom,
    event_writer,
    file_collector,
    server,
    text_writer,
)
from trialbus.testkit.source_stage import RUN_ID, SourceStage
from trialbus.testkit.waits import until
from trialbus_metrics_collector.main import service as metrics_collector
from trialbus_trial_launcher.adapters.local_process import LocalProcessLauncher
from trialbus_trial_launcher.main import service as trial_launcher

OWN_FILTER = r"(\w+) is (-?\d+\.\d+)"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[SourceStage]:
    stage = SourceStage(tmp_path, scrape_interval_s=0.02, sweep_interval_s=0.05)
    yield stage
    await stage.close()


# Each kind ----------------------------------------------------------------------------------------


async def test_a_file_of_text_is_followed_with_its_filters_and_the_output_stays_a_log(
    stage: SourceStage,
) -> None:
    lines = ("loss is 0.5", "1970-01-01T00:01:40.25Z loss is 0.25 loss=7")
    collector = file_collector(MetricsFormat.TEXT, OWN_FILTER)
    await stage.open_trial(text_writer(stage, *lines), collector)
    stage.start(metrics_collector, trial_launcher)
    stage.step(0)
    await stage.until_values(0.5)
    stage.step(1)
    await stage.until_values(0.5, 0.25)
    stage.step(2)
    run = await stage.ended()
    assert (run.phase, run.exit_code, run.looked) == (RunPhase.FINISHED, 0, "")
    assert run.log_tail == "the output stays in the log\n"
    assert stage.points()[1] == (0.25, 100.25)
    assert stage.chunks[-1].final


async def test_a_file_of_json_is_followed_with_exact_times(stage: SourceStage) -> None:
    lines = (
        '{"loss": "0.5", "timestamp": 1638422847.28721}',
        "no JSON at all",
        '{"loss": 0.25, "accuracy": "NaN", "timestamp": "2021-12-02T05:27:27.123456789Z"}',
        '{"loss": {"value": 1}, "accuracy": true}',
        '{"loss": "inf", "timestamp": "1638422848.5"}',
    )
    collector = file_collector(MetricsFormat.JSON)
    await stage.open_trial(text_writer(stage, *lines), collector, metrics=["accuracy"])
    stage.start(metrics_collector, trial_launcher)
    stage.step(0)
    await stage.until_values(0.5)
    for number in range(1, len(lines) + 1):
        stage.step(number)
    await stage.ended()
    assert stage.points() == [
        (0.5, 1638422847.28721),
        (0.25, 1638422847.123456),
        (float("inf"), 1638422848.5),
    ]
    assert [repr(value) for value in stage.values("accuracy")] == ["nan"]


async def test_event_files_are_followed_through_their_subfolders(stage: SourceStage) -> None:
    scalars = (
        ("train", "loss", 0.9, 100.25),
        ("test", "accuracy", 0.7, 101.5),
        ("train", "accuracy", 0.8, 102.0),
        ("train", "loss", 0.1, 103.125),
    )
    await stage.open_trial(
        event_writer(stage, *scalars), EVENTS_COLLECTOR, metrics=["test/accuracy"]
    )
    stage.start(metrics_collector, trial_launcher)
    stage.step(0)
    await stage.until_values(0.9)
    for number in range(1, len(scalars) + 1):
        stage.step(number)
    await stage.ended()
    assert stage.points() == [(0.9, 100.25), (0.1, 103.125)]
    assert stage.points("test/accuracy") == [(0.7, 101.5)]


async def test_an_endpoint_is_scraped_while_the_trial_runs(stage: SourceStage) -> None:
    texts = (
        'loss 0.5\nloss{part="a"} 7\naccuracy{of="x"} 1\naccuracy{of="y"} 2\n',
        'loss 0.25\naccuracy{of="x"} 1\naccuracy{of="y"} 3\n',
        "loss NaN 1638422847250\n",
    )
    await stage.open_trial(server(stage, *texts), SCRAPING, metrics=["accuracy"])
    before = time.time()
    stage.start(metrics_collector, trial_launcher)
    stage.step(0)
    await stage.until_values(0.5)
    stage.step(1)
    await stage.until_values(0.5, 0.25)
    stage.step(2)
    await until(lambda: len(stage.values()) == 3, "the third value")
    stage.step(3)
    await stage.ended()
    assert stage.values("accuracy") == [1.0, 2.0, 3.0]
    (_, first), (_, second), (last, at) = stage.points()
    assert before - 1 < first < second < time.time() + 1
    assert (repr(last), at) == ("nan", 1638422847.25)


async def test_without_a_word_of_its_own_port_the_one_of_the_spec_is_scraped(
    stage: SourceStage,
) -> None:
    # It tells its port by a file: a port that is free now is only known here.
    code = (
        SERVER.format(texts=["loss 0.5\n"], steps=1)
        .replace("int(sys.argv[1])", "0")
        .replace("for n, text", "print(server.server_port, flush=True)\nfor n, text")
    )
    other = LocalProcessLauncher(stage.folder / "other")
    run_id = "5f0c.0.1"
    await other.start([RunPlan(run_id=run_id, command=stage.program(code))])

    async def port() -> int:
        return int(await other.read(run_id, 0, 100) or 0)

    await until(port, "the server says its port")
    endpoint = MetricsEndpoint(port=await port(), path="metrics")
    await stage.open_trial(
        stage.program("step(2)"),
        MetricsCollectorSpec(kind=CollectorKind.PROMETHEUS_METRIC, endpoint=endpoint),
    )
    stage.start(metrics_collector, trial_launcher)
    stage.step(0)
    await stage.until_values(0.5)
    stage.step(1)
    stage.step(2)
    await stage.ended()
    await other.stop(run_id, reason="end of test", grace_s=0.0)
    await other.close()


CUSTOM_CODE = """
print(os.environ["KATIB_TRIAL_NAME"], os.environ["TRIALBUS_GRPC_ADDRESS"], sys.argv[2])
step(1)
print("read:", open(sys.argv[1]).read())
ended = os.path.join(os.environ["TRIALBUS_RUN_FOLDER"], "trial-ended.json")
while not os.path.exists(ended):
    time.sleep(0.01)
print("ended:", open(ended).read())
step(3)
"""


async def test_a_custom_collector_runs_beside_its_trial_and_the_end_waits_for_it(
    stage: SourceStage,
) -> None:
    stage.announce_gateway("127.0.0.1:4321")
    await stage.open_trial(text_writer(stage, "loss=0.5"), custom(stage, CUSTOM_CODE))
    stage.start(metrics_collector, trial_launcher)
    stage.step(0)
    log = stage.run_folder(f"{RUN_ID}.collector") / "output.log"
    private = Path(f"{stage.run_folder()}/private{LOG}")
    await until(lambda: private.exists() and private.read_text(), "it has written")
    stage.step(1)
    await until(lambda: "ended:" in (log.read_text() if log.exists() else ""), "it saw the end")
    assert not stage.chunks
    stage.step(3)
    run = await stage.ended()
    lines = log.read_text().splitlines()
    assert lines[0] == f"{run.trial} 127.0.0.1:4321 127.0.0.1:4321"
    assert lines[1] == "read: loss=0.5"
    assert json.loads(lines[3].removeprefix("ended: ")) == {"exitCode": 0, "signal": None}
    assert [chunk.final for chunk in stage.chunks] == [True]
    assert (
        "waited for the custom collector to report 'loss'; it ended with exit code 0" in run.looked
    )


async def test_a_custom_collector_that_does_not_end_is_stopped(
    stage: SourceStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "trialbus_trial_launcher.app.sources.custom.CUSTOM_COLLECTOR_DEADLINE_S", 0.3
    )
    code = "print('I go on', flush=True)\ntime.sleep(600)"
    await stage.open_trial(text_writer(stage, "loss=0.5"), custom(stage, code))
    stage.start(metrics_collector, trial_launcher)
    stage.step(0)
    stage.step(1)
    run = await stage.ended()
    assert run.looked.endswith("it was stopped 0.3 s after its trial had ended: I go on")
    status = (
        await LocalProcessLauncher(stage.folder / "data" / "runs").status([f"{RUN_ID}.collector"])
    )[f"{RUN_ID}.collector"]
    assert (status.state, status.stop_reason) == (RunState.FINISHED, "TrialEnded")


async def test_a_custom_collector_of_a_trial_that_nobody_wants_any_more_is_stopped_at_once(
    stage: SourceStage,
) -> None:
    await stage.open_trial((sys.executable, "-c", "pass"), custom(stage, "time.sleep(600)"))
    stage.start(metrics_collector, trial_launcher)
    ended = stage.run_folder(f"{RUN_ID}.collector") / "trial-ended.json"
    await until(ended.exists, "the trial has ended")
    await stage.want_stopped("GoalReached")
    run = await stage.ended()
    assert (run.exit_code, run.stop_reason) == (0, "")


async def test_a_custom_collector_without_a_command_says_what_is_wrong(stage: SourceStage) -> None:
    collector = MetricsCollectorSpec(
        kind=CollectorKind.CUSTOM, container={"name": "c", "command": "not a list"}
    )
    await stage.open_trial((sys.executable, "-c", "pass"), collector)
    stage.start(metrics_collector, trial_launcher)
    run = await stage.ended()
    assert run.exit_code == 126
    assert "spec.metricsCollectorSpec.collector.customCollector.command" in run.message


async def test_of_a_trial_that_pushes_only_the_end_is_told(stage: SourceStage) -> None:
    await stage.open_trial(
        (sys.executable, "-c", "print('loss=1')"), MetricsCollectorSpec(kind=CollectorKind.PUSH)
    )
    stage.start(metrics_collector, trial_launcher)
    run = await stage.ended()
    (chunk,) = stage.chunks
    assert (chunk.from_byte, chunk.to_byte, chunk.series, chunk.final) == (0, 0, (), True)
    assert run.looked == "waited for the trial to report 'loss' (collector Push)"
