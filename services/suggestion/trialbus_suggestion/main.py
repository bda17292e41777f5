"""Composition root of the suggestion service."""

from trialbus.contracts.collections import ANSWERS
from trialbus.kernel.events import heard_by
from trialbus.runtime.catalogue import load_catalogue
from trialbus.runtime.parts import Behaviour, Parts, Reactor, ServiceDefinition
from trialbus_suggestion.adapters.compute import ProcessCompute
from trialbus_suggestion.app.answering import Answering
from trialbus_suggestion.core.registry import Registry

# A slow algorithm must not keep other experiments waiting.
_GROUPS = 16
_GROUP_KEYS = 4


async def build(parts: Parts) -> Behaviour:
    catalogue = load_catalogue()
    compute = ProcessCompute(Registry(tuple(catalogue.algorithms.values())))
    answering = Answering(parts, compute, catalogue)
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
