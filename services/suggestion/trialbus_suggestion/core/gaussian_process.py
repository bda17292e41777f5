"""A Gaussian process for a few hundred observations: Matérn 5/2, a length scale for each parameter.

Rasmussen and Williams 2006 (Gaussian Processes for Machine Learning), sections 2.2, 4.2 and 5.4.
The covariance of two observations is amplitude * (matern(distance) + noise, if they are the same).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.optimize import fmin_l_bfgs_b

Floats = NDArray[np.float64]

SQRT_5 = math.sqrt(5.0)
# In units of the cube's edge; wider than what can be told from a flat or a noisy function.
SCALE_BOUNDS = (0.005, 200.0)
# As shares of the amplitude. The lower one keeps the covariance matrix well-conditioned.
NOISE_BOUNDS = (1e-6, 1.0)
# The prior of a length scale is log-normal and grows with the root of the number of parameters:
# Hvarfner, Hellsten, Nardi 2024 (Vanilla Bayesian optimization performs great in high dimensions).
SCALE_CENTER, SCALE_SPREAD = 0.5, 1.0
NOISE_CENTER, NOISE_SPREAD = math.log(1e-4), 3.0
# The prior of the amplitude, as observations with deviation 1 (an inverse gamma distribution).
AMPLITUDE_WEIGHT = 2.0
# Where the search for them starts; shorter than usual, because flat parts have no slope to follow.
START_BELOW, START_NOISE = 1.5, 1e-4
MAX_ITERATIONS = 60
MAX_JITTERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """scales: (n_parameters,); noise: variance as a share of the amplitude's."""

    scales: Floats
    noise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which length scale each of the features has: (n_features,) of parameter numbers."""

    owners: NDArray[np.intp]
    parameters: int

    def total_by_parameter(self, values: Floats) -> Floats:
        totals = np.bincount(self.owners, weights=values, minlength=self.parameters)
        return totals.astype(np.float64)


class Posterior:
    """What is believed after `losses` were seen at `places`, and more are awaited at `awaited`.

    places: (n, n_features); losses: (n,), standardised. At the awaited places the mean is as
    without them, but the deviation is as small as if they were known: Desautels, Krause, Burdick
    2014 (Parallelizing exploration-exploitation tradeoffs), section 3.
    """

    def __init__(
        self,
        layout: Layout,
        hyperparameters: Hyperparameters,
        places: Floats,
        losses: Floats,
        awaited: Floats,
    ) -> None:
        self._scales = hyperparameters.scales[layout.owners]
        self._center = places.mean(axis=0)
        self._known = len(places)
        self._places = (np.concatenate([places, awaited]) - self._center) / self._scales
        self._squares = np.einsum("ij,ij->i", self._places, self._places)
        covariance = _matern(_squared_distances(self._places))[0]
        factor = _factor(covariance, hyperparameters.noise)
        # The leading block of a Cholesky factor is the factor of the leading block.
        known = factor[: self._known, : self._known]
        self._weights = lapack.dpotrs(known, losses, lower=True)[0]
        self.amplitude = _amplitude(losses, self._weights)
        self._whiten = lapack.dtrtri(factor, lower=True)[0]
        self.mean_at_places = covariance[:, : self._known] @ self._weights

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """Mean and deviation of the function, without noise, at (k, n_features)."""
        scaled = (features - self._center) / self._scales
        squares = np.einsum("ij,ij->i", scaled, scaled)
        distances = squares[:, None] + self._squares - 2.0 * (scaled @ self._places.T)
        covariance = _matern(np.maximum(distances, 0.0))[0]
        whitened = covariance @ self._whiten.T
        left = 1.0 - np.einsum("ij,ij->i", whitened, whitened)
        return covariance[:, : self._known] @ self._weights, self._deviation(left)

    def slopes(self, features: Floats) -> tuple[float, float, Floats, Floats]:
        """Mean and deviation at one place, (n_features,), and their gradients."""
        scaled = (features - self._center) / self._scales
        offsets = scaled - self._places
        covariance, slope = _matern(np.einsum("ij,ij->i", offsets, offsets))
        whitened = self._whiten @ covariance
        deviation = float(self._deviation(1.0 - whitened @ whitened))
        mean = float(covariance[: self._known] @ self._weights)
        # The slope of the covariance is -slope * offset / scale.
        by_mean = -(slope[: self._known] * self._weights) @ offsets[: self._known]
        by_variance = 2.0 * ((slope * (whitened @ self._whiten)) @ offsets)
        by_deviation = by_variance * (self.amplitude / (2.0 * deviation))
        return mean, deviation, by_mean / self._scales, by_deviation / self._scales

    def _deviation(self, left: Floats) -> Floats:
        return np.sqrt(self.amplitude * np.maximum(left, 1e-12))


def fit(layout: Layout, places: Floats, losses: Floats) -> Hyperparameters:
    """The hyperparameters of greatest posterior probability, a function of the arguments alone."""
    centered = places - places.mean(axis=0)
    bounds = [tuple(map(math.log, SCALE_BOUNDS))] * layout.parameters
    bounds.append((math.log(NOISE_BOUNDS[0]), math.log(NOISE_BOUNDS[1])))
    start = np.append(
        np.full(layout.parameters, _usual_log_scale(layout) - START_BELOW), math.log(START_NOISE)
    )
    best = fmin_l_bfgs_b(
        loss_of_hyperparameters,
        start,
        args=(layout, centered, losses),
        bounds=bounds,
        maxiter=MAX_ITERATIONS,
        factr=1e9,
        pgtol=1e-3,
    )[0]
    return Hyperparameters(scales=np.exp(best[:-1]), noise=float(np.exp(best[-1])))


def log_marginal_likelihood(
    layout: Layout,
    hyperparameters: Hyperparameters,
    amplitude: float,
    places: Floats,
    losses: Floats,
) -> float:
    """Rasmussen and Williams, equation 5.8."""
    scaled = places / hyperparameters.scales[layout.owners]
    factor = _factor(_matern(_squared_distances(scaled))[0], hyperparameters.noise)
    weights = lapack.dpotrs(factor, losses, lower=True)[0]
    return float(
        -0.5 * (losses @ weights) / amplitude
        - np.log(np.diag(factor)).sum()
        - 0.5 * len(losses) * math.log(2.0 * math.pi * amplitude)
    )


def loss_of_hyperparameters(
    theta: Floats, layout: Layout, places: Floats, losses: Floats
) -> tuple[float, Floats]:
    """Minus the log posterior of log scales and log noise, the amplitude being the best one for
    them, and its gradient (equation 5.9)."""
    usual = _usual_log_scale(layout)
    log_scales, log_noise = theta[:-1], theta[-1]
    scaled = places * np.exp(-log_scales)[layout.owners]
    covariance, slope = _matern(_squared_distances(scaled))
    noise = math.exp(log_noise)
    factor = _factor(covariance, noise)
    weights = lapack.dpotrs(factor, losses, lower=True)[0]
    amplitude = _amplitude(losses, weights)
    total = len(losses) + AMPLITUDE_WEIGHT
    value = 0.5 * total * math.log(amplitude) + float(np.log(np.diag(factor)).sum())
    pull = _inverse(factor) - np.multiply.outer(weights, weights / amplitude)
    by_noise = 0.5 * noise * float(np.trace(pull))
    pull *= slope
    by_feature = pull.sum(axis=1) @ (scaled * scaled) - np.einsum("ij,ij->j", scaled, pull @ scaled)
    gradient = np.append(layout.total_by_parameter(by_feature), by_noise)
    off_scales = (log_scales - usual) / SCALE_SPREAD
    off_noise = (log_noise - NOISE_CENTER) / NOISE_SPREAD
    value += 0.5 * float(off_scales @ off_scales) + 0.5 * off_noise**2
    gradient += np.append(off_scales / SCALE_SPREAD, off_noise / NOISE_SPREAD)
    return value, gradient


def _usual_log_scale(layout: Layout) -> float:
    return SCALE_CENTER + 0.5 * math.log(layout.parameters)


def _amplitude(losses: Floats, weights: Floats) -> float:
    """The most probable amplitude when all else is given."""
    return float(losses @ weights + AMPLITUDE_WEIGHT) / (len(losses) + AMPLITUDE_WEIGHT)


def _squared_distances(places: Floats) -> Floats:
    products = places @ places.T
    squares = np.diag(products)
    return np.maximum(squares[:, None] + squares - 2.0 * products, 0.0)


def _matern(squared: Floats) -> tuple[Floats, Floats]:
    """The covariance at squared distances in length scales, and minus its slope by the distance,
    over the distance."""
    root = SQRT_5 * np.sqrt(squared)
    decay = np.exp(-root)
    slope = (5.0 / 3.0) * (1.0 + root) * decay
    return slope * 0.6 + (5.0 / 3.0) * squared * decay, slope


def _factor(covariance: Floats, noise: float) -> Floats:
    """The lower Cholesky factor; with more noise when rounding makes the matrix indefinite."""
    for _ in range(MAX_JITTERS):
        noisy = covariance.copy()
        noisy.flat[:: len(noisy) + 1] = 1.0 + noise
        factor: Floats
        factor, info = lapack.dpotrf(noisy, lower=True, clean=True)
        if info == 0:
            return factor
        noise *= 10.0
    raise ArithmeticError("a covariance matrix is not positive definite, whatever is added to it")


def _inverse(factor: Floats) -> Floats:
    lower: Floats = lapack.dpotri(factor, lower=True)[0]
    inverse: Floats = lower + np.tril(lower, -1).T
    return inverse
