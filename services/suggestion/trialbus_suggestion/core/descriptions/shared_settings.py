"""What descriptions of algorithms have in common."""

from collections.abc import Callable
from typing import Any

from trialbus.kernel.catalogue import Setting

ALL_TYPES = frozenset({"double", "int", "discrete", "categorical"})
ALL_DISTRIBUTIONS = frozenset({"uniform", "logUniform", "normal", "logNormal"})


def one_of(*texts: str) -> Callable[[Any], bool]:
    """A check of a setting that is one of these."""
    return texts.__contains__


def not_negative(value: Any) -> bool:
    """A check of a setting that is a number."""
    return bool(value >= 0)


RANDOM_STATE = Setting(
    name="random_state",
    kind="int",
    check=not_negative,
    message="random_state should be great or equal than zero",
    meaning="The seed: the same experiment with the same seed draws the same points.",
)
DUPLICATES = Setting(
    name="duplicates",
    kind="str",
    default="avoid",
    check=one_of("avoid", "allow"),
    message="duplicates {value} is not supported: avoid or allow",
    meaning="avoid: no point twice, and a finite space ends when it is spent; allow: as Katib.",
)
