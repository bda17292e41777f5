"""The algorithms and stopping rules that are installed, found by their entry points.

A package of somebody else joins by the groups `trialbus.algorithms` and `trialbus.stopping_rules`;
each entry is a description, which loads nothing heavy. One that is broken is known all the same,
so that whoever names it is told, and nobody else notices.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from trialbus.kernel.catalogue import (
    AlgorithmDescription,
    Catalogue,
    StoppingRuleDescription,
    Submission,
)
from trialbus.kernel.distributions import DistributionKind
from trialbus.kernel.errors import Problem
from trialbus.kernel.space_rules import PARAMETER_TYPES
from trialbus.runtime.settings import Settings

ALGORITHMS_GROUP = "trialbus.algorithms"
STOPPING_RULES_GROUP = "trialbus.stopping_rules"

Kind = TypeVar("Kind", AlgorithmDescription, StoppingRuleDescription)


def load_catalogue() -> Catalogue:
    """Read the entry points anew. One that cannot be loaded, is no description, or is named
    otherwise than what it describes, refuses every experiment that names it; so does a name that
    two packages claim."""
    return Catalogue(
        algorithms=_load(ALGORITHMS_GROUP, AlgorithmDescription, _broken_algorithm),
        stopping_rules=_load(STOPPING_RULES_GROUP, StoppingRuleDescription, _broken_rule),
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
    meaning = "On another server, by Katib's gRPC API."
    return replace(_takes_all(name), meaning=meaning)


def _takes_all(name: str) -> AlgorithmDescription:
    return AlgorithmDescription(
        name=name,
        look_ahead="none",
        parameter_types=frozenset(PARAMETER_TYPES),
        distributions=frozenset(kind.value for kind in DistributionKind),
        searches=frozenset({"parameters", "architectures"}),
        any_settings=True,
    )


def _load(group: str, kind: type[Kind], broken: Callable[[str, str], Kind]) -> dict[str, Kind]:
    found = {}
    claims: dict[str, set[str]] = {}
    for entry in entry_points(group=group):
        claims.setdefault(entry.name, set()).add(entry.value)
        if len(claims[entry.name]) > 1:
            claimed = " and ".join(sorted(claims[entry.name]))
            found[entry.name] = broken(entry.name, f"{entry.name} is the name of {claimed}")
            continue
        try:
            found[entry.name] = _loaded(entry, kind)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a package does
            what = f"{entry.name} = {entry.value} cannot be loaded"
            found[entry.name] = broken(entry.name, f"{what}: {type(error).__name__}: {error}")
    return found


def _loaded(entry: EntryPoint, kind: type[Kind]) -> Kind:
    description = entry.load()
    if not isinstance(description, kind):
        raise TypeError(f"it is no {kind.__name__}")
    if description.name != entry.name:
        raise ValueError(f"it describes {description.name}")
    return description


def _broken_algorithm(name: str, reason: str) -> AlgorithmDescription:
    def refuse(_submission: Submission) -> Iterator[Problem]:
        yield Problem(field="spec.algorithm.algorithmName", message=reason)

    return replace(_takes_all(name), check=refuse, meaning=reason)


def _broken_rule(name: str, reason: str) -> StoppingRuleDescription:
    def refuse(_settings: object) -> str:
        return reason

    return StoppingRuleDescription(
        name=name, any_settings=True, wrong_together=refuse, meaning=reason
    )
