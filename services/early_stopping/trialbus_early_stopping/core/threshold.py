"""The threshold rule: Optuna's ThresholdPruner.

A running trial is stopped at a step at which it reports a value below `lower`, above `upper`, or
NaN, whatever the objective's direction and whatever other trials did.
"""

import math

from trialbus.kernel.measurements import format_value
from trialbus.kernel.objective import ObjectiveType
from trialbus_early_stopping.core.evidence import Verdict
from trialbus_early_stopping.core.rule import Curve, FixedRule, Settings, StoppingRule, is_due


class ThresholdRule(StoppingRule):
    def __init__(self, settings: Settings, objective: ObjectiveType) -> None:
        super().__init__(objective)
        self._bounds = {
            name: float(settings[name]) for name in ("lower", "upper") if name in settings
        }
        self._start_step = int(settings["start_step"])
        self._interval_steps = int(settings["interval_steps"])

    def judge(self, curve: Curve, step: int) -> Verdict | None:
        if not is_due(step, self._start_step, self._interval_steps):
            return None
        value = curve.values[step - 1]
        fault = self._fault(value)
        reason = f"objective {format_value(value)} at step {step} {fault or 'is within the bounds'}"
        numbers = {"value": value, **self._bounds}
        return self.verdict(curve, step, stop=fault is not None, reason=reason, numbers=numbers)

    def _fault(self, value: float) -> str | None:
        if math.isnan(value):
            return "is not a number"
        if value < self._bounds.get("lower", -math.inf):
            return f"is below the lower bound {format_value(self._bounds['lower'])}"
        if value > self._bounds.get("upper", math.inf):
            return f"is above the upper bound {format_value(self._bounds['upper'])}"
        return None

    @property
    def katib_steps(self) -> int:
        return 0

    def katib_rule(self) -> FixedRule:
        """Katib stops a trial only when all its rules have fired, so of two bounds it is told the
        one on the side that is worse."""
        above = self.objective is ObjectiveType.MINIMIZE
        name = "upper" if above else "lower"
        if name not in self._bounds:
            above, [name] = not above, self._bounds
        # Katib looks at every report where 0 is said, and once at any other step.
        start_step = 0 if self._start_step == self._interval_steps == 1 else self._start_step
        return FixedRule(
            value=self._bounds[name],
            start_step=start_step,
            stops="above" if above else "below",
        )
