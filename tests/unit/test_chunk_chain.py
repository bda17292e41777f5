"""One run's chain of chunks: what is taken, what is refused, what a chunk carries."""

import math

import pytest

from trialbus.kernel.chunks import Chunk, MetricSummary, Series
from trialbus.kernel.experiment import ExperimentPhase
from trialbus.kernel.ids import RunKey
from trialbus.kernel.line_streams import Point
from trialbus.kernel.measurements import Summary, observe
from trialbus_metrics_collector.core.chain import (
    Accepted,
    AlreadyStored,
    Gap,
    Report,
    ReportedPoints,
    Tail,
    extend,
    problem_of,
)
from trialbus_metrics_collector.core.fencing import OpenAttempts, refusal

RUN = RunKey("u-1", 2, 1)
NAN, INF = math.nan, math.inf


def points(metric: str, *values: float, at: float = 100.0) -> ReportedPoints:
    """One a second."""
    times = tuple(at + second for second in range(len(values)))
    return ReportedPoints(metric=metric, values=values, times=times)


def report(from_byte: int, to_byte: int, *series: ReportedPoints, final: bool = False) -> Report:
    return Report(from_byte=from_byte, to_byte=to_byte, series=series, final=final)


def grown(tail: Tail, taken: Report) -> Accepted:
    result = extend(tail, RUN, taken, 500.0)
    assert isinstance(result, Accepted)
    return result


def test_the_first_chunk_has_its_points_their_steps_and_the_summary() -> None:
    taken = grown(Tail(), report(0, 30, points("loss", 3.0, 1.0, 2.0)))
    summary = Summary(count=3, min=1.0, max=3.0, latest=2.0, first_at=100.0, latest_at=102.0)
    assert taken.chunk == Chunk(
        id="u-1.2.1@000000000000000",
        uid="u-1",
        run="u-1.2.1",
        version=1,
        from_byte=0,
        to_byte=30,
        series=(
            Series(
                metric="loss", first_step=1, values=(3.0, 1.0, 2.0), times=(100.0, 101.0, 102.0)
            ),
        ),
        summaries=(MetricSummary(metric="loss", summary=summary),),
        final=False,
        final_run=None,
        stored_at=500.0,
    )
    assert taken.tail == Tail(to_byte=30, summaries={"loss": summary})


def test_the_next_chunk_goes_on_counting_and_carries_the_whole_run() -> None:
    first = grown(Tail(), report(0, 30, points("loss", 3.0, 1.0), points("acc", 0.5)))
    second = grown(first.tail, report(30, 50, points("loss", 0.5, at=200.0), final=True))
    assert [(it.metric, it.first_step) for it in second.chunk.series] == [("loss", 3)]
    assert second.chunk.final_run == "u-1.2.1"
    summaries = {it.metric: it.summary for it in second.chunk.summaries}
    assert summaries == {
        "loss": Summary(count=3, min=0.5, max=3.0, latest=0.5, first_at=100.0, latest_at=200.0),
        "acc": Summary(count=1, min=0.5, max=0.5, latest=0.5, first_at=100.0, latest_at=100.0),
    }
    assert second.tail.final


def test_a_metric_that_comes_twice_in_a_report_is_numbered_on() -> None:
    taken = grown(Tail(), report(0, 30, points("loss", 3.0, 1.0), points("loss", 2.0)))
    assert [it.first_step for it in taken.chunk.series] == [1, 3]
    assert taken.tail.summaries["loss"].count == 3


def test_a_repeat_and_an_overlap_are_stored_already() -> None:
    tail = Tail(to_byte=30)
    for again in (report(0, 30), report(0, 50), report(29, 60)):
        assert extend(tail, RUN, again, 0.0) == AlreadyStored(to_byte=30)


def test_a_report_beyond_the_end_is_a_gap() -> None:
    assert extend(Tail(to_byte=30), RUN, report(31, 40), 0.0) == Gap(to_byte=30)


