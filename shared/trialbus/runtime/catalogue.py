"""The algorithms and stopping rules that are installed, found by their entry points.

A package of somebody else joins by the groups `trialbus.algorithms` and `trialbus.stopping_rules`;
each entry is a description, which loads nothing heavy.
"""

from functools import cache
from importlib.metadata import entry_points
from typing import TypeVar

from trialbus.kernel.catalogue import AlgorithmDescription, Catalogue, StoppingRuleDescription
from trialbus.kernel.distributions import DistributionKind
from trialbus.kernel.space_rules import PARAMETER_TYPES
from trialbus.runtime.settings import Settings

ALGORITHMS_GROUP = "trialbus.algorithms"
STOPPING_RULES_GROUP = "trialbus.stopping_rules"

Kind = TypeVar("Kind", AlgorithmDescription, StoppingRuleDescription)


def load_catalogue() -> Catalogue:
    """Read the entry points anew. TypeError: an entry is no description, or is named otherwise
    than what it describes; ImportError: it cannot be loaded."""
    return Catalogue(
        algorithms=_load(ALGORITHMS_GROUP, AlgorithmDescription),
        stopping_rules=_load(STOPPING_RULES_GROUP, StoppingRuleDescription),
    )


@cache
def installed_catalogue() -> Catalogue:
    """What is installed, read once: packages do not come and go while a process lives."""
    return load_catalogue()


def catalogue_of(settings: Settings) -> Catalogue:
    """What is installed, and the algorithms on other servers."""
    installed = installed_catalogue()
    remote = {name: _remote(name) for name in settings.remote_algorithms}
    return Catalogue(
        algorithms={**installed.algorithms, **remote}, stopping_rules=installed.stopping_rules
    )


def _remote(name: str) -> AlgorithmDescription:
    """It checks its settings itself; like Katib, it is asked for no more points than are needed."""
    return AlgorithmDescription(
        name=name,
        look_ahead="none",
        parameter_types=frozenset(PARAMETER_TYPES),
        distributions=frozenset(kind.value for kind in DistributionKind),
        searches=frozenset({"parameters", "architectures"}),
        any_settings=True,
        meaning="On another server, by Katib's gRPC API.",
    )


def _load(group: str, kind: type[Kind]) -> dict[str, Kind]:
    found = {}
    for entry in entry_points(group=group):
        description = entry.load()
        if not isinstance(description, kind) or description.name != entry.name:
            raise TypeError(f"{group}: {entry.name} = {entry.value} is no {kind.__name__} of it")
        found[entry.name] = description
    return found
