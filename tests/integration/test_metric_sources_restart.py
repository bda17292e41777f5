"""A launcher that is started again loses and doubles nothing of any source."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trialbus.kernel.spec import MetricsFormat
from trialbus.testkit.source_programs import (
    EVENTS_COLLECTOR,
    SCRAPING,
    custom,
    event_writer,
    file_collector,
    server,
    text_writer,
)
from trialbus.testkit.source_stage import RUN_ID, SourceStage
from trialbus.testkit.waits import until
from trialbus_metrics_collector.main import service as metrics_collector
from trialbus_trial_launcher.main import service as trial_launcher


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[SourceStage]:
    stage = SourceStage(tmp_path, scrape_interval_s=0.02, sweep_interval_s=0.05)
    yield stage
    await stage.close()


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
    log = stage.run_folder() / "output.log"
    for n in range(4):
        stage.step(n)
        await until(lambda: n in stage.values(), "it is scraped")  # noqa: B023
        await stage.kill("trial_launcher")
        scrapes = log.read_text().count("/metrics")
        stage.start(trial_launcher)
        # The third one comes when what the first one brought is stored.
        await until(lambda: log.read_text().count("/metrics") > scrapes + 2, "again")  # noqa: B023
    stage.step(4)
    await stage.ended()
    assert stage.values() == [0.0, 1.0, 2.0, 3.0]


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
