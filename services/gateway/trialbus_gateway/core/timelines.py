"""Values over time: each holds until the next one."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """times: rising, seconds since the epoch; values: as many. until: after it there is no value
    any more; None: the last one holds on."""

    labels: Mapping[str, str]
    times: Sequence[float] = field(default=())
    values: Sequence[float] = field(default=())
    until: float | None = None

    def at(self, moment: float) -> float | None:
        """The last value at or before a moment; None: there is none yet, or none any more."""
        if self.until is not None and moment > self.until:
            return None
        place = bisect_right(self.times, moment)
        return None if place == 0 else self.values[place - 1]

    def sampled(self, moments: Sequence[float]) -> list[tuple[float, float]]:
        """At each of these moments where there is a value. Of one that came and went between two
        moments, the later one still tells it."""
        found, before = [], math.inf
        for moment in moments:
            value = self.at(moment)
            if value is None and self._came_and_went(before, moment):
                value = self.values[-1]
            if value is not None:
                found.append((moment, value))
            before = moment
        return found

    def _came_and_went(self, before: float, moment: float) -> bool:
        """Whether its last value came after `before` and was over by `moment`."""
        if self.until is None or not self.times or not before < self.until < moment:
            return False
        return self.times[-1] > before


def constant(labels: Mapping[str, str], value: float, since: float) -> Timeline:
    return Timeline(labels=labels, times=(since,), values=(value,))


def moments(start: float, end: float, step: float) -> list[float]:
    """start, start + step, ... up to the end."""
    count = int((end - start) / step + 1e-9) + 1
    return [start + step * number for number in range(count)]


def text_of(value: float) -> str:
    """As Prometheus writes numbers."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(float(value)).removesuffix(".0")
