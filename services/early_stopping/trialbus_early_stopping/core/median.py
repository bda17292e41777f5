"""The median stopping rule of Vizier.

Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017, section 3.2.2: stop
a running trial at step s if its best objective value by step s is strictly worse than the median of
the running averages of all completed trials' objectives reported up to step s. A completed trial
with fewer than s reports has reported all of them up to step s, so its last average counts.

NaN counts as the worst value: a running trial that reported only NaN is stopped by any finite
median, and a completed trial's average is the worst from its first NaN on.
"""

from trialbus.kernel.objective import ObjectiveType
from trialbus_early_stopping.core.catalogue import MedianStopSettings
from trialbus_early_stopping.core.evidence import Verdict, running_averages
from trialbus_early_stopping.core.rule import (
    ComparingRule,
    Curve,
    FixedRule,
    Settings,
    worse_or_not,
)
from trialbus_early_stopping.core.step_columns import StepColumns


class MedianRule(ComparingRule):
    def __init__(self, settings: MedianStopSettings, objective: ObjectiveType) -> None:
        super().__init__(objective)
        self.settings = settings
        self._averages = StepColumns()

    def learn(self, curve: Curve) -> None:
        self._averages.add(running_averages(curve.values, self.objective))

    def median_at(self, step: int) -> float | None:
        """The median loss of the completed trials up to `step`; None without any."""
        column = self._averages.at(step)
        if not column:
            return None
        upper = column[len(column) // 2]
        lower = column[(len(column) - 1) // 2]
        # Halves first: a sum could overflow. Equal ones stay exact, however small.
        return upper if lower == upper else lower / 2 + upper / 2

    def judge(self, curve: Curve, step: int) -> Verdict | None:
        median = self._bar(step) if step >= self.settings.start_step else None
        if median is None:
            return None
        # Between -inf and inf there is no middle: NaN, and nothing is worse than it.
        stop, shown = curve.best[step - 1] > median, self.own(median)
        meaning = "the median of the running averages"
        reason = worse_or_not(
            curve, step, stop=stop, bar=shown, meaning=meaning, completed=self.completed
        )
        return self.verdict(curve, step, stop=stop, reason=reason, median=shown)

    def _bar(self, step: int) -> float | None:
        enough = self.completed >= self.settings.min_trials_required
        return self.median_at(step) if enough else None

    @property
    def katib_steps(self) -> int:
        return self.settings.start_step

    def katib_rule(self) -> FixedRule | None:
        """Katib calls the value a median and takes the mean of the completed trials' averages; here
        it is the median, as its documentation promises."""
        median = self._bar(self.settings.start_step)
        if median is None:
            return None
        return FixedRule(value=self.own(median), start_step=self.settings.start_step)


def median_rule(settings: Settings, objective: ObjectiveType) -> MedianRule:
    return MedianRule(MedianStopSettings.of(settings), objective)
