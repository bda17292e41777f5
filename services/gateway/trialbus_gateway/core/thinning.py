"""Curves thinned out to a number of points, in one pass and in memory of that number.

Of each bucket of neighbours the lowest and the highest value are kept, and of the whole the two
ends: a spike, which a mean or every n-th point would lose, is always there, at its own step and
with its own value. (LTTB keeps the shape better to the eye but may drop extremes, and needs to
know how many points come.) The width of a bucket is doubled whenever there are too many of them.
Laws (property-tested): at most `most` points; all of them if they are no more; ends, minimum and
maximum are among them; every point is one of those given, in their order.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class CurvePoint(NamedTuple):
    """step: 1-based, rising. value: a number or a text. at: seconds since the epoch."""

    step: int
    value: float | str
    at: float


@dataclass(slots=True)
class _Bucket:
    """odd: what is no number, kept only where there are no numbers."""

    low: CurvePoint | None = None
    high: CurvePoint | None = None
    odd: CurvePoint | None = None

    def add(self, point: CurvePoint) -> None:
        value = point.value
        if isinstance(value, str) or math.isnan(value):
            self.odd = self.odd or point
            return
        if self.low is None or value < _number(self.low):
            self.low = point
        if self.high is None or value > _number(self.high):
            self.high = point

    def take(self, later: "_Bucket") -> None:
        for point in later.points():
            self.add(point)

    def points(self) -> list[CurvePoint]:
        if self.low is None or self.high is None:
            return [] if self.odd is None else [self.odd]
        if self.low is self.high:
            return [self.low]
        return sorted((self.low, self.high), key=_step)


@dataclass(slots=True)
class Thinned:
    """most: at least 2. count: points so far."""

    most: int
    count: int = 0
    _all: list[CurvePoint] = field(default_factory=list)
    _buckets: list[_Bucket] = field(default_factory=list)
    _width: int = 1
    _last: CurvePoint | None = None

    def add(self, point: CurvePoint) -> None:
        self._last = point
        if self.count < self.most:
            self._all.append(point)
        else:
            if self.count == self.most:
                # The first too many: from here on in buckets.
                for place, earlier in enumerate(self._all):
                    self._put(place, earlier)
                del self._all[1:]
            self._put(self.count, point)
        self.count += 1

    def points(self) -> Iterator[CurvePoint]:
        if self.count <= self.most:
            yield from self._all
            return
        first = self._all[0]
        yield first
        last = self._last
        for bucket in self._buckets:
            for point in bucket.points():
                if point is not first and point is not last:
                    yield point
        if last is not None:
            yield last

    def _put(self, place: int, point: CurvePoint) -> None:
        room = (self.most - 2) // 2
        if room == 0:
            return
        while place // self._width >= room:
            self._halve()
        number = place // self._width
        if number == len(self._buckets):
            self._buckets.append(_Bucket())
        self._buckets[number].add(point)

    def _halve(self) -> None:
        self._width *= 2
        pairs = self._buckets[::2]
        for bucket, later in zip(pairs, self._buckets[1::2], strict=False):
            bucket.take(later)
        self._buckets = pairs


def _number(point: CurvePoint) -> float:
    return point.value if not isinstance(point.value, str) else math.nan


def _step(point: CurvePoint) -> int:
    return point.step
