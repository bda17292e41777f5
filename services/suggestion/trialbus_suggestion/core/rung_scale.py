"""The resources of rungs as exact numbers.

`floor(log(243) / log(3))` is 4 in floating point, and a bracket would be missing. So numbers are
taken as they are written, as fractions, and powers are counted.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from trialbus.kernel.catalogue import SettingValue

DEFAULT_ETA = Fraction(3)


def exact(number: SettingValue) -> Fraction:
    """A setting as it was written: 0.1 is a tenth."""
    return Fraction(str(number))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """From r_min to r_l, eta times as much from rung to rung; the numbers are above 0, eta >= 2.

    top: floor(log_eta(r_l / r_min)): how often a configuration can be promoted at most.
    """

    r_l: Fraction
    r_min: Fraction
    eta: Fraction
    top: int

    @classmethod
    def of(cls, settings: Mapping[str, SettingValue]) -> "Scale":
        """From settings that passed their checks. eta of 0 or less is the default, as in Katib."""
        r_l, r_min, eta = (exact(settings[name]) for name in ("r_l", "r_min", "eta"))
        eta = eta if eta > 0 else DEFAULT_ETA
        top, resource = 0, r_min * eta
        while resource <= r_l:
            top, resource = top + 1, resource * eta
        return cls(r_l=r_l, r_min=r_min, eta=eta, top=top)

    def bracket_size(self, s: int) -> int:
        """How many configurations begin in Hyperband's bracket s, so that each bracket has the
        budget of the others (Li et al. 2018, algorithm 1: n)."""
        return math.ceil(Fraction(self.top + 1, s + 1) * self.eta**s)

    def from_above(self, steps: int) -> Fraction:
        """The resource `steps` rungs below r_l."""
        return self.r_l / self.eta**steps

    def from_below(self, steps: int) -> Fraction:
        """The resource `steps` rungs above r_min."""
        return self.r_min * self.eta**steps
