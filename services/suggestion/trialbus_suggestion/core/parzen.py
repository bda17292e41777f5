"""Parzen estimators over coded points: a kernel per point, and a prior that is uniform.

A coded point has a column per axis: numbers by their unit interval, in which their distribution
is uniform; unordered choices by their index. Kernels of numbers are normal, cut off at 0 and 1.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import NormalDist
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from random import Random

Floats = NDArray[np.float64]
Indexes = NDArray[np.intp]

STANDARD = NormalDist()
LOG_SQRT_TAU = 0.5 * math.log(math.tau)
# The normal's distribution function as a table: linear between nodes it is right to 3e-8.
NODES_PER_SIGMA = 1024
TABLE_SIGMAS = 8
CDF_TABLE = np.array(
    [STANDARD.cdf(i / NODES_PER_SIGMA) for i in range(NODES_PER_SIGMA * TABLE_SIGMAS + 2)]
)
# Candidates times points of these: exp is four times as fast, and seven digits are plenty to rank.
SINGLE = np.float32
# No kernel is narrower than a hundredth of the range: the "magic clip" of hyperopt.
MAX_SHARPNESS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """choices: how many there are of an unordered parameter; 0: it is numeric. narrowest: the
    least bandwidth, half a step of a grid."""

    choices: int = 0
    narrowest: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """points: (n, columns); order: (columns, n), the rows of `points` sorted by each column."""

    points: Floats
    order: Indexes


class Estimator(Protocol):
    """The law: the densities integrate to 1 over the unit cube and the choices."""

    def log_densities(self, points: Floats) -> Floats:
        """(n, blocks): of the parts of each point that are independent of each other."""

    def draw(self, count: int, rng: "Random") -> list[list[float]]:
        """Points by the density."""


class IndependentEstimator:
    """A mixture of kernels for each column by itself (Bergstra et al. 2011, section 4.2).

    The bandwidth of a kernel is the distance to its farther neighbour; the bounds are neighbours.
    """

    def __init__(self, columns: Sequence[Column], sample: Sample, prior_weight: float) -> None:
        self._mixtures = [
            Choosing.of(column.choices, sample.points[:, i], prior_weight)
            if column.choices
            else Mixture.of(column, sample.points[sample.order[i], i], prior_weight)
            for i, column in enumerate(columns)
        ]

    def log_densities(self, points: Floats) -> Floats:
        logs = [mix.log_densities(points[:, i]) for i, mix in enumerate(self._mixtures)]
        return np.stack(logs, axis=1)

    def draw(self, count: int, rng: "Random") -> list[list[float]]:
        return [[mix.draw(rng) for mix in self._mixtures] for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Mixture:
    """Normal kernels of equal weight, and the uniform prior. total: of all weights."""

    centers: Floats
    widths: Floats
    total: float

    @classmethod
    def of(cls, column: Column, centers: Floats, prior_weight: float) -> "Mixture":
        """centers: sorted."""
        least = max(clip_of(len(centers)), column.narrowest)
        widths = np.clip(neighbour_distances(centers), least, 1.0)
        return cls(centers, widths, len(centers) + prior_weight)

    def log_densities(self, values: Floats) -> Floats:
        heights = 1.0 / (masses(self.centers, self.widths) * self.widths)
        scales = (math.sqrt(0.5) / self.widths).astype(SINGLE)
        distances = values.astype(SINGLE)[:, None] - self.centers.astype(SINGLE)
        distances *= scales
        np.negative(np.square(distances, out=distances), out=distances)
        kernels = np.exp(distances, out=distances) @ heights.astype(SINGLE)
        prior = self.total - len(self.centers)
        densities = kernels.astype(np.float64) / math.sqrt(math.tau) + prior
        logs: Floats = np.log(densities / self.total)
        return logs

    def draw(self, rng: "Random") -> float:
        at, u = int(rng.random() * self.total), rng.random()
        if at >= len(self.centers):
            return u
        return cut_normal(float(self.centers[at]), float(self.widths[at]), u)


@dataclass(frozen=True, slots=True)
class Choosing:
    """How often each choice occurs, the prior added to each."""

    probabilities: Floats
    cumulated: list[float]

    @classmethod
    def of(cls, choices: int, codes: Floats, prior_weight: float) -> "Choosing":
        counts = np.bincount(codes.astype(np.intp), minlength=choices) + prior_weight
        probabilities = counts / counts.sum()
        return cls(probabilities, list(accumulate(probabilities.tolist())))

    def log_densities(self, codes: Floats) -> Floats:
        logs: Floats = np.log(self.probabilities[codes.astype(np.intp)])
        return logs

    def draw(self, rng: "Random") -> float:
        # Without the last share, so that rounding leads to no choice behind the last.
        return float(bisect_right(self.cumulated[:-1], rng.random()))


class JointEstimator:
    """One mixture of kernels over all columns, so it sees which values go together (Falkner,
    Klein, Hutter 2018, section 3.2; Watanabe 2023, section 3.3).

    Each kernel has a bandwidth of its own in each column, by its neighbours there, as in Optuna 5:
    sharp where points are dense. Choices have the kernel of Aitchison and Aitken (1976), with a
    share of 1 / (kernels + choices) for each other choice.
    """

    def __init__(self, columns: Sequence[Column], sample: Sample, prior_weight: float) -> None:
        count = len(sample.points)
        self._columns = columns
        self._points = sample.points
        self._numeric = [i for i, column in enumerate(columns) if not column.choices]
        self._widths = np.empty((count, len(self._numeric)))
        for at, i in enumerate(self._numeric):
            order = sample.order[i]
            distances = inner_distances(sample.points[order, i])
            least = max(clip_of(count + 1), columns[i].narrowest)
            self._widths[order, at] = np.clip(distances, least, 1.0)
        self._kernels = count + 1
        self._total = count + prior_weight
        self._log_share = -math.log(self._total)
        choices = [column.choices for column in columns if column.choices]
        self._log_prior = math.log(prior_weight / self._total) - sum(map(math.log, choices))

    def log_densities(self, points: Floats) -> Floats:
        logs = self._numeric_logs(points)
        logs += self._log_share
        for i, column in enumerate(self._columns):
            if column.choices:
                own, other = self._choice_shares(column.choices)
                logs += math.log(other)
                same = points[:, i, None] == self._points[:, i]
                logs += same * (math.log(own) - math.log(other))
        peaks = np.maximum(logs.max(axis=1, initial=-math.inf), self._log_prior)
        logs -= peaks[:, None]
        sums = np.exp(logs, out=logs).sum(axis=1) + np.exp(self._log_prior - peaks)
        densities: Floats = peaks + np.log(sums)
        return densities[:, None]

    def draw(self, count: int, rng: "Random") -> list[list[float]]:
        return [self._draw_one(int(rng.random() * self._total), rng) for _ in range(count)]

    def _numeric_logs(self, points: Floats) -> Floats:
        """(points, kernels); squares by products of matrices:
        -(x - m)^2 / 2w^2 = x m/w^2 - x^2 / 2w^2 - m^2 / 2w^2."""
        centers, widths = self._points[:, self._numeric], self._widths
        heights = -np.log(masses(centers, widths)) - np.log(widths) - LOG_SQRT_TAU
        places, sharpness = points[:, self._numeric], 1.0 / (widths * widths)
        logs: Floats = places @ (centers * sharpness).T
        logs -= (0.5 * places * places) @ sharpness.T
        logs += (heights - 0.5 * centers * centers * sharpness).sum(axis=1)
        return logs

    def _choice_shares(self, choices: int) -> tuple[float, float]:
        """Of the kernel's own choice, and of each other."""
        other = 1 / (self._kernels + choices)
        return 1 - (choices - 1) * other, other

    def _draw_one(self, kernel: int, rng: "Random") -> list[float]:
        """kernel: behind the last is the prior."""
        is_prior = kernel >= len(self._points)
        widths = iter(() if is_prior else self._widths[kernel].tolist())
        point = []
        for i, column in enumerate(self._columns):
            u = rng.random()
            if is_prior:
                value = math.floor(u * column.choices) if column.choices else u
            elif column.choices:
                value = self._near(int(self._points[kernel, i]), column.choices, u)
            else:
                value = cut_normal(float(self._points[kernel, i]), next(widths), u)
            point.append(float(value))
        return point

    def _near(self, code: int, choices: int, u: float) -> int:
        own, other = self._choice_shares(choices)
        if u < own:
            return code
        others = min(int((u - own) / other), choices - 2)
        return others + (others >= code)


