"""Composition root of the experiment service."""

from trialbus.contracts import subjects
from trialbus.contracts.collections import EXPERIMENTS, TRIALS, WARM_TRIALS
from trialbus.kernel.events import heard_by
from trialbus.runtime.catalogue import catalogue_of
from trialbus.runtime.parts import Behaviour, Parts, Reactor, Served, ServiceDefinition
from trialbus_experiment.app.commanding import Commanding
from trialbus_experiment.app.counting import Counting
from trialbus_experiment.app.reacting import ExperimentReactor
from trialbus_experiment.app.surveying import Surveying


async def build(parts: Parts) -> Behaviour:
    counting = Counting(parts.telemetry, parts.clock)
    reactor = ExperimentReactor(parts, counting)
    commanding = Commanding(parts, catalogue_of(parts.settings), counting)
    return Behaviour(
        reactor=Reactor(
            listens=heard_by("experiment"),
            react=reactor.react,
            sweep=reactor.sweep,
            rest_s=reactor.rest_s,
        ),
        served=(
            Served(subject=subjects.commands(), queue="experiment", respond=commanding.respond),
        ),
        tasks=(Surveying(parts, counting).run,) if parts.settings.metrics else (),
    )


service = ServiceDefinition(name="experiment", owns=(EXPERIMENTS, TRIALS, WARM_TRIALS), build=build)
