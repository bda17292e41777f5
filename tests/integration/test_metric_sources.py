"""Every kind of collector, with real trials: points come while they run, the end is whole."""

import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trialbus.kernel.run import RunPhase
from trialbus.kernel.spec import (
    CollectorKind,
    MetricsCollectorSpec,
    MetricsEndpoint,
    MetricsFormat,
    MetricsPath,
    PathKind,
)
from trialbus.ports.launcher import RunPlan, RunState
from trialbus.testkit.source_stage import RUN_ID, SourceStage
from trialbus.testkit.waits import until
from trialbus_metrics_collector.main import service as metrics_collector
from trialbus_trial_launcher.adapters.local_process import LocalProcessLauncher
from trialbus_trial_launcher.main import service as trial_launcher

LOG = "/var/log/katib/metrics.log"
EVENTS = "/var/log/katib/tfevent/"
OWN_FILTER = r"(\w+) is (-?\d+\.\d+)"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[SourceStage]:
    stage = SourceStage(tmp_path, scrape_interval_s=0.02, sweep_interval_s=0.05)
    yield stage
    await stage.close()


def file_collector(format_: MetricsFormat, *filters: str) -> MetricsCollectorSpec:
    path = MetricsPath(path=LOG, kind=PathKind.FILE, format=format_)
    return MetricsCollectorSpec(kind=CollectorKind.FILE, path=path, filters=filters)


EVENTS_COLLECTOR = MetricsCollectorSpec(
    kind=CollectorKind.TENSORFLOW_EVENT, path=MetricsPath(path=EVENTS, kind=PathKind.DIRECTORY)
)
SCRAPING = MetricsCollectorSpec(
    kind=CollectorKind.PROMETHEUS_METRIC, endpoint=MetricsEndpoint(port=8080, path="/metrics")
)

TEXT_WRITER = """
log = open(sys.argv[1], "a", buffering=1)
print("the output stays in the log")
for n, line in enumerate({lines!r}):
    step(n)
    log.write(line + "\\n")
step({steps})
"""
EVENT_WRITER = """
from tensorboardX import SummaryWriter
writers = {{}}
for n, (folder, tag, value, at) in enumerate({scalars!r}):
    step(n)
    path = os.path.join(sys.argv[1], folder)
    if path not in writers:
        writers[path] = SummaryWriter(path, flush_secs=0.02)
    writers[path].add_scalar(tag, value, n, walltime=at)
step({steps})
for writer in writers.values():
    writer.close()
"""
SERVER = """
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
body = b""
class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path, flush=True)
        self.send_response(200 if self.path == "/metrics" else 404)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer)
for n, text in enumerate({texts!r}):
    step(n)
    body = text.encode()
    if n == 0:
        threading.Thread(target=server.serve_forever, daemon=True).start()
step({steps})
"""


def text_writer(stage: SourceStage, *lines: str) -> tuple[str, ...]:
    return (*stage.program(TEXT_WRITER.format(lines=lines, steps=len(lines))), LOG)


def event_writer(stage: SourceStage, *scalars: tuple[str, str, float, float]) -> tuple[str, ...]:
    return (*stage.program(EVENT_WRITER.format(scalars=scalars, steps=len(scalars))), EVENTS)


def server(stage: SourceStage, *texts: str) -> tuple[str, ...]:
    """Serves these texts, one after the other."""
    program = stage.program(SERVER.format(texts=texts, steps=len(texts)))
    return (*program, "$(TRIALBUS_METRICS_PORT)")


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


def custom(stage: SourceStage, code: str) -> MetricsCollectorSpec:
    arguments = [LOG, "$(TRIALBUS_GRPC_ADDRESS)"]
    container = {"name": "c", "image": "none", "command": [*stage.program(code)], "args": arguments}
    path = MetricsPath(path=LOG, kind=PathKind.FILE)
    return MetricsCollectorSpec(kind=CollectorKind.CUSTOM, container=container, path=path)


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


# A launcher that is started again -----------------------------------------------------------------


