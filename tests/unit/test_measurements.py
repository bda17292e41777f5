"""Summaries of metrics, the value that counts, and how values are written."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialbus.kernel.line_streams import Point
from trialbus.kernel.measurements import (
    Summary,
    combine,
    combine_observations,
    format_value,
    objective_value,
    observe,
)
from trialbus.kernel.objective import Strategy

NAN, INF = math.nan, math.inf


def summary_of(*reports: tuple[float, float]) -> Summary:
    """`reports`: (value, at) in the order of their lines."""
    points = [Point("loss", value, at, 10 * n) for n, (value, at) in enumerate(reports, start=1)]
    return observe(points)["loss"]


def test_a_summary_counts_and_keeps_extremes_and_the_latest() -> None:
    assert summary_of((0.5, 1.0), (0.2, 2.0), (0.7, 3.0)) == Summary(
        count=3, min=0.2, max=0.7, latest=0.7, first_at=1.0, latest_at=3.0
    )


def test_latest_goes_by_time_and_of_equal_times_the_later_line_wins() -> None:
    assert summary_of((0.5, 3.0), (0.2, 1.0)).latest == 0.5
    assert summary_of((0.5, 3.0), (0.2, 1.0)).first_at == 1.0
    assert summary_of((0.5, 3.0), (0.2, 3.0)).latest == 0.2
    assert combine(summary_of((0.5, 3.0)), summary_of((0.2, 3.0))).latest == 0.2
    assert combine(summary_of((0.5, 3.0)), summary_of((0.2, 2.0))).latest == 0.5


@pytest.mark.parametrize("order", [(NAN, 0.5, 0.2), (0.5, NAN, 0.2), (0.5, 0.2, NAN)])
def test_nan_never_wins_an_extreme(order: tuple[float, ...]) -> None:
    summary = summary_of(*((value, 0.0) for value in order))
    assert (summary.count, summary.min, summary.max) == (3, 0.2, 0.5)


def test_nan_alone_stays_nan_until_a_number_comes() -> None:
    alone = summary_of((NAN, 0.0), (NAN, 1.0))
    assert math.isnan(alone.min) and math.isnan(alone.max) and math.isnan(alone.latest)
    assert combine(alone, summary_of((1.0, 2.0))).min == 1.0
    assert combine(summary_of((1.0, 2.0)), alone).max == 1.0


def test_the_last_report_is_the_latest_even_if_it_is_nan() -> None:
    assert math.isnan(summary_of((0.5, 0.0), (NAN, 1.0)).latest)


def test_infinities_are_ordinary_values() -> None:
    summary = summary_of((INF, 0.0), (1.0, 1.0), (-INF, 2.0))
    assert (summary.min, summary.max, summary.latest) == (-INF, INF, -INF)


def test_the_objective_value_follows_the_strategy_and_is_none_if_never_reported() -> None:
    observation = {"loss": summary_of((0.5, 1.0), (0.2, 2.0), (0.3, 3.0))}
    assert objective_value(observation, "loss", Strategy.MIN) == 0.2
    assert objective_value(observation, "loss", Strategy.MAX) == 0.5
    assert objective_value(observation, "loss", Strategy.LATEST) == 0.3
    assert objective_value(observation, "accuracy", Strategy.MAX) is None
    texts = observe([Point("genotype", NAN, 1.0, 0, "Genotype()")])
    assert objective_value(texts, "genotype", Strategy.MAX) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.95, "0.95"),
        (888.0, "888"),
        (888, "888"),
        (-3.0, "-3"),
        (0.0, "0"),
        (-0.0, "-0"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e-7, "1e-07"),
        (1e22, "1e+22"),
        (NAN, "nan"),
        (INF, "inf"),
        (-INF, "-inf"),
    ],
)
def test_values_are_written_as_short_as_they_read_back(value: float, text: str) -> None:
    assert format_value(value) == text


@given(st.floats(allow_nan=False))
def test_a_written_value_reads_back(value: float) -> None:
    assert float(format_value(value)) == value


numbers = st.builds(
    Point,
    st.sampled_from(["loss", "accuracy"]),
    st.sampled_from([NAN, INF, -INF, 0.0, 888.0]) | st.floats(),
    st.integers(0, 3).map(float),
    st.just(0),
)
texts = st.builds(
    Point,
    st.sampled_from(["loss", "accuracy"]),
    st.just(NAN),
    st.integers(0, 3).map(float),
    st.just(0),
    st.sampled_from(["one", "two"]),
)
points = st.lists(numbers | texts, max_size=12)


def same(one: object, other: object) -> bool:
    # NaN is not equal to itself, and -0.0 may stand for 0.0 as an extreme.
    return repr(one).replace("-0.0", "0.0") == repr(other).replace("-0.0", "0.0")


@given(points, st.lists(st.integers(0, 12), max_size=4))
def test_the_observation_of_a_whole_is_the_combination_of_its_parts(
    whole: list[Point], cuts: list[int]
) -> None:
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    combined: dict[str, Summary] = {}
    for begin, end in pairwise(edges):
        combined = combine_observations(combined, observe(whole[begin:end]))
    assert same(combined, observe(whole))


@given(points, points, points)
def test_combining_is_associative(a: list[Point], b: list[Point], c: list[Point]) -> None:
    one, two, three = observe(a), observe(b), observe(c)
    left = combine_observations(combine_observations(one, two), three)
    right = combine_observations(one, combine_observations(two, three))
    assert same(left, right)
