"""What an Experiment says in annotations `trialbus.io/...`: more than Katib's own fields can, in a
file that Katib takes too."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TypeVar

from trialbus.contracts.katib.models import Metadata
from trialbus.kernel.errors import Problem
from trialbus.kernel.spec import AtGoal, TrialsBy

PREFIX = "trialbus.io/"
AT_GOAL = f"{PREFIX}at-goal"
TRIALS_BY = f"{PREFIX}trials-by"

_CHOICES: Mapping[str, type[StrEnum]] = {AT_GOAL: AtGoal, TRIALS_BY: TrialsBy}
E = TypeVar("E", bound=StrEnum)


def annotation_problems(metadata: Metadata) -> Iterator[Problem]:
    for name, kind in _CHOICES.items():
        text = (metadata.annotations or {}).get(name)
        values = [str(choice) for choice in kind]
        if text is not None and text not in values:
            yield Problem(
                field=f"metadata.annotations[{name}]",
                message=f"{text!r:.80}: must be {' or '.join(values)}",
            )


def at_goal(metadata: Metadata) -> AtGoal:
    """Of annotations without problems, as all below."""
    return _choice(metadata, AT_GOAL, AtGoal.STOP)


def trials_by(metadata: Metadata) -> TrialsBy:
    return _choice(metadata, TRIALS_BY, TrialsBy.LAUNCHER)


def _choice(metadata: Metadata, name: str, default: E) -> E:
    text = (metadata.annotations or {}).get(name)
    return default if text is None else type(default)(text)
