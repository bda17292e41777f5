"""Between points and what a Gaussian process sees of them.

A place is a row of codes, one for each parameter that has more than one value: a number by its
share of the unit interval, a choice by its index. Whole numbers and steps lie in the middle of
their share, and are rounded before the model sees them: Garrido-Merchán and Hernández-Lobato 2020
(Dealing with categorical and integer-valued variables in Bayesian optimization).
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from trialbus.kernel.axes import Axis
from trialbus.kernel.space import Point, SearchSpace
from trialbus_suggestion.core.gaussian_process import Floats, Layout

Indexes = NDArray[np.intp]

# With more values than this a grid is a continuum to the model.
MAX_LEVELS = 1_000
# Two different choices are at distance 1, as the ends of a range are.
CHOSEN = math.sqrt(0.5)


class Places:
    """`levels`: for each code that is not of a continuum, by its number, the codes of its values.

    continuous, numbers: which codes are of a continuum, and of numbers of any kind. layout: of the
    features, of which the numbers are the first.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._free = [i for i, axis in enumerate(space.axes) if axis.size != 1]
        self._axes = [space.axes[i] for i in self._free]
        # Right where there is but one value, written over elsewhere.
        self._fixed = [axis.from_unit(0.5) for axis in space.axes]
        found = {i: _levels(axis) for i, axis in enumerate(self._axes)}
        self.levels = {i: levels for i, levels in found.items() if levels is not None}
        self.continuous = _indexes(i for i in found if i not in self.levels)
        self.numbers = _indexes(i for i, axis in enumerate(self._axes) if axis.is_numeric)
        self.choices = [i for i, axis in enumerate(self._axes) if not axis.is_numeric]
        self._edges = {i: self._edges_of(i) for i in self.levels}
        owners = [*self.numbers, *(i for i in self.choices for _ in self.levels[i])]
        self.layout = Layout(owners=_indexes(owners), parameters=len(self._free))

    def __len__(self) -> int:
        """How many codes a place has."""
        return len(self._free)

    def encoded(self, points: Sequence[Point]) -> Floats:
        """(n, n_codes)"""
        rows = [
            [
                axis.to_unit(point[i]) if axis.is_numeric else float(axis.index_of(point[i]))
                for i, axis in zip(self._free, self._axes, strict=True)
            ]
            for point in points
        ]
        return np.array(rows, dtype=np.float64).reshape(len(points), len(self))

    def decoded(self, row: Floats) -> Point:
        values = list(self._fixed)
        for i, axis, code in zip(self._free, self._axes, row.tolist(), strict=True):
            values[i] = axis.from_unit(code) if axis.is_numeric else axis.value_at(int(code))
        return tuple(values)

    def features(self, rows: Floats) -> Floats:
        """(n, n_codes) -> (n, n_features): the numbers, then for each choice one column for each
        of its values."""
        columns = [rows[:, self.numbers]]
        columns.extend(CHOSEN * (rows[:, i, None] == self.levels[i]) for i in self.choices)
        return np.concatenate(columns, axis=1)

    def from_units(self, units: Floats) -> Floats:
        """The places at shares of the unit interval, (n, n_codes)."""
        rows = units.copy()
        for i, levels in self.levels.items():
            rows[:, i] = levels[np.searchsorted(self._edges[i], units[:, i], side="right")]
        return rows

    def _edges_of(self, i: int) -> Floats:
        """Where one value ends and the next begins."""
        levels = self.levels[i]
        if i in self.choices:
            return np.arange(1, len(levels)) / len(levels)
        edges: Floats = (levels[1:] + levels[:-1]) / 2.0
        return edges


def _levels(axis: Axis) -> Floats | None:
    if not axis.is_numeric:
        return np.arange(axis.size or 0, dtype=np.float64)
    if axis.size is None or axis.size > MAX_LEVELS:
        return None
    return np.array([axis.to_unit(axis.value_at(i)) for i in range(axis.size)])


def _indexes(numbers: Iterable[int]) -> Indexes:
    return np.array(list(numbers), dtype=np.intp)
