"""The experiment service's log: a line for each trial that failed, with the ids of its own span."""

from collections.abc import Sequence
from typing import Any

from structlog.testing import capture_logs

from trialbus.contracts.collections import ANSWERS, CHUNKS, RUNS
from trialbus.contracts.documents import ANSWER, CHUNK, RUN
from trialbus.kernel.chunks import Chunk
from trialbus.kernel.ids import chunk_id
from trialbus.kernel.run import Run
from trialbus.kernel.traces import TraceContext, trial_span
from trialbus.testkit.experiment_states import NOW, UID, answer, run, spec, stopped, with_open
from trialbus.testkit.still_world import StillWorld
from trialbus_experiment.app.failure_lines import LINES_AT_ONCE
from trialbus_experiment.app.reacting import ExperimentReactor

TRACE = TraceContext(trace_id="a" * 32, span_id="1" * 16)


def _without_metrics(ended: Run) -> Chunk:
    return Chunk(
        id=chunk_id(ended.id, 0),
        uid=UID,
        run=ended.id,
        version=1,
        from_byte=0,
        to_byte=10,
        series=(),
        summaries=(),
        final=True,
        final_run=ended.id,
        stored_at=NOW,
    )


async def _lines(runs: Sequence[Run], **changes: Any) -> list[dict[str, Any]]:
    """What is told when these runs of an experiment of as many trials have ended, unless it is
    told when they are looked at again."""
    world = StillWorld()
    world.clock.time = NOW
    wanted = spec(parallel_trial_count=len(runs), max_trial_count=99, max_failed_trial_count=99)
    state = with_open(*range(len(runs)), spec_=wanted, version=1, drawn=50, **changes)
    await world.prepare(state)
    await world.insert(ANSWERS.name, ANSWER.encode(answer(count=50)))
    for each in runs:
        await world.insert(RUNS.name, {**RUN.encode(each), "version": 1})
        await world.insert(CHUNKS.name, CHUNK.encode(_without_metrics(each)))
    reactor = ExperimentReactor(world.parts())
    with capture_logs() as logged:
        assert await reactor.react([UID]) == {}
        assert await reactor.react([UID]) == {}
    return [dict(line) for line in logged if line["log_level"] != "debug"]


async def test_a_failed_trial_has_one_line_in_its_own_trace() -> None:
    failed, stopped_early = run(0, exit_code=3), stopped(1, "EarlyStopped")
    [line] = await _lines([failed, stopped_early], traceparent=str(TRACE))
    own = trial_span(TRACE, UID, 0)
    assert (line["event"], line["log_level"]) == ("trial failed", "info")
    assert (line["namespace"], line["experiment"], line["attempt"]) == ("ns", "exp", 1)
    assert line["trial"].startswith("exp-")
    assert (line["phase"], line["reason"]) == ("Failed", "TrialFailed")
    assert "3" in line["message"]
    assert (line["trace_id"], line["span_id"]) == (TRACE.trace_id, own.span_id)


async def test_a_trial_whose_metrics_were_not_found_has_one_too() -> None:
    [line] = await _lines([run(0)])
    assert (line["event"], line["phase"]) == ("trial failed", "MetricsUnavailable")
    assert "trace_id" not in line


async def test_of_very_many_at_once_the_rest_is_counted() -> None:
    lines = await _lines([run(index, exit_code=1) for index in range(LINES_AT_ONCE + 2)])
    assert [line["event"] for line in lines] == ["trial failed"] * LINES_AT_ONCE + [
        "more trials failed"
    ]
    assert lines[-1]["count"] == 2
