"""Where the objective is missing, the run says where it was looked for and what was there."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trialbus.kernel.spec import CollectorKind, MetricsCollectorSpec, MetricsEndpoint, MetricsFormat
from trialbus.testkit.source_programs import (
    EVENTS,
    EVENTS_COLLECTOR,
    LOG,
    SCRAPING,
    event_writer,
    file_collector,
    server,
    text_writer,
)
from trialbus.testkit.source_stage import SourceStage
from trialbus.testkit.waits import until
from trialbus_metrics_collector.main import service as metrics_collector
from trialbus_trial_launcher.main import service as trial_launcher


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[SourceStage]:
    stage = SourceStage(tmp_path, scrape_interval_s=0.02, sweep_interval_s=0.05)
    yield stage
    await stage.close()


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
        (
            ('{"loss": 0.5}',),
            MetricsFormat.TEXT,
            f"looked in the file {LOG} for lines like loss=0.9; "
            "its lines are JSON, which is told by format: JSON of its fileSystemPath",
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
