"""Truncated distributions as maps between the unit interval and a range.

Every numeric parameter has a function u -> x (the quantile function) and its inverse, so an
algorithm that works in the unit cube honours every distribution and never leaves the bounds.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist


class DistributionKind(StrEnum):
    """Katib's names. `unknown` and an empty name mean uniform, as in Katib."""

    UNIFORM = "uniform"
    LOG_UNIFORM = "logUniform"
    NORMAL = "normal"
    LOG_NORMAL = "logNormal"

    @classmethod
    def named(cls, name: str) -> "DistributionKind":
        return cls.UNIFORM if name in {"", "unknown"} else cls(name)

    @property
    def is_log(self) -> bool:
        return self in {DistributionKind.LOG_UNIFORM, DistributionKind.LOG_NORMAL}

    @property
    def is_normal(self) -> bool:
        return self in {DistributionKind.NORMAL, DistributionKind.LOG_NORMAL}


# Katib draws normal parameters around the middle of the range with a sixth of its width as sigma
# (pkg/suggestion/v1beta1/hyperopt/base_service.py); here the tails beyond the bounds are cut off.
SIGMAS_PER_RANGE = 6.0


@dataclass(frozen=True, slots=True)
class Truncated:
    """A distribution on [low, high]; `bell` is None for (log-)uniform.

    With `is_log` everything happens in ln x, so low must be positive.
    """

    low: float
    high: float
    is_log: bool = False
    bell: NormalDist | None = None

    @classmethod
    def over(
        cls, kind: DistributionKind, low: float, high: float, support: tuple[float, float]
    ) -> "Truncated":
        """The distribution that [low, high] describes, cut off at `support`."""
        if kind.is_log and min(low, support[0]) <= 0:
            raise ValueError(f"a {kind.value} range must be above 0, got {low}")
        bell = None
        start, end = (math.log(low), math.log(high)) if kind.is_log else (low, high)
        if kind.is_normal and start < end:
            bell = NormalDist((start + end) / 2, (end - start) / SIGMAS_PER_RANGE)
        return cls(*support, kind.is_log, bell)

    def quantile(self, u: float) -> float:
        """The value below which a share `u` of the probability lies; monotone, within bounds."""
        start, end = self._scaled(self.low), self._scaled(self.high)
        if self.bell is None:
            x = start * (1.0 - u) + end * u
        else:
            below, above = self.bell.cdf(start), self.bell.cdf(end)
            share = below * (1.0 - u) + above * u
            # Bounds many sigmas out have the shares 0 and 1, of which there is no quantile.
            if share <= 0.0 or share >= 1.0:
                return self.low if share <= 0.0 else self.high
            x = self.bell.inv_cdf(share)
        value = math.exp(min(x, end)) if self.is_log else x
        return min(max(value, self.low), self.high)

    def share_below(self, value: float) -> float:
        """The inverse of `quantile`: the probability of a smaller value."""
        start, end, x = self._scaled(self.low), self._scaled(self.high), self._scaled(value)
        if start >= end:
            return 0.5
        if self.bell is not None:
            start, end, x = self.bell.cdf(start), self.bell.cdf(end), self.bell.cdf(x)
        return min(max((x - start) / (end - start), 0.0), 1.0)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.is_log else value
