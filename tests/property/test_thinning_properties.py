"""Laws of thinned curves."""

import math

from hypothesis import given
from hypothesis import strategies as st

from trialbus_gateway.core.thinning import CurvePoint, Thinned

VALUES = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-3, 3).map(float),
    st.just("a text"),
)
CURVES = st.lists(VALUES, max_size=400).map(
    lambda values: [CurvePoint(step, it, step / 2) for step, it in enumerate(values, start=1)]
)


def thinned(points: list[CurvePoint], most: int) -> list[CurvePoint]:
    made = Thinned(most=most)
    for point in points:
        made.add(point)
    assert made.count == len(points)
    return list(made.points())


def numbers(points: list[CurvePoint]) -> list[float]:
    return [it.value for it in points if not isinstance(it.value, str) and it.value == it.value]


@given(points=CURVES, most=st.integers(2, 60))
def test_few_points_are_kept_with_ends_and_extremes(points: list[CurvePoint], most: int) -> None:
    shown = thinned(points, most)
    if len(points) <= most:
        assert shown is not points
        assert [id(it) for it in shown] == [id(it) for it in points]
        return
    assert len(shown) <= most
    steps = [it.step for it in shown]
    assert steps == sorted(set(steps))
    assert all(it is points[it.step - 1] for it in shown)
    assert (shown[0], shown[-1]) == (points[0], points[-1])
    if most >= 4 and numbers(points):
        assert min(numbers(shown)) == min(numbers(points))
        assert max(numbers(shown)) == max(numbers(points))


@given(most=st.integers(8, 60), more=st.integers(1, 3000))
def test_no_more_than_half_of_the_room_is_left_empty(most: int, more: int) -> None:
    points = [CurvePoint(step, math.sin(step * 1.7), 0.0) for step in range(1, most + more + 1)]
    buckets = (most - 2) // 2
    assert len(thinned(points, most)) >= min(len(points), buckets // 2) + 2


def test_a_gap_of_nan_is_seen_where_there_is_nothing_else() -> None:
    points = [CurvePoint(s, math.nan if 400 < s <= 700 else 1.0, 0.0) for s in range(1, 1001)]
    shown = thinned(points, 42)
    assert any(isinstance(it.value, float) and math.isnan(it.value) for it in shown)


def test_a_spike_stays_at_its_step() -> None:
    points = [CurvePoint(s, 1000.0 if s == 77_777 else math.cos(s), 0.0) for s in range(1, 100_001)]
    shown = thinned(points, 100)
    assert CurvePoint(77_777, 1000.0, 0.0) in shown
    assert len(shown) <= 100
