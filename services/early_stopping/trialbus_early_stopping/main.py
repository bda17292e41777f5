"""Composition root of the stopping service."""

from trialbus.contracts.collections import EVIDENCE
from trialbus.kernel.events import heard_by
from trialbus.runtime.parts import Behaviour, Parts, Reactor, ServiceDefinition
from trialbus_early_stopping.app.reacting import StoppingReactor

_NAME = "early_stopping"


async def build(parts: Parts) -> Behaviour:
    """Judges running trials at each of their reports."""
    reactor = StoppingReactor(parts)
    return Behaviour(
        reactor=Reactor(listens=heard_by(_NAME), react=reactor.react, sweep=reactor.sweep)
    )


service = ServiceDefinition(name=_NAME, owns=(EVIDENCE,), build=build)
