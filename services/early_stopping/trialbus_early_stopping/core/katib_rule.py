"""The rule that Katib's collectors apply to a trial by themselves, fixed when the trial is made.

Katib calls the value a median and takes the mean of the completed trials' averages; here it is the
median, as its documentation promises.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trialbus.kernel.objective import ObjectiveType
from trialbus_early_stopping.core.catalogue import MedianStopSettings
from trialbus_early_stopping.core.median import MedianRule


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedRule:
    """A trial whose best objective at its report number `start_step` is worse than `value` is to
    be stopped."""

    value: float
    start_step: int


def fixed_rule(
    settings: MedianStopSettings, objective: ObjectiveType, completed: Sequence[Sequence[float]]
) -> FixedRule | None:
    """From the objective by step of each succeeded trial; None while they are too few.

    value: the median of the means of their first `start_step` values, in the user's own direction.
    """
    rule = MedianRule(settings, objective)
    for number, values in enumerate(completed, start=1):
        rule.add(str(number), values[: settings.start_step], number)
    median = rule.median_at(settings.start_step)
    if median is None or rule.completed < settings.min_trials_required:
        return None
    sign = 1.0 if objective is ObjectiveType.MINIMIZE else -1.0
    return FixedRule(value=sign * median, start_step=settings.start_step)