def neighbour_distances(ordered: Floats) -> Floats:
    """The distance of each to the farther of its two neighbours; 0 and 1 are neighbours too."""
    gaps = np.diff(ordered, prepend=0.0, append=1.0)
    return np.maximum(gaps[:-1], gaps[1:])


def inner_distances(ordered: Floats) -> Floats:
    """The same, but the bounds are neighbours only of a point that has no other on any side."""
    distances = neighbour_distances(ordered)
    if len(ordered) > 1:
        distances[0] = ordered[1] - ordered[0]
        distances[-1] = ordered[-1] - ordered[-2]
    return distances


def clip_of(count: int) -> float:
    """The least bandwidth with this many points."""
    return 1 / min(MAX_SHARPNESS, count + 1)


def masses(centers: Floats, widths: Floats) -> Floats:
    """The share of normals that lies within [0, 1]; the centers do."""
    return normal_cdf((1.0 - centers) / widths) + normal_cdf(centers / widths) - 1.0


def normal_cdf(distances: Floats) -> Floats:
    """Of the standard normal at distances >= 0."""
    places = np.minimum(distances, TABLE_SIGMAS) * NODES_PER_SIGMA
    nodes = places.astype(np.intp)
    below = CDF_TABLE[nodes]
    values: Floats = below + (CDF_TABLE[nodes + 1] - below) * (places - nodes)
    return values


def cut_normal(center: float, width: float, u: float) -> float:
    """The value at share `u` of a normal that is cut off at 0 and 1."""
    low, high = STANDARD.cdf(-center / width), STANDARD.cdf((1.0 - center) / width)
    share = low + (high - low) * u
    if not 0.0 < share < 1.0:
        return center
    return min(max(center + width * STANDARD.inv_cdf(share), 0.0), 1.0)
