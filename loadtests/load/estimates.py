"""Means with their spread, slopes that outliers do not bend, quantiles of histograms."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

# Slopes of all pairs: more points would only take longer.
MAX_SLOPE_POINTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """deviation: of the sample; 0 where there is one value only."""

    mean: float
    deviation: float
    least: float
    most: float
    runs: int


def spread(values: Sequence[float]) -> Spread:
    return Spread(
        mean=statistics.fmean(values),
        deviation=statistics.stdev(values) if len(values) > 1 else 0.0,
        least=min(values),
        most=max(values),
        runs=len(values),
    )


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of (x, y): the median of the slopes of all pairs (Theil 1950, Sen 1968), so that up to 29 %
    of the points may be anywhere. At least two different x."""
    some = thinned(points, MAX_SLOPE_POINTS)
    slopes = [
        (y2 - y1) / (x2 - x1)
        for i, (x1, y1) in enumerate(some)
        for x2, y2 in some[i + 1 :]
        if x2 != x1
    ]
    return statistics.median(slopes)


def later(points: Sequence[tuple[float, float]], share: float) -> list[tuple[float, float]]:
    """Those in the last `share` of the time, which are past the warming up."""
    if not points:
        return []
    first, last = points[0][0], points[-1][0]
    return [point for point in points if point[0] >= last - share * (last - first)]


def thinned(points: Sequence[T], most: int) -> list[T]:
    """At most so many, evenly; the first and the last are kept."""
    if len(points) <= most:
        return list(points)
    step = (len(points) - 1) / (most - 1)
    return [points[round(i * step)] for i in range(most)]


def histogram_quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """buckets: upper bound (the last infinite) -> count up to it, as Prometheus has them. Even
    within a bucket; the largest finite bound if it lies beyond; None if there is no value."""
    total = buckets.get(math.inf, 0.0)
    if total <= 0:
        return None
    wanted, below, before = share * total, 0.0, 0.0
    for bound in sorted(buckets):
        if buckets[bound] >= wanted:
            if math.isinf(bound):
                return below
            inside = buckets[bound] - before
            return below + (bound - below) * ((wanted - before) / inside if inside else 1.0)
        below, before = bound, buckets[bound]
    return below
