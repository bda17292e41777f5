"""The stopping rules that this service knows, and their settings."""

from collections.abc import Sequence
from dataclasses import dataclass

from trialbus.kernel.catalogue import Setting, StoppingRuleDescription, read_settings

MEDIAN_STOP = StoppingRuleDescription(
    name="medianstop",
    meaning=(
        "stops a trial whose best objective value is worse than the median of the running averages "
        "of the completed trials at the same step"
    ),
    settings=(
        Setting(
            name="min_trials_required",
            kind="int",
            default=3,
            check=lambda value: value > 0,
            message="min_trials_required must be greater than zero (>0)",
            meaning="no trial is stopped before this many trials have succeeded",
        ),
        Setting(
            name="start_step",
            kind="int",
            default=4,
            check=lambda value: value >= 1,
            message="start_step must be greater or equal than one (>=1)",
            meaning="no trial is stopped before its report of this number, counted from 1",
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MedianStopSettings:
    min_trials_required: int = 3
    start_step: int = 4

    @classmethod
    def read(cls, given: Sequence[tuple[str, str]]) -> "MedianStopSettings":
        """From settings that passed `check_settings(MEDIAN_STOP, given)`."""
        values = read_settings(MEDIAN_STOP, given)
        return cls(
            min_trials_required=int(values["min_trials_required"]),
            start_step=int(values["start_step"]),
        )