async def lose_the_launcher(stage: SourceStage, step: int) -> None:
    """While it is away the trial does this step."""
    await stage.kill("trial_launcher")
    stage.step(step)


async def test_a_launcher_started_again_loses_and_doubles_nothing_of_a_file(
    stage: SourceStage,
) -> None:
    lines = [f"loss={n}" for n in range(6)]
    await stage.open_trial(text_writer(stage, *lines), file_collector(MetricsFormat.TEXT))
    stage.start(metrics_collector, trial_launcher)
    for life in range(3):
        stage.step(2 * life)
        await until(lambda: 2 * life in stage.values(), "it is followed")  # noqa: B023
        await lose_the_launcher(stage, 2 * life + 1)
        stage.start(trial_launcher)
    stage.step(6)
    await stage.ended()
    assert stage.values() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


async def test_a_launcher_started_again_loses_and_doubles_nothing_of_event_files(
    stage: SourceStage,
) -> None:
    scalars = [(f"part{n % 2}", "loss", float(n), 100.0 + n) for n in range(6)]
    await stage.open_trial(event_writer(stage, *scalars), EVENTS_COLLECTOR)
    stage.start(metrics_collector, trial_launcher)
    for life in range(3):
        stage.step(2 * life)
        await until(lambda: 2 * life in stage.values(), "it is followed")  # noqa: B023
        await lose_the_launcher(stage, 2 * life + 1)
        stage.start(trial_launcher)
    stage.step(6)
    await stage.ended()
    assert sorted(stage.points()) == [(float(n), 100.0 + n) for n in range(6)]


async def test_a_launcher_started_again_doubles_nothing_of_a_scraped_endpoint(
    stage: SourceStage,
) -> None:
    texts = [f"loss {n}\n" for n in range(4)]
    await stage.open_trial(server(stage, *texts), SCRAPING)
    stage.start(metrics_collector, trial_launcher)
    for n in range(4):
        stage.step(n)
        await until(lambda: n in stage.values(), "it is scraped")  # noqa: B023
        await stage.kill("trial_launcher")
        stage.start(trial_launcher)
    spool = stage.run_folder() / "spool.jsonl"
    size = spool.stat().st_size
    stage.step(4)
    await stage.ended()
    assert stage.values() == [0.0, 1.0, 2.0, 3.0]
    assert spool.stat().st_size == size


async def test_a_collector_is_started_by_the_next_launcher_if_the_last_one_did_not(
    stage: SourceStage,
) -> None:
    code = "print('here')"
    await stage.open_trial(text_writer(stage, "loss=0.5"), custom(stage, code))
    stage.start(metrics_collector, trial_launcher)
    stage.step(0)
    beside = stage.run_folder(f"{RUN_ID}.collector")
    await until((beside / "output.log").exists, "the collector runs")
    await stage.kill("trial_launcher")
    beside.rename(stage.folder / "gone")
    stage.start(trial_launcher)
    await until((beside / "output.log").exists, "it runs again")
    stage.step(1)
    assert (await stage.ended()).exit_code == 0


# What is said where the objective is missing ------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "format_", "words"),
    [
        (
            ("loss_=0.5 val=1",),
            MetricsFormat.TEXT,
            f"looked in the file {LOG} for lines like loss=0.9; found 'loss_', 'val'",
        ),
        (
            ("nothing",),
            MetricsFormat.TEXT,
            f"looked in the file {LOG} for lines like loss=0.9; there is none in 8 bytes",
        ),
        (
            ('{"Loss": 0.5}', "loss=0.5"),
            MetricsFormat.JSON,
            f"looked in the file {LOG} for lines of JSON like {{\"loss\": 0.9}}; found 'Loss'",
        ),
        ((), MetricsFormat.TEXT, f"looked in the file {LOG} for lines like loss=0.9; it is empty"),
    ],
)
async def test_what_a_file_held_instead_is_said(
    stage: SourceStage, lines: tuple[str, ...], format_: MetricsFormat, words: str
) -> None:
    await stage.open_trial(text_writer(stage, *lines), file_collector(format_))
    stage.start(metrics_collector, trial_launcher)
    for number in range(len(lines) + 1):
        stage.step(number)
    assert (await stage.ended()).looked == words


