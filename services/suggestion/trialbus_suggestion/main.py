"""Composition root of the suggestion service."""

from trialbus.contracts.collections import ANSWERS
from trialbus.kernel.events import heard_by
from trialbus.ports.compute import Compute
from trialbus.runtime.catalogue import installed_catalogue
from trialbus.runtime.parts import Behaviour, Parts, Reactor, ServiceDefinition
from trialbus_suggestion.adapters.compute import ProcessCompute
from trialbus_suggestion.app.answering import Answering
from trialbus_suggestion.core.registry import Registry

# A slow algorithm must not keep other experiments waiting.
_GROUPS = 16
_GROUP_KEYS = 4


async def build(parts: Parts) -> Behaviour:
    catalogue = installed_catalogue()
    return compose(parts, ProcessCompute(Registry(tuple(catalogue.algorithms.values()))))


def compose(parts: Parts, compute: Compute) -> Behaviour:
    """The service over any place where algorithms compute."""
    answering = Answering(parts, compute, installed_catalogue())
    return Behaviour(
        reactor=Reactor(
            listens=heard_by("suggestion"),
            react=answering.react,
            sweep=answering.sweep,
            max_groups=_GROUPS,
            max_group_keys=_GROUP_KEYS,
        ),
        close=compute.close,
    )


service = ServiceDefinition(name="suggestion", owns=(ANSWERS,), build=build)
