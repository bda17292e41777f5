"""Search spaces of every type and distribution, and what their draws must look like."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import stats

from trialbus.kernel.space import Parameter, SearchSpace

DISTRIBUTIONS = ("uniform", "logUniform", "normal", "logNormal")
DOUBLES = [
    Parameter(name="x", type="double", min="0.01", max="2", distribution=name)
    for name in DISTRIBUTIONS
]
STEPPED = [
    Parameter(name="x", type="double", min="0.1", max="1.55", step="0.1", distribution=name)
    for name in DISTRIBUTIONS
]
INTEGERS = [
    Parameter(name="x", type="int", min="1", max="20", step=step, distribution=name)
    for name in DISTRIBUTIONS
    for step in ("", "3")
]
LISTS = [
    Parameter(name="x", type="discrete", list=("64", "8", "16.5", "32", "1e3", "2", "4", "6", "7")),
    Parameter(name="x", type="categorical", list=tuple("abcdefghi")),
]
PARAMETERS = [*DOUBLES, *STEPPED, *INTEGERS, *LISTS]

_MIXED = (
    Parameter(name="lr", type="double", min="1e-4", max="0.1", distribution="logUniform"),
    Parameter(name="layers", type="int", min="1", max="4"),
    Parameter(name="batch", type="discrete", list=("16", "32", "64")),
    Parameter(name="optimizer", type="categorical", list=("sgd", "adam", "ftrl")),
    Parameter(name="fixed", type="categorical", list=("only",)),
)
# The same, for algorithms that take fewer kinds of parameters; the first that fits is used.
MIXED = (_MIXED, (replace(_MIXED[0], step="1e-4"), *_MIXED[1:]), _MIXED[:2])
# Finite ones, of 12 and 60 points.
TWELVE = (
    (
        Parameter(name="a", type="int", min="1", max="3", distribution="logNormal"),
        Parameter(name="b", type="categorical", list=("x", "y")),
        Parameter(name="c", type="double", min="0", max="0.5", step="0.5"),
    ),
    (
        Parameter(name="a", type="int", min="1", max="3", distribution="logNormal"),
        Parameter(name="c", type="double", min="0", max="1.5", step="0.5"),
    ),
)
SIXTY = (
    (
        Parameter(name="a", type="int", min="1", max="5"),
        Parameter(name="b", type="categorical", list=("x", "y", "z")),
        Parameter(name="c", type="double", min="0.1", max="0.4", step="0.1"),
    ),
    (
        Parameter(name="a", type="int", min="1", max="15"),
        Parameter(name="c", type="double", min="0.1", max="0.4", step="0.1"),
    ),
)
# Beside one parameter, where an algorithm needs two.
COMPANION = Parameter(name="y", type="double", min="0", max="1")


def identity(parameter: Parameter) -> str:
    """For the name of a test."""
    return f"{parameter.type}-{parameter.distribution}-{parameter.step or 'plain'}"


def frozen(parameter: Parameter, support: tuple[float, float] | None = None) -> stats.rv_continuous:
    """scipy's own distribution for a range, cut off at `support`."""
    low, high = float(parameter.min), float(parameter.max)
    start, end = support or (low, high)
    match parameter.distribution:
        case "uniform":
            return stats.uniform(start, end - start)
        case "logUniform":
            return stats.loguniform(start, end)
        case "normal":
            mu, sigma = (low + high) / 2, (high - low) / 6
            return stats.truncnorm((start - mu) / sigma, (end - mu) / sigma, mu, sigma)
        case _:
            mu, sigma = math.log(low * high) / 2, math.log(high / low) / 6
            bounds = (math.log(start) - mu) / sigma, (math.log(end) - mu) / sigma
            return _LogOf(stats.truncnorm(*bounds, mu, sigma))


class _LogOf:
    """The distribution of exp(x)."""

    def __init__(self, distribution: stats.rv_continuous) -> None:
        self.distribution = distribution

    def cdf(self, x: Any) -> Any:
        return self.distribution.cdf(np.log(x))


def cell_shares(parameter: Parameter) -> list[float]:
    """The probability of each value of a grid or list: of half a step to both sides."""
    if parameter.list:
        return [1 / len(parameter.list)] * len(parameter.list)
    space = SearchSpace((parameter,))
    size, half = space.cardinality() or 0, float(parameter.step or 1) / 2
    values = [float(space.point_at(i)[0]) for i in range(size)]
    is_log = parameter.distribution.startswith("log")
    start = max(values[0] - half, values[0] / 2) if is_log else values[0] - half
    distribution = frozen(parameter, (start, values[-1] + half))
    edges = [start, *(value + half for value in values)]
    below = [float(distribution.cdf(edge)) for edge in edges]
    return [after - before for before, after in pairwise(below)]
