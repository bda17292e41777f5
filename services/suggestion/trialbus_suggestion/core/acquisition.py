"""Acquisition functions: how much is expected of a place with a mean and a deviation.

Higher is better. Expected improvement and probability of improvement as logarithms, which have
the same optimum but no plateaus at 0: Ament, Daulton, Eriksson, Balandat, Bakshy 2023
(Unexpected improvements to expected improvement).
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr

if TYPE_CHECKING:
    from random import Random

Floats = NDArray[np.float64]
# Of means, deviations and the best loss so far: the values, and their slopes by mean and deviation.
Acquisition = Callable[[Floats, Floats, float], tuple[Floats, Floats, Floats]]

# Deviations below the mean that LCB hopes for, as in scikit-optimize.
KAPPA = 1.96
# PI's least improvement that counts, in deviations of the losses, as in scikit-optimize.
LEAST = 0.01
ROOT_HALF_PI = math.sqrt(math.pi / 2.0)
LOG_ROOT_2_PI = 0.5 * math.log(2.0 * math.pi)
# Below it 1 + z * ratio(z) is all rounding; its series starts with 1 / z^2.
FAR = -1e5
# Above it the improvement is certain, and its ratio near the end of what a double holds.
CERTAIN = 30.0


def log_expected_improvement(
    mean: Floats, deviation: Floats, best: float
) -> tuple[Floats, Floats, Floats]:
    """log E[max(best - loss, 0)] (Jones, Schonlau, Welch 1998, equation 15)."""
    z = (best - mean) / deviation
    ratio = _cumulative_over_density(np.minimum(z, CERTAIN))
    gain = np.where(z > FAR, 1.0 + z * ratio, 1.0 / np.maximum(z * z, 1.0))
    log_gain = np.where(z > CERTAIN, np.log(np.maximum(z, 1.0)), _log_density(z) + np.log(gain))
    return np.log(deviation) + log_gain, -ratio / (gain * deviation), 1.0 / (gain * deviation)


def log_probability_of_improvement(
    mean: Floats, deviation: Floats, best: float
) -> tuple[Floats, Floats, Floats]:
    """log P(loss < best - LEAST) (Kushner 1964)."""
    z = (best - LEAST - mean) / deviation
    slope = -1.0 / (_cumulative_over_density(np.minimum(z, CERTAIN)) * deviation)
    return log_ndtr(z), slope, slope * z


def lower_confidence_bound(
    mean: Floats, deviation: Floats, _best: float
) -> tuple[Floats, Floats, Floats]:
    """KAPPA deviations below the mean (Srinivas, Krause, Kakade, Seeger 2010), negated."""
    ones = np.ones_like(mean)
    return KAPPA * deviation - mean, -ones, KAPPA * ones


def _cumulative_over_density(z: Floats) -> Floats:
    """Of the normal distribution at z."""
    ratio: Floats = ROOT_HALF_PI * erfcx(-z / math.sqrt(2.0))
    return ratio


def _log_density(z: Floats) -> Floats:
    return -0.5 * z * z - LOG_ROOT_2_PI


ACQUISITIONS: dict[str, Acquisition] = {
    "EI": log_expected_improvement,
    "LCB": lower_confidence_bound,
    "PI": log_probability_of_improvement,
}
# Of gp_hedge, whose turn it is falls by chance: a point that one of them will not leave is left by
# another (Brochu, Hoffman, de Freitas 2011, Portfolio allocation for Bayesian optimization, who
# also weigh them by past gains; those depend on the order of results).
HEDGED = ("EI", "LCB", "PI")
WITHOUT_TIME = {"EIps": "EI", "PIps": "PI"}


def chosen_acquisition(setting: str, rng: "Random") -> str:
    """Which of ACQUISITIONS the setting `acq_func` means for the next point."""
    return rng.choice(HEDGED) if setting == "gp_hedge" else WITHOUT_TIME.get(setting, setting)
