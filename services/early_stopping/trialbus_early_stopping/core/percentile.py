"""The percentile rule: Optuna's PercentilePruner, with the best so far on both sides.

Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework", KDD 2019; of the
same family as the median rule of Golovin et al., "Google Vizier", KDD 2017, section 3.2.2. At step
s a running trial is stopped if its best objective value by s is strictly worse than the percentile
of the completed trials' best values by s. percentile 25 lets the best quarter go on. Between two
ranks the value is interpolated linearly. A completed trial that ended earlier counts with its best.

NaN counts as the worst value.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

from trialbus.kernel.measurements import format_value
from trialbus.kernel.objective import ObjectiveType
from trialbus_early_stopping.core.evidence import Verdict
from trialbus_early_stopping.core.rule import (
    ComparingRule,
    Curve,
    FixedRule,
    Settings,
    is_due,
    worse_or_not,
)
from trialbus_early_stopping.core.step_columns import StepColumns


class PercentileRule(ComparingRule):
    def __init__(self, settings: Settings, objective: ObjectiveType) -> None:
        super().__init__(objective)
        self._percentile = float(settings["percentile"])
        self._min_trials = int(settings["min_trials_required"])
        self._start_step = int(settings["start_step"])
        self._interval_steps = int(settings["interval_steps"])
        self._best = StepColumns()

    def learn(self, curve: Curve) -> None:
        self._best.add(curve.best)

    def judge(self, curve: Curve, step: int) -> Verdict | None:
        if not is_due(step, self._start_step, self._interval_steps):
            return None
        bar = self._bar(step)
        if bar is None:
            return None
        stop, shown = curve.best[step - 1] > bar, self.own(bar)
        meaning = f"the percentile {format_value(self._percentile)} of the best values"
        reason = worse_or_not(
            curve, step, stop=stop, bar=shown, meaning=meaning, completed=self.completed
        )
        numbers = {"percentile": self._percentile, "bar": shown}
        return self.verdict(curve, step, stop=stop, reason=reason, numbers=numbers)

    def _bar(self, step: int) -> float | None:
        """As a loss; None while too few trials are completed."""
        if self.completed < self._min_trials:
            return None
        return percentile_of(self._best.at(step), self._percentile)

    @property
    def katib_steps(self) -> int:
        return self._start_step

    def katib_rule(self) -> FixedRule | None:
        bar = self._bar(self._start_step)
        if bar is None:
            return None
        return FixedRule(value=self.own(bar), start_step=self._start_step)


def percentile_of(column: Sequence[float], percentile: float) -> float:
    """Of sorted numbers, at least one. NaN between -inf and inf: nothing is worse than it."""
    rank = Fraction(percentile) * (len(column) - 1) / 100
    below = math.floor(rank)
    lower, upper, share = column[below], column[math.ceil(rank)], rank - below
    if share == 0 or lower == upper:
        return lower
    if math.isinf(lower) or math.isinf(upper):
        return lower + upper
    # Exact until the end, so that who is as good as the bar is never worse than it.
    return float(Fraction(lower) + (Fraction(upper) - Fraction(lower)) * share)
