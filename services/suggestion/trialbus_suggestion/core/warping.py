"""Losses bent to look normal: without their long tail the good ones differ to a model."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# From bent strongly towards the good to bent towards the bad; 1 leaves losses as they are.
POWERS = np.linspace(-3.0, 3.0, 61)
# A shape cannot be told from fewer.
MIN_LOSSES = 5


def warped(losses: Floats) -> Floats:
    """Losses, (n,), by the likeliest power of Yeo and Johnson 2000 (A new family of power
    transformations), equations 2.1 and 3.1; mean 0, deviation 1, in the same order of size."""
    if len(losses) < MIN_LOSSES or losses.min() == losses.max():
        return losses
    power = likeliest_power(losses)
    bent = yeo_johnson(losses, power)
    spread = float(bent.std())
    if not math.isfinite(spread) or spread <= 0.0:
        return losses
    result: Floats = (bent - bent.mean()) / spread
    return result


def likeliest_power(losses: Floats) -> float:
    """The power, among POWERS, after which losses are most likely draws of a normal one."""
    bent = yeo_johnson(losses[None], POWERS[:, None])
    with np.errstate(divide="ignore"):
        likelihoods = (POWERS - 1.0) * float(np.sum(np.sign(losses) * np.log1p(np.abs(losses))))
        likelihoods -= 0.5 * len(losses) * np.log(bent.var(axis=1))
    return float(POWERS[int(np.argmax(np.where(np.isfinite(likelihoods), likelihoods, -np.inf)))])


def yeo_johnson(losses: Floats, power: Floats | float) -> Floats:
    """Equation 2.1; arguments of any shapes that fit together."""
    grown = np.log1p(np.abs(losses))
    above, below = power + 0.0 * losses, 2.0 - power + 0.0 * losses
    exponent = np.where(losses >= 0.0, above, below)
    flat = np.abs(exponent) < 1e-9
    safe = np.where(flat, 1.0, exponent)
    size = np.where(flat, grown, np.expm1(np.minimum(safe * grown, 700.0)) / safe)
    result: Floats = np.sign(losses) * size
    return result