async def test_a_file_that_is_elsewhere_is_told(stage: SourceStage) -> None:
    code = "open(sys.argv[1] + '.txt', 'w').write('loss=1')"
    collector = file_collector(MetricsFormat.TEXT)
    await stage.open_trial((*stage.program(code), LOG), collector)
    stage.start(metrics_collector, trial_launcher)
    words = f"; there is no such file, it wrote {LOG}.txt"
    assert (await stage.ended()).looked.endswith(words)


async def test_what_was_in_the_output_instead_is_said(stage: SourceStage) -> None:
    code = "print('val-loss=0.5 lr = 1e-3')"
    await stage.open_trial((sys.executable, "-c", code), MetricsCollectorSpec())
    stage.start(metrics_collector, trial_launcher)
    assert (await stage.ended()).looked == (
        "looked in its output for lines like loss=0.9; found 'val-loss', 'lr'"
    )


async def test_what_event_files_held_instead_is_said(stage: SourceStage) -> None:
    await stage.open_trial(event_writer(stage, ("x", "val/accuracy", 1.0, 1.0)), EVENTS_COLLECTOR)
    stage.start(metrics_collector, trial_launcher)
    stage.step(0)
    stage.step(1)
    assert (await stage.ended()).looked == (
        f"looked for scalars of the tag 'loss' in the event files below {EVENTS}; "
        "found 'val/accuracy'"
    )


async def test_a_folder_without_event_files_is_told(stage: SourceStage) -> None:
    code = "open(os.path.join(sys.argv[1], 'x.csv'), 'w').close()"
    await stage.open_trial((*stage.program(code), EVENTS), EVENTS_COLLECTOR)
    stage.start(metrics_collector, trial_launcher)
    assert (await stage.ended()).looked.endswith(f"below {EVENTS}; there are none, only 'x.csv'")


async def test_an_endpoint_that_gave_nothing_is_told_with_the_reason(stage: SourceStage) -> None:
    elsewhere = MetricsEndpoint(port=8080, path="/other")
    collector = MetricsCollectorSpec(kind=CollectorKind.PROMETHEUS_METRIC, endpoint=elsewhere)
    await stage.open_trial(server(stage, "loss 0.5\n"), collector)
    stage.start(metrics_collector, trial_launcher)
    stage.step(0)
    log = stage.run_folder() / "output.log"
    await until(lambda: log.exists() and log.read_text().count("/other") > 1, "it is asked twice")
    stage.step(1)
    port = (stage.run_folder() / "metrics-port.txt").read_text()
    assert (await stage.ended()).looked == (
        f"asked http://127.0.0.1:{port}/other for samples named 'loss'; "
        "it gave none: it answered with status 404"
    )


async def test_a_trial_that_ended_before_it_was_asked_is_told(tmp_path: Path) -> None:
    stage = SourceStage(tmp_path, sweep_interval_s=0.05)
    await stage.open_trial((sys.executable, "-c", "pass"), SCRAPING)
    stage.start(metrics_collector, trial_launcher)
    looked = (await stage.ended()).looked
    await stage.close()
    assert looked.endswith(
        (
            "; it ended before it answered",
            "; it gave none: no answer: All connection attempts failed",
        )
    )


async def test_what_an_endpoint_gave_instead_is_told(stage: SourceStage) -> None:
    await stage.open_trial(server(stage, "python_info 1\nval_loss 0.5\n"), SCRAPING)
    stage.start(metrics_collector, trial_launcher)
    stage.step(0)
    spool = stage.run_folder() / "spool.jsonl"
    await until(spool.exists, "it is scraped")
    stage.step(1)
    assert (await stage.ended()).looked.endswith("; found 'val_loss', 'python_info'")
