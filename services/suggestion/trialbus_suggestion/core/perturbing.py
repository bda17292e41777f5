"""How population based training explores: a point near another one (Jaderberg et al. 2017, 3)."""

import math
from typing import TYPE_CHECKING

from trialbus.kernel.axes import Axis, Choices, Grid, Interval, Value
from trialbus.kernel.space import Point, SearchSpace

if TYPE_CHECKING:
    from random import Random

# The paper's factors are 0.8 and 1.2.
_SHARE = 0.2
# A range that reaches 0 has values that factors hardly move: there, at least so much of its width.
_SHARE_OF_RANGE = 0.01


def explored(space: SearchSpace, point: Point, resample: float, rng: "Random") -> Point:
    """resample: the probability of each parameter to be drawn anew by its distribution. Always
    takes as many numbers of `rng`, whatever they are."""
    return tuple(
        _explored(axis, value, resample, rng) for axis, value in zip(space.axes, point, strict=True)
    )


def _explored(axis: Axis, value: Value, resample: float, rng: "Random") -> Value:
    chance, up, anew = rng.random(), rng.random() < 0.5, rng.random()
    return axis.from_unit(anew) if chance < resample else _perturbed(axis, value, up=up)


def _perturbed(axis: Axis, value: Value, *, up: bool) -> Value:
    if isinstance(axis, Choices):
        return axis.value_at(_clamped(axis.index_of(value) + (1 if up else -1), len(axis.texts)))
    if isinstance(axis, Grid):
        return _on_grid(axis, value, up=up)
    if isinstance(axis, Interval):
        low, high = axis.distribution.low, axis.distribution.high
        return min(max(_moved(float(value), low, high, up=up), low), high)
    raise TypeError(f"no such axis: {axis!r}")


def _moved(value: float, low: float, high: float, *, up: bool) -> float:
    """By a fifth of itself, which on a logarithmic scale is the same everywhere."""
    by = _SHARE * abs(value)
    if low <= 0:
        by = max(by, _SHARE_OF_RANGE * (high - low))
    # So many digits are more than anybody needs, and fewer than rounding leaves.
    return float(f"{value + by if up else value - by:.12g}")


def _on_grid(axis: Grid, value: Value, *, up: bool) -> Value:
    """The nearest step, but another one than before, unless the range ends."""
    low, step = float(axis.low), float(axis.step)
    high = low + step * (axis.count - 1)
    at = axis.index_of(value)
    to = math.floor((_moved(float(value), low, high, up=up) - low) / step + 0.5)
    to = max(to, at + 1) if up else min(to, at - 1)
    return axis.value_at(_clamped(to, axis.count))


def _clamped(index: int, count: int) -> int:
    return min(max(index, 0), count - 1)
