"""What was measured of a trial: one summary per metric, folded from its points.

Laws (property-tested): the summary of a concatenation is the combination of the summaries, and
`combine` is associative; so chunks can be summed up one by one, each carrying the whole so far.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trialbus.kernel.line_streams import Point
from trialbus.kernel.objective import Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One metric over a run of points, in the order of their lines.

    `count` is how many numbers there are, and `min` and `max` are of numbers only: they ignore NaN
    unless there is nothing else; infinities are ordinary values. `latest` is the value with the
    newest time, of equal times that of the later line; where that is a text, `text` is it, and
    `latest` NaN.
    """

    count: int
    min: float
    max: float
    latest: float
    first_at: float
    latest_at: float
    text: str = ""


Observation = Mapping[str, Summary]


def combine(earlier: Summary, later: Summary) -> Summary:
    """The summary of `earlier`'s points followed by `later`'s."""
    newest = later if later.latest_at >= earlier.latest_at else earlier
    return Summary(
        count=earlier.count + later.count,
        min=_lesser(earlier.min, later.min),
        max=_greater(earlier.max, later.max),
        latest=newest.latest,
        first_at=min(earlier.first_at, later.first_at),
        latest_at=newest.latest_at,
        text=newest.text,
    )


def combine_observations(earlier: Observation, later: Observation) -> dict[str, Summary]:
    """`combine`, metric by metric; a metric of one side only is kept as it is."""
    combined = dict(earlier)
    for metric, summary in later.items():
        known = combined.get(metric)
        combined[metric] = summary if known is None else combine(known, summary)
    return combined


def observe(points: Iterable[Point]) -> dict[str, Summary]:
    """The observation of some points in the order of their lines."""
    by_metric: dict[str, list[Point]] = {}
    for point in points:
        by_metric.setdefault(point.metric, []).append(point)
    return {metric: _summarise(own) for metric, own in by_metric.items()}


def objective_value(observation: Observation, metric: str, strategy: Strategy) -> float | None:
    """The number of `metric` that counts; None if none was ever reported."""
    summary = observation.get(metric)
    if summary is None or not summary.count:
        return None
    if strategy is Strategy.MIN:
        return summary.min
    return summary.max if strategy is Strategy.MAX else summary.latest


def format_value(value: float) -> str:
    """The shortest text that reads back as `value`: `0.95`, `888`, `1e-07`, `nan`, `-inf`."""
    return repr(float(value)).removesuffix(".0")


def _summarise(points: list[Point]) -> Summary:
    """`points`: at least one, of one metric."""
    counted = [point.value for point in points if not point.text]
    numbers = [value for value in counted if not math.isnan(value)] or [math.nan]
    latest = points[0]
    for point in points:
        if point.at >= latest.at:
            latest = point
    return Summary(
        count=len(counted),
        min=min(numbers),
        max=max(numbers),
        latest=latest.value,
        first_at=min(point.at for point in points),
        latest_at=latest.at,
        text=latest.text,
    )


def _lesser(one: float, other: float) -> float:
    if math.isnan(one):
        return other
    return one if math.isnan(other) else min(one, other)


def _greater(one: float, other: float) -> float:
    if math.isnan(one):
        return other
    return one if math.isnan(other) else max(one, other)
