"""Composition root of the metrics collector."""

from trialbus.contracts import subjects
from trialbus.contracts.collections import CHUNKS
from trialbus.kernel.events import heard_by
from trialbus.runtime.parts import Behaviour, Parts, Reactor, Served, ServiceDefinition
from trialbus_metrics_collector.app.collecting import Collector
from trialbus_metrics_collector.app.experiments import Experiments
from trialbus_metrics_collector.app.notices import Notices
from trialbus_metrics_collector.app.purging import Purge
from trialbus_metrics_collector.app.tails import Tails

_NAME = "metrics_collector"


async def build(parts: Parts) -> Behaviour:
    """Answers metric chunks; removes those of deleted experiments."""
    experiments, tails = Experiments(parts.store), Tails(parts.store)
    notices = Notices(parts.outbox)
    collector = Collector(parts, experiments, tails, notices)
    purge = Purge(parts, experiments, tails)
    return Behaviour(
        reactor=Reactor(listens=heard_by(_NAME), react=purge.react, sweep=purge.sweep),
        served=(Served(subject=subjects.metrics(), queue=_NAME, respond=collector.respond),),
        tasks=(notices.run,),
        close=notices.flush,
    )


service = ServiceDefinition(name=_NAME, owns=(CHUNKS,), build=build)
