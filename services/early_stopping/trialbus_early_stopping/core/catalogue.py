"""The built-in stopping rules: names, settings and messages, as in Katib where it has them.

Loaded by every service, so it imports nothing heavy.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from trialbus.kernel.catalogue import (
    Setting,
    SettingValue,
    StoppingRuleDescription,
    read_settings,
)
from trialbus.kernel.limits import MAX_EVIDENCE_STEPS

_RULES = "trialbus_early_stopping.core"
MIN_TRIALS_REQUIRED = Setting(
    name="min_trials_required",
    kind="int",
    default=3,
    check=lambda value: value > 0,
    message="min_trials_required must be greater than zero (>0)",
    meaning="no trial is stopped before this many trials have succeeded",
)
INTERVAL_STEPS = Setting(
    name="interval_steps",
    kind="int",
    default=1,
    check=lambda value: value >= 1,
    message="interval_steps must be greater or equal than one (>=1)",
    meaning="from start_step on, a trial is judged at one report in this many",
)


def _start_step(default: int) -> Setting:
    return Setting(
        name="start_step",
        kind="int",
        default=default,
        check=lambda value: value >= 1,
        message="start_step must be greater or equal than one (>=1)",
        meaning="no trial is stopped before its report of this number, counted from 1",
    )


def _bound(name: str, meaning: str) -> Setting:
    return Setting(
        name=name,
        kind="float",
        check=math.isfinite,
        message=f"{name} must be a finite number",
        meaning=meaning,
    )


def _wrong_bounds(values: Mapping[str, SettingValue]) -> str | None:
    if "lower" not in values and "upper" not in values:
        return "lower or upper must be set"
    lower, upper = values.get("lower", -math.inf), values.get("upper", math.inf)
    wrong = float(lower) > float(upper)
    return "lower must be less or equal than upper (<=)" if wrong else None


def _no_rung(values: Mapping[str, SettingValue]) -> str | None:
    # Exact, as the rule counts; and whole numbers may be too large for a double.
    eta, halvings = Fraction(str(values["eta"])), MAX_EVIDENCE_STEPS.bit_length()
    first = int(values["r_min"]) * eta ** min(int(values["s"]), halvings)
    if first > MAX_EVIDENCE_STEPS:
        return f"r_min * eta^s must not be above {MAX_EVIDENCE_STEPS}: later reports are not judged"
    if "r_l" in values and first >= int(values["r_l"]):
        return "r_l must be greater than r_min * eta^s, the first rung"
    return None


MEDIAN_STOP = StoppingRuleDescription(
    name="medianstop",
    meaning=(
        "stops a trial whose best objective value is worse than the median of the running averages "
        "of the completed trials at the same step"
    ),
    implementation=f"{_RULES}.median:median_rule",
    settings=(MIN_TRIALS_REQUIRED, _start_step(4)),
)

PERCENTILE = StoppingRuleDescription(
    name="percentile",
    meaning=(
        "stops a trial whose best objective value is worse than a percentile of the best values "
        "of the completed trials at the same step"
    ),
    implementation=f"{_RULES}.percentile:PercentileRule",
    settings=(
        Setting(
            name="percentile",
            kind="float",
            required=True,
            check=lambda value: 0 < value < 100,
            message="percentile must be set between zero and 100 (>0, <100)",
            meaning="25: the best quarter may go on; 50: the better half",
        ),
        MIN_TRIALS_REQUIRED,
        _start_step(4),
        INTERVAL_STEPS,
    ),
)

THRESHOLD = StoppingRuleDescription(
    name="threshold",
    meaning=(
        "stops a trial that reports an objective value outside of bounds, or one that is not "
        "a number"
    ),
    implementation=f"{_RULES}.threshold:ThresholdRule",
    settings=(
        _bound("lower", "a value below it stops the trial; lower, upper or both must be set"),
        _bound("upper", "a value above it stops the trial"),
        _start_step(1),
        INTERVAL_STEPS,
    ),
    wrong_together=_wrong_bounds,
)

PATIENCE = StoppingRuleDescription(
    name="patience",
    meaning="stops a trial whose objective value has not improved for a number of reports",
    implementation=f"{_RULES}.patience:PatienceRule",
    settings=(
        Setting(
            name="patience",
            kind="int",
            required=True,
            check=lambda value: value >= 1,
            message="patience must be set, greater or equal than one (>=1)",
            meaning="how many reports without an improvement stop a trial",
        ),
        Setting(
            name="min_delta",
            kind="float",
            default=0.0,
            check=lambda value: 0 <= value < math.inf,
            message="min_delta must be greater or equal than zero (>=0)",
            meaning="what is better by less than this is no improvement",
        ),
        _start_step(1),
    ),
)

ASHA = StoppingRuleDescription(
    name="asha",
    meaning=(
        "stops a trial at a rung unless it is among the best 1/eta of those that have come there "
        "so far"
    ),
    implementation=f"{_RULES}.asha:AshaRule",
    settings=(
        Setting(
            name="r_min",
            kind="int",
            default=1,
            check=lambda value: value >= 1,
            message="r_min must be greater or equal than one (>=1)",
            meaning="the report, counted from 1, at which the first rung is",
        ),
        Setting(
            name="eta",
            kind="float",
            default=3.0,
            check=lambda value: 2 <= value <= MAX_EVIDENCE_STEPS,
            message=f"eta must be set between two and {MAX_EVIDENCE_STEPS}",
            meaning="one trial in so many goes on; the next rung is at so many times the reports",
        ),
        Setting(
            name="s",
            kind="int",
            default=0,
            check=lambda value: value >= 0,
            message="s must be greater or equal than zero (>=0)",
            meaning="the minimum early-stopping rate: so many rungs are left out at the bottom",
        ),
        Setting(
            name="r_l",
            kind="int",
            check=lambda value: value >= 1,
            message="r_l must be greater or equal than one (>=1)",
            meaning="how many reports a whole trial has: no rung is there or later; none: no end",
        ),
    ),
    wrong_together=_no_rung,
)

BUILT_IN = (MEDIAN_STOP, PERCENTILE, THRESHOLD, PATIENCE, ASHA)


@dataclass(frozen=True, slots=True, kw_only=True)
class MedianStopSettings:
    min_trials_required: int = 3
    start_step: int = 4

    @classmethod
    def read(cls, given: Sequence[tuple[str, str]]) -> "MedianStopSettings":
        """From settings that passed `check_settings(MEDIAN_STOP, given)`."""
        return cls.of(read_settings(MEDIAN_STOP, given))

    @classmethod
    def of(cls, values: Mapping[str, SettingValue]) -> "MedianStopSettings":
        return cls(
            min_trials_required=int(values["min_trials_required"]),
            start_step=int(values["start_step"]),
        )