def test_a_complete_chain_takes_nothing() -> None:
    tail = Tail(to_byte=30, final=True)
    for more in (report(30, 40), report(30, 30, final=True), report(40, 50)):
        assert extend(tail, RUN, more, 0.0) == AlreadyStored(to_byte=30)


def test_an_empty_final_chunk_ends_the_chain_where_it_is() -> None:
    taken = grown(Tail(to_byte=30), report(30, 30, final=True))
    assert (taken.chunk.id, taken.chunk.series) == ("u-1.2.1@000000000000030", ())
    assert taken.tail.final


def test_bytes_without_points_only_move_the_end() -> None:
    taken = grown(Tail(), report(0, 80))
    assert (taken.chunk.series, taken.chunk.summaries) == ((), ())
    assert taken.tail == Tail(to_byte=80)


def test_a_report_of_no_bytes_is_a_question_and_takes_no_place() -> None:
    # Its chunk would have the key of the chunk that really follows.
    assert extend(Tail(to_byte=30), RUN, report(30, 30), 0.0) == AlreadyStored(to_byte=30)


@pytest.mark.parametrize(
    ("values", "times"),
    [
        ((NAN, 2.0, 1.0), (1.0, 2.0, 3.0)),
        ((NAN, NAN), (1.0, 2.0)),
        ((INF, -INF, 0.0), (1.0, 2.0, 3.0)),
        ((1e308, 1e308, -1e308), (1.0, 2.0, 3.0)),
        ((1.0, 2.0, 3.0), (5.0, 5.0, 4.0)),
        ((1.0, 2.0, 3.0), (9.0, 8.0, 7.0)),
    ],
)
def test_a_summary_is_what_observing_the_points_gives(
    values: tuple[float, ...], times: tuple[float, ...]
) -> None:
    series = ReportedPoints(metric="m", values=values, times=times)
    expected = observe(
        Point(metric="m", value=value, at=at, end_byte=0)
        for value, at in zip(values, times, strict=True)
    )
    summaries = grown(Tail(), report(0, 9, series)).tail.summaries
    assert repr(summaries) == repr(expected)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (report(-1, 3), "no part of an output"),
        (report(4, 3), "no part of an output"),
        (report(0, 10**15), "no part of an output"),
        (report(3, 3, points("m", 1.0), final=True), "points without bytes"),
        (
            report(0, 3, ReportedPoints(metric="m", values=(1.0, 2.0), times=(1.0,))),
            "m: 2 values, 1 times",
        ),
        (
            report(0, 3, ReportedPoints(metric="m", values=(1.0,), times=(NAN,))),
            "m: a time is not finite",
        ),
    ],
)
def test_a_report_that_no_chain_can_take_is_named(bad: Report, why: str) -> None:
    problem = problem_of(bad)
    assert problem is not None and why in problem


def test_a_sound_report_has_no_problem() -> None:
    assert problem_of(report(0, 3, points("m", NAN, INF), points("empty"), final=True)) is None


@pytest.mark.parametrize(
    ("experiment", "why"),
    [
        (None, "the experiment is deleted"),
        (OpenAttempts(phase=ExperimentPhase.DELETED, attempts={2: 1}), "the experiment is deleted"),
        (OpenAttempts(phase=ExperimentPhase.RUNNING, attempts={1: 1}), "trial 2 is not open"),
        (
            OpenAttempts(phase=ExperimentPhase.RUNNING, attempts={2: 2}),
            "trial 2 is at attempt 2, not 1",
        ),
        (OpenAttempts(phase=ExperimentPhase.RUNNING, attempts={2: 1}), None),
        (OpenAttempts(phase=ExperimentPhase.ENDING, attempts={2: 1}), None),
        (OpenAttempts(phase=ExperimentPhase.CREATED, attempts={}, importing=True), None),
    ],
)
def test_only_the_open_attempt_of_a_living_experiment_is_heard(
    experiment: OpenAttempts | None, why: str | None
) -> None:
    assert refusal(experiment, RUN) == why
