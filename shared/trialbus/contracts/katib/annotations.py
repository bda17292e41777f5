"""What an Experiment says in annotations `trialbus.io/...`: more than Katib's own fields can, in a
file that Katib takes too."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import TypeVar

from trialbus.contracts.katib.models import Metadata
from trialbus.kernel.durations import duration_s
from trialbus.kernel.errors import Problem
from trialbus.kernel.ids import is_name
from trialbus.kernel.limits import MAX_WARM_SOURCES
from trialbus.kernel.spec import AtGoal, CountedResource, TrialsBy

PREFIX = "trialbus.io/"
AT_GOAL = f"{PREFIX}at-goal"
TRIALS_BY = f"{PREFIX}trials-by"
MAX_DURATION = f"{PREFIX}max-duration"
MAX_RESOURCE_SECONDS = f"{PREFIX}max-resource-seconds"
COUNTED_RESOURCE = f"{PREFIX}counted-resource"
WARM_START_FROM = f"{PREFIX}warm-start-from"
KEEP_BEST = f"{PREFIX}keep-best"

_CHOICES: Mapping[str, type[StrEnum]] = {
    AT_GOAL: AtGoal,
    TRIALS_BY: TrialsBy,
    COUNTED_RESOURCE: CountedResource,
}
E = TypeVar("E", bound=StrEnum)


def _positive(text: str) -> float:
    """Raises ValueError."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ValueError("must be a number above 0")
    return number


def _count(text: str) -> int:
    """Raises ValueError."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ValueError("must be a whole number from 0")
    return int(text)


def _sources(text: str) -> tuple[tuple[str | None, str], ...]:
    """Namespace, if it is given, and name of each. Raises ValueError."""
    parts = [part.strip().rpartition("/") for part in text.split(",")]
    if not all(is_name(name) and (not slash or is_name(place)) for place, slash, name in parts):
        raise ValueError("must be names of experiments, or <namespace>/<name>, with commas between")
    if len(parts) > MAX_WARM_SOURCES or len({name for _, _, name in parts}) < len(parts):
        raise ValueError(f"must be at most {MAX_WARM_SOURCES} different experiments")
    return tuple((place if slash else None, name) for place, slash, name in parts)


# What they are read by, which raises ValueError with what would be right.
_READERS: Mapping[str, Callable[[str], object]] = {
    MAX_DURATION: duration_s,
    MAX_RESOURCE_SECONDS: _positive,
    WARM_START_FROM: _sources,
    KEEP_BEST: _count,
}


def field_of(annotation: str) -> str:
    """As problems name it."""
    return f"metadata.annotations[{annotation}]"


def annotation_problems(metadata: Metadata) -> Iterator[Problem]:
    for name, read in _READERS.items():
        text = (metadata.annotations or {}).get(name)
        try:
            if text is not None:
                read(text)
        except ValueError as error:
            yield Problem(field=field_of(name), message=f"{text!r:.80}: {error}")
    yield from _foreign_sources(metadata)
    for name, kind in _CHOICES.items():
        text = (metadata.annotations or {}).get(name)
        values = [str(choice) for choice in kind]
        if text is not None and text not in values:
            yield Problem(
                field=field_of(name),
                message=f"{text!r:.80}: must be {' or '.join(values)}",
            )


def _foreign_sources(metadata: Metadata) -> Iterator[Problem]:
    """Namespaces are tenants."""
    with suppress(ValueError):
        for place, name in _sources((metadata.annotations or {}).get(WARM_START_FROM, "")):
            own = metadata.namespace or "default"
            if place not in (None, own):
                message = f"{place}/{name}: must be of the experiment's own namespace, {own}"
                yield Problem(field=field_of(WARM_START_FROM), message=message)


def at_goal(metadata: Metadata) -> AtGoal:
    """Of annotations without problems, as all below."""
    return _choice(metadata, AT_GOAL, AtGoal.STOP)


def trials_by(metadata: Metadata) -> TrialsBy:
    return _choice(metadata, TRIALS_BY, TrialsBy.LAUNCHER)


def max_duration_s(metadata: Metadata) -> float | None:
    text = (metadata.annotations or {}).get(MAX_DURATION)
    return None if text is None else duration_s(text)


def max_resource_seconds(metadata: Metadata) -> float | None:
    text = (metadata.annotations or {}).get(MAX_RESOURCE_SECONDS)
    return None if text is None else _positive(text)


def counted_resource(metadata: Metadata) -> CountedResource:
    return _choice(metadata, COUNTED_RESOURCE, CountedResource.CPU)


def warm_start_from(metadata: Metadata) -> tuple[str, ...]:
    """Names in its own namespace."""
    text = (metadata.annotations or {}).get(WARM_START_FROM)
    return () if text is None else tuple(name for _, name in _sources(text))


def keep_best(metadata: Metadata) -> int | None:
    text = (metadata.annotations or {}).get(KEEP_BEST)
    return None if text is None else _count(text)


def _choice(metadata: Metadata, name: str, default: E) -> E:
    text = (metadata.annotations or {}).get(name)
    return default if text is None else type(default)(text)
