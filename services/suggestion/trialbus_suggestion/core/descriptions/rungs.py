"""Algorithms that try many configurations with little and go on with the best of them."""

import math

from trialbus.kernel.catalogue import AlgorithmDescription, Setting
from trialbus_suggestion.core.descriptions.shared_settings import (
    ALL_DISTRIBUTIONS,
    ALL_TYPES,
    RANDOM_STATE,
    not_negative,
)
from trialbus_suggestion.core.rung_checks import check_asha, check_rungs


def _is_positive(value: float) -> bool:
    return 0 < value < math.inf


_SHARED = (
    Setting(
        name="r_l",
        kind="float",
        check=_is_positive,
        message="r_l must be a positive float number.",
        meaning="The most resource that a trial gets: the paper's R. Must be set.",
    ),
    Setting(
        name="resource_name",
        kind="str",
        meaning="The parameter that holds the resource, epochs for instance: an int or a double, "
        "whose own range does not matter. Must be set.",
    ),
    Setting(
        name="eta",
        kind="float",
        default=3.0,
        check=lambda value: -math.inf < value <= 0 or 2 <= value < math.inf,
        message="eta must be greater or equal than two (>=2)",
        meaning="One trial in so many goes on, with so many times the resource; 0 or less: 3.",
    ),
    Setting(
        name="r_min",
        kind="float",
        default=1.0,
        check=_is_positive,
        message="r_min must be a positive float number.",
        meaning="The least resource that a trial gets: the paper's r.",
    ),
)

HYPERBAND = AlgorithmDescription(
    name="hyperband",
    settings=(*_SHARED, RANDOM_STATE),
    check=check_rungs,
    look_ahead="none",
    parameter_types=ALL_TYPES,
    distributions=ALL_DISTRIBUTIONS,
    implementation="trialbus_suggestion.core.hyperband:Hyperband",
    resource_setting="resource_name",
    meaning="Successive halving in several brackets: many random configurations with little "
    "resource, the best of each rung again with `eta` times as much.",
)

ASHA = AlgorithmDescription(
    name="asha",
    settings=(
        *_SHARED,
        Setting(
            name="s",
            kind="int",
            default=0,
            check=not_negative,
            message="s should be great or equal than zero",
            meaning="The minimum early-stopping rate: the first rung has r_min * eta^s.",
        ),
        RANDOM_STATE,
    ),
    check=check_asha,
    look_ahead="none",
    parameter_types=ALL_TYPES,
    distributions=ALL_DISTRIBUTIONS,
    implementation="trialbus_suggestion.core.asha:asha",
    resource_setting="resource_name",
    meaning="Asynchronous successive halving: who is among the best 1/`eta` of a rung so far is "
    "promoted at once, so that no worker ever waits.",
)

ASYNC_HYPERBAND = AlgorithmDescription(
    name="async-hyperband",
    settings=(
        *_SHARED,
        Setting(
            name="brackets",
            kind="int",
            check=lambda value: value >= 1,
            message="brackets must be greater than zero (>0)",
            meaning="How many brackets, those that begin with the least resource; none: all.",
        ),
        RANDOM_STATE,
    ),
    check=check_rungs,
    look_ahead="none",
    parameter_types=ALL_TYPES,
    distributions=ALL_DISTRIBUTIONS,
    implementation="trialbus_suggestion.core.asha:async_hyperband",
    resource_setting="resource_name",
    meaning="Several brackets of `asha` at once, which begin with more and more resource.",
)
